//! The `rbpf` crate as an oracle: result and memory of a program as somebody else's interpreter has
//! them.
//!
//! `rbpf` 0.4 implements about two thirds of RFC 9669, and unsigned comparisons with negative
//! immediates otherwise than it says (§5.2: the immediate is sign-extended); and it keeps the upper
//! half of a number whose lower half it takes modulo zero (§4.1: it becomes zero). What is not
//! there is replaced in the program by its nearest before it is verified, so that every engine runs
//! the same: signed division by unsigned, 32-bit remainders by quotients, sign-extending moves and
//! loads by plain ones, atomics by stores, helpers by numbers.

use ebpf::interp::{self, NoHelpers};
use ebpf::{AluOp, ByteOrder, CallTarget, Cond, Imm64, Insn, Kind, Operand, Program, Reg, Width};
use runtime::PacketBuffer;
use runtime::native::HostPages;
use verifier::Verified;

/// Buffers for one program.
const BUFFERS: usize = 2;
/// `mov %r2, imm` as bytes, without the immediate: `rbpf` gives a program no length.
const LENGTH: [u8; 4] = [0xb7, 0x02, 0, 0];

/// Runs the memory program that the bytes make in both engines and in `rbpf`: how often, or what
/// differs; `None` if there is no such program that is accepted.
pub(super) fn trial(bytes: &[u8], pages: &mut HostPages) -> Option<Result<u64, String>> {
    let (code, rest) = bytes.split_at(bytes.len() - bytes.len() / 4);
    let rich = ebpf::fuzzing::rich_program_from_bytes(Kind::Memory, code);
    let plain = || ebpf::fuzzing::program_from_bytes(Kind::Memory, code);
    let program = rich.as_ref().and_then(common).or_else(|| plain().as_ref().and_then(common))?;
    let verified = dpf::fuzzing::verified(program)?;
    let mut runs = 0;
    for part in rest.chunks((rest.len() / BUFFERS).max(1)).take(BUFFERS) {
        let buffer = ebpf::fuzzing::packet_from_bytes(part);
        if let Err(text) = alike(&verified, &buffer, pages) {
            let program = ebpf::disasm::disassemble(verified.program());
            return Some(Err(format!("{text}\n{program}\n{buffer:02x?}")));
        }
        runs += 1;
    }
    Some(Ok(runs))
}

fn alike(verified: &Verified, buffer: &[u8], pages: &mut HostPages) -> Result<(), String> {
    let theirs = peer(verified.program(), buffer)?;
    let mut memory = buffer.to_vec();
    let budget = verified.worst_case().into();
    let result = interp::run_memory(verified.program(), &mut memory, &mut NoHelpers, budget);
    let ours = (result.map_err(|trap| trap.to_string())?, memory);
    if ours != theirs {
        return Err(format!("rbpf {theirs:x?}, the interpreter {ours:x?}"));
    }
    let mut memory = buffer.to_vec();
    let code = dpf::load(verified, pages).map_err(|error| error.to_string())?;
    let result = code.run(&mut PacketBuffer::whole(&mut memory));
    code.free(pages);
    match (result, memory) == theirs {
        true => Ok(()),
        false => Err(format!("rbpf {theirs:x?}, native code {result:x}")),
    }
}

/// `rbpf`'s result, and the memory afterwards.
fn peer(program: &Program, buffer: &[u8]) -> Result<(u64, Vec<u8>), String> {
    let failed = |error: std::io::Error| format!("rbpf: {error}");
    let mut bytes = LENGTH.to_vec();
    bytes.extend((buffer.len() as u32).to_le_bytes());
    bytes.extend(ebpf::encode(program));
    let mut memory = buffer.to_vec();
    let result = {
        let mut machine = rbpf::EbpfVmRaw::new(None).map_err(failed)?;
        // Ours is the one that counts.
        machine.set_verifier(|_| Ok(())).map_err(failed)?;
        machine.set_program(&bytes).map_err(failed)?;
        machine.execute_program(&mut memory).map_err(failed)?
    };
    Ok((result, memory))
}

/// The program with nothing in it that `rbpf` does not implement; `None` if it has maps or
/// functions.
fn common(program: &Program) -> Option<Program> {
    let insns: Option<Vec<_>> = program.insns().iter().copied().map(nearest).collect();
    Program::from_insns(Kind::Memory, insns?).ok()
}

fn nearest(insn: Insn) -> Option<Insn> {
    Some(match insn {
        Insn::Alu { width, op, dst, src } => {
            let op = match (op, width) {
                (AluOp::Sdiv, _) | (AluOp::Mod | AluOp::Smod, Width::W32) => AluOp::Div,
                (AluOp::Smod, Width::W64) => AluOp::Mod,
                (other, _) => other,
            };
            Insn::Alu { width, op, dst, src }
        }
        // Overflows in a debug build.
        Insn::Neg { dst, .. } => Insn::Neg { width: Width::W32, dst },
        Insn::MovSx { width, dst, src, .. } => {
            Insn::Alu { width, op: AluOp::Mov, dst, src: src.into() }
        }
        Insn::Endian { order: ByteOrder::Swap, bits, dst } => {
            Insn::Endian { order: ByteOrder::Be, bits, dst }
        }
        Insn::Load { size, dst, base, offset, .. } => {
            Insn::Load { size, signed: false, dst, base, offset }
        }
        Insn::Atomic { size, base, offset, src, .. } => {
            Insn::Store { size, base, offset, src: src.into() }
        }
        Insn::Branch { width: Width::W64, cond, dst, src: Operand::Imm(imm), target } => {
            let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle | Cond::Set);
            let imm = if signed { imm } else { imm & i32::MAX };
            Insn::Branch { width: Width::W64, cond, dst, src: imm.into(), target }
        }
        Insn::Call { target: CallTarget::Helper(id) } => {
            let src = id.cast_signed().into();
            Insn::Alu { width: Width::W64, op: AluOp::Mov, dst: Reg::R0, src }
        }
        Insn::Call { .. } => return None,
        Insn::LoadImm64 { imm, .. } if !matches!(imm, Imm64::Value(_)) => return None,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::{HostPages, peer, trial};
    use crate::soundness::campaign::Random;
    use ebpf::Kind;
    use std::time::{Duration, Instant};

    /// A second of it; a good part of the programs must get as far as `rbpf`.
    #[test]
    fn rbpf_the_interpreter_and_native_code_agree() {
        let (start, mut pages) = (Instant::now(), HostPages::default());
        let (mut tried, mut ran) = (0, 0);
        while tried < 50 || start.elapsed() < Duration::from_secs(1) {
            let bytes = Random::new(0x2bf, tried).bytes(40 + (tried as usize * 7) % 300);
            match trial(&bytes, &mut pages) {
                Some(Err(text)) => panic!("{text}"),
                Some(Ok(runs)) => ran += u64::from(runs > 0),
                None => {}
            }
            tried += 1;
        }
        assert!(ran * 3 > tried, "only {ran} of {tried} programs ran");
    }

    #[test]
    fn a_program_gets_its_length_and_its_memory() {
        let text = "ldxb %r0, [%r1+2]\nadd %r0, %r2\nstb [%r1+0], 9\nexit";
        let program = ebpf::asm::program(Kind::Memory, text).unwrap();
        assert_eq!(peer(&program, &[1, 2, 3, 4]), Ok((7, vec![9, 2, 3, 4])));
    }
}
