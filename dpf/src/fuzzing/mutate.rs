//! A wrong byte in emitted code is refused, or does nothing else than the right one.

use ebpf::Kind;

use super::native::verified;
use crate::context::ContextLoads;
use crate::{check, compile};

/// What became of the mutations of one program's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutations {
    /// Refused by the checker.
    pub refused: usize,
    /// Accepted: another encoding of the same instructions.
    pub accepted: usize,
}

/// Changes single bytes of a generated program's code: each bit of each byte, and the byte to some
/// others. What the checker still accepts must decode, by the checker's own decoder, to the same
/// instructions; that the decoder is right is tested against another decoder.
///
/// # Panics
/// If the unchanged code is refused, or changed code means something else and is accepted.
pub fn mutations(bytes: &[u8]) -> Mutations {
    let mut count = Mutations::default();
    let program = ebpf::fuzzing::program_from_bytes(Kind::Ash, bytes).and_then(verified);
    let Some(verified) = program else { return count };
    let Ok(emitted) = compile::compile(&verified) else { return count };
    let loads = ContextLoads::of(&verified);
    let program = verified.program();
    let accepts = |code: &[u8]| check::accepts(program, &loads, code);
    assert!(accepts(&emitted.bytes), "the compiler's code is refused");
    let meaning = check::meaning(&emitted.bytes);
    for at in 0..emitted.bytes.len() {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x90, 0x41] {
            let mut code = emitted.bytes.clone();
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
    }
    count
}
