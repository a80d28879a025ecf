//! The same program in `rbpf`.
//!
//! XDP's context has 32-bit pointers that a kernel rewrites; `rbpf` has contexts, but no rewriting.
//! So the loads of `data` and `data_end` are made 64-bit here, at offsets 0 and 8, which is what
//! Sluice's engine makes of them too.

use rbpf::EbpfVmMbuff;

/// A program, ready to run both ways.
pub struct Rbpf {
    machine: EbpfVmMbuff<'static>,
}

/// Bytes of an instruction word.
const SLOT_BYTES: usize = 8;

/// `ldxw` and `ldxdw` (RFC 9669 section 5.2).
const LDX_W: u8 = 0x61;
const LDX_DW: u8 = 0x79;

impl Rbpf {
    /// Loads and compiles a packet program that was proven safe. Its bytecode is leaked: the
    /// benches make few and keep them to the end.
    #[must_use]
    pub fn new(bytecode: &[u8]) -> Rbpf {
        let bytecode: &'static [u8] = widened(bytecode).leak();
        let mut machine =
            EbpfVmMbuff::new(Some(bytecode)).unwrap_or_else(|error| panic!("{error}"));
        machine.jit_compile().unwrap_or_else(|error| panic!("{error}"));
        Rbpf { machine }
    }

    /// Compiles it again.
    pub fn compile(&mut self) {
        self.machine.jit_compile().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs the compiled program on a frame that it only reads.
    #[must_use]
    pub fn read(&self, frame: &[u8]) -> u64 {
        self.compiled(context(frame.as_ptr(), frame.len()))
    }

    /// Runs the compiled program on a frame in place.
    pub fn run(&self, frame: &mut [u8]) -> u64 {
        let context = context(frame.as_mut_ptr(), frame.len());
        self.compiled(context)
    }

    /// Runs the program in the interpreter, in place.
    pub fn interpret(&self, frame: &mut [u8]) -> u64 {
        let context = context(frame.as_mut_ptr(), frame.len());
        self.machine.execute_program(frame, &context).unwrap_or_else(|error| panic!("{error}"))
    }

    // Foreign compiled code has no safe entrance.
    #[allow(unsafe_code)]
    fn compiled(&self, mut context: [u8; 16]) -> u64 {
        // SAFETY: the program was proven safe before it came here: it touches only the frame that
        // `context` names, which the callers borrow for the time of the call, and its stack.
        let verdict = unsafe { self.machine.execute_program_jit(&mut [], &mut context) };
        verdict.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// `data` and `data_end`, 64 bits each.
fn context(start: *const u8, len: usize) -> [u8; 16] {
    let start = start.expose_provenance() as u64;
    let mut context = [0; 16];
    context[..8].copy_from_slice(&start.to_ne_bytes());
    context[8..].copy_from_slice(&(start + len as u64).to_ne_bytes());
    context
}

/// The program with 64-bit loads of the context. It must load it before r1 is anything else.
pub(super) fn widened(bytecode: &[u8]) -> Vec<u8> {
    let mut bytecode = bytecode.to_vec();
    for insn in bytecode.chunks_exact_mut(SLOT_BYTES).take(2) {
        let offset = i16::from_le_bytes([insn[2], insn[3]]);
        assert!(insn[0] == LDX_W && insn[1] >> 4 == 1, "not a load of the context: {insn:02x?}");
        insn[0] = LDX_DW;
        insn[2..4].copy_from_slice(&(offset * 2).to_le_bytes());
    }
    bytecode
}
