//! A wrong byte in emitted code is refused, or does nothing else than the right one.

use alloc::vec::Vec;

use ebpf::{Kind, Program};
use runtime::map::Map;

use super::idioms::idioms_from_bytes;
use super::native::verified;
use crate::context::Premises;
use crate::{check, compile};

/// What became of the mutations of one program's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutations {
    /// Refused by the checker.
    pub refused: usize,
    /// Accepted: another encoding of the same instructions.
    pub accepted: usize,
}

/// Changes single bytes of the code of the program that the bytes make, if the verifier accepts it:
/// each bit of each byte, and the byte to some others. What the checker still accepts must decode,
/// by the checker's own decoder, to the same instructions; that the decoder is right is tested
/// against another decoder.
///
/// # Panics
/// If the unchanged code is refused, or changed code means something else and is accepted.
pub fn mutations(bytes: &[u8]) -> Mutations {
    let program = match bytes.first().map_or(0, |byte| byte % 4) {
        0 => ebpf::fuzzing::program_from_bytes(Kind::Ash, bytes),
        1 => idioms_from_bytes(bytes),
        // With maps, loops and all helpers.
        _ => ebpf::fuzzing::rich_program_from_bytes(Kind::Ash, bytes),
    };
    let Some(verified) = program.and_then(verified) else {
        return Mutations::default();
    };
    let specs = verified.program().maps().iter();
    let maps: Option<Vec<_>> = specs.map(|&spec| Map::new(spec, [1, 2]).ok()).collect();
    let premises = maps.and_then(|maps| Premises::of(&verified, &maps));
    premises.map_or_else(Mutations::default, |premises| mutated(verified.program(), &premises))
}

pub(super) fn mutated(program: &Program, loads: &Premises) -> Mutations {
    let Ok(emitted) = compile::program(program, loads) else { return Mutations::default() };
    mutate(&emitted.bytes, |code| check::accepts(program, loads, code))
}

/// Mutates `code`, which `accepts` must accept as it is.
pub(crate) fn mutate(code: &[u8], accepts: impl Fn(&[u8]) -> bool) -> Mutations {
    assert!(accepts(code), "the compiler's code is refused");
    let meaning = check::meaning(code);
    assert!(meaning.is_some(), "accepted code decodes");
    let mut count = Mutations::default();
    for at in 0..code.len() {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x90, 0x41] {
            let mut code = code.to_vec();
            if let Some(byte) = code.get_mut(at) {
                *byte ^= change;
            }
            if accepts(&code) {
                assert_eq!(check::meaning(&code), meaning, "byte {at} ^ {change:#x}");
                count.accepted += 1;
            } else {
                count.refused += 1;
            }
        }
        assert!(!accepts(code.get(..at).unwrap_or(code)), "half the code is accepted");
    }
    count
}
