//! The instruction forms: one method each.

use super::jump::{Displacement, Label};
use super::{Alu, Assembler, Cc, Gpr, Locked, Mem, Shift, Size, Unary, Width};

/// What stands in the r/m field.
#[derive(Debug, Clone, Copy)]
enum Rm {
    Reg(Gpr),
    Mem(Mem),
}

/// An opcode and the prefixes that go with it.
#[derive(Debug, Clone, Copy)]
struct Op {
    /// Operand-size prefix 66.
    small: bool,
    /// REX.W.
    wide: bool,
    /// A REX prefix even without bits, to name a low byte register.
    rex: bool,
    /// Escape byte 0F first.
    escape: bool,
    code: u8,
}

impl Op {
    const fn new(width: Width, code: u8) -> Self {
        let wide = matches!(width, Width::W64);
        Self { small: false, wide, rex: false, escape: false, code }
    }

    const fn escaped(width: Width, code: u8) -> Self {
        Self { escape: true, ..Self::new(width, code) }
    }

    const fn sized(size: Size, byte: u8, other: u8) -> Self {
        let code = if matches!(size, Size::B1) { byte } else { other };
        let wide = matches!(size, Size::B8);
        Self { small: matches!(size, Size::B2), wide, rex: false, escape: false, code }
    }
}

/// Arithmetic and moves.
impl Assembler {
    /// `op dst, src`
    pub fn alu_rr(&mut self, op: Alu, width: Width, dst: Gpr, src: Gpr) {
        self.modrm(Op::new(width, (op as u8) << 3 | 0x01), src, Rm::Reg(dst));
    }

    /// `op dst, imm`, the immediate sign-extended to the width
    pub fn alu_ri(&mut self, op: Alu, width: Width, dst: Gpr, imm: i32) {
        if let Ok(short) = i8::try_from(imm) {
            self.extended(Op::new(width, 0x83), op as u8, Rm::Reg(dst));
            self.raw(&short.to_le_bytes());
        } else {
            self.extended(Op::new(width, 0x81), op as u8, Rm::Reg(dst));
            self.raw(&imm.to_le_bytes());
        }
    }

    /// `op dst, [mem]`
    pub fn alu_rm(&mut self, op: Alu, width: Width, dst: Gpr, mem: Mem) {
        self.modrm(Op::new(width, (op as u8) << 3 | 0x03), dst, Rm::Mem(mem));
    }

    /// `cmp dword [mem], imm`
    pub fn cmp_mi(&mut self, mem: Mem, imm: i32) {
        self.extended(Op::new(Width::W32, 0x81), Alu::Cmp as u8, Rm::Mem(mem));
        self.raw(&imm.to_le_bytes());
    }

    /// `test a, b`
    pub fn test_rr(&mut self, width: Width, a: Gpr, b: Gpr) {
        self.modrm(Op::new(width, 0x85), b, Rm::Reg(a));
    }

    /// `test a, imm`, the immediate sign-extended to the width
    pub fn test_ri(&mut self, width: Width, a: Gpr, imm: i32) {
        self.extended(Op::new(width, 0xf7), 0, Rm::Reg(a));
        self.raw(&imm.to_le_bytes());
    }

    /// `mov dst, src`; the 32-bit form clears the upper half
    pub fn mov_rr(&mut self, width: Width, dst: Gpr, src: Gpr) {
        self.modrm(Op::new(width, 0x89), src, Rm::Reg(dst));
    }

    /// `mov dst, imm` in the shortest form that gives all 64 bits
    pub fn mov_ri(&mut self, dst: Gpr, imm: u64) {
        if let Ok(low) = u32::try_from(imm) {
            self.rex(false, false, false, dst.high());
            self.raw(&[0xb8 | dst.low()]);
            self.raw(&low.to_le_bytes());
        } else if let Ok(signed) = i32::try_from(imm as i64) {
            self.extended(Op::new(Width::W64, 0xc7), 0, Rm::Reg(dst));
            self.raw(&signed.to_le_bytes());
        } else {
            self.rex(true, false, false, dst.high());
            self.raw(&[0xb8 | dst.low()]);
            self.raw(&imm.to_le_bytes());
        }
    }

    /// `movzx dst, src` from one or two bytes; a 32-bit `mov` from four
    pub fn zero_extend(&mut self, from: Size, dst: Gpr, src: Gpr) {
        match from {
            Size::B1 => {
                let op = Op { rex: src.byte_needs_rex(), ..Op::escaped(Width::W32, 0xb6) };
                self.modrm(op, dst, Rm::Reg(src));
            }
            Size::B2 => self.modrm(Op::escaped(Width::W32, 0xb7), dst, Rm::Reg(src)),
            Size::B4 => self.mov_rr(Width::W32, dst, src),
            Size::B8 => self.mov_rr(Width::W64, dst, src),
        }
    }

    /// `movsx`/`movsxd dst, src`, from one, two or four bytes to the width
    pub fn sign_extend(&mut self, width: Width, from: Size, dst: Gpr, src: Gpr) {
        let op = match from {
            Size::B1 => Op { rex: src.byte_needs_rex(), ..Op::escaped(width, 0xbe) },
            Size::B2 => Op::escaped(width, 0xbf),
            Size::B4 | Size::B8 => Op::new(width, 0x63),
        };
        self.modrm(op, dst, Rm::Reg(src));
    }

    /// `neg`, `mul`, `div`, `idiv`
    pub fn unary(&mut self, op: Unary, width: Width, reg: Gpr) {
        self.extended(Op::new(width, 0xf7), op as u8, Rm::Reg(reg));
    }

    /// `imul dst, src`
    pub fn imul_rr(&mut self, width: Width, dst: Gpr, src: Gpr) {
        self.modrm(Op::escaped(width, 0xaf), dst, Rm::Reg(src));
    }

    /// `imul dst, [mem]`
    pub fn imul_rm(&mut self, width: Width, dst: Gpr, mem: Mem) {
        self.modrm(Op::escaped(width, 0xaf), dst, Rm::Mem(mem));
    }

    /// `imul dst, src, imm`
    pub fn imul_rri(&mut self, width: Width, dst: Gpr, src: Gpr, imm: i32) {
        self.modrm(Op::new(width, 0x69), dst, Rm::Reg(src));
        self.raw(&imm.to_le_bytes());
    }

    /// `cdq`/`cqo`: sign of `rax` into `rdx`
    pub fn sign_into_rdx(&mut self, width: Width) {
        self.rex(width == Width::W64, false, false, false);
        self.raw(&[0x99]);
    }

    /// `shl/shr/sar dst, count`
    pub fn shift_ri(&mut self, op: Shift, width: Width, dst: Gpr, count: u8) {
        self.extended(Op::new(width, 0xc1), op as u8, Rm::Reg(dst));
        self.raw(&[count]);
    }

    /// `shl/shr/sar dst, cl`
    pub fn shift_cl(&mut self, op: Shift, width: Width, dst: Gpr) {
        self.extended(Op::new(width, 0xd3), op as u8, Rm::Reg(dst));
    }

    /// `rol dst, count`
    pub fn rotate_ri(&mut self, width: Width, dst: Gpr, count: u8) {
        self.extended(Op::new(width, 0xc1), 0, Rm::Reg(dst));
        self.raw(&[count]);
    }

    /// `shlx/shrx/sarx dst, src, count` (BMI2): touches neither `cl` nor the flags
    pub fn shift_by(&mut self, op: Shift, width: Width, (dst, src): (Gpr, Gpr), count: Gpr) {
        let inverted = |high: bool, bit: u8| if high { 0 } else { bit };
        let map = 0x02 | inverted(dst.high(), 0x80) | 0x40 | inverted(src.high(), 0x20);
        let number = count.low() | u8::from(count.high()) << 3;
        let wide = u8::from(width == Width::W64) << 7;
        let prefix = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            Shift::Shr => 3,
        };
        let modrm = 0xc0 | dst.low() << 3 | src.low();
        self.raw(&[0xc4, map, wide | (!number & 15) << 3 | prefix, 0xf7, modrm]);
    }

    /// `rol dst16, 8`: swaps the two low bytes, leaves the rest
    pub fn swap_low_bytes(&mut self, dst: Gpr) {
        let op = Op { small: true, ..Op::new(Width::W32, 0xc1) };
        self.extended(op, 0, Rm::Reg(dst));
        self.raw(&[8]);
    }

    /// `bswap dst`
    pub fn bswap(&mut self, width: Width, dst: Gpr) {
        self.rex(width == Width::W64, false, false, dst.high());
        self.raw(&[0x0f, 0xc8 | dst.low()]);
    }

    /// `cmovcc dst, src`
    pub fn cmov(&mut self, cc: Cc, width: Width, dst: Gpr, src: Gpr) {
        self.modrm(Op::escaped(width, 0x40 | cc as u8), dst, Rm::Reg(src));
    }

    /// `cmovcc dst, [mem]`; reads the memory in any case
    pub fn cmov_m(&mut self, cc: Cc, width: Width, dst: Gpr, mem: Mem) {
        self.modrm(Op::escaped(width, 0x40 | cc as u8), dst, Rm::Mem(mem));
    }

    /// `lea dst, [mem]`
    pub fn lea(&mut self, width: Width, dst: Gpr, mem: Mem) {
        self.modrm(Op::new(width, 0x8d), dst, Rm::Mem(mem));
    }

    /// `lea dst, [base + index * 2^scale]`, 64 bits; `index` is not `rsp`
    pub fn lea_sum(&mut self, dst: Gpr, base: Gpr, (index, scale): (Gpr, u8)) {
        let rex = |reg: Gpr, bit: u8| u8::from(reg.high()) * bit;
        self.raw(&[0x48 | rex(dst, 4) | rex(index, 2) | rex(base, 1), 0x8d]);
        // `rbp` and `r13` have no form without displacement.
        let mode = if base.low() == Gpr::RBP.low() { 0x40 } else { 0 };
        self.raw(&[mode | dst.low() << 3 | 4, scale << 6 | index.low() << 3 | base.low()]);
        if mode != 0 {
            self.raw(&[0]);
        }
    }
}

/// Memory.
impl Assembler {
    /// Loads `size` bytes, zero-extended to 64 bits
    pub fn load(&mut self, size: Size, dst: Gpr, mem: Mem) {
        let op = match size {
            Size::B1 => Op::escaped(Width::W32, 0xb6),
            Size::B2 => Op::escaped(Width::W32, 0xb7),
            Size::B4 => Op::new(Width::W32, 0x8b),
            Size::B8 => Op::new(Width::W64, 0x8b),
        };
        self.modrm(op, dst, Rm::Mem(mem));
    }

    /// `mov dst, [base + index * 8]`; `base` and `dst` among the first eight, `index` not
    pub fn load_indexed(&mut self, dst: Gpr, base: Gpr, index: Gpr) {
        debug_assert!(!dst.high() && !base.high() && index.high() && base.low() != 5);
        let sib = 3 << 6 | index.low() << 3 | base.low();
        self.raw(&[0x4a, 0x8b, 0x04 | dst.low() << 3, sib]);
    }

    /// Loads one, two or four bytes, sign-extended to 64 bits
    pub fn load_signed(&mut self, size: Size, dst: Gpr, mem: Mem) {
        let op = match size {
            Size::B1 => Op::escaped(Width::W64, 0xbe),
            Size::B2 => Op::escaped(Width::W64, 0xbf),
            Size::B4 => Op::new(Width::W64, 0x63),
            Size::B8 => Op::new(Width::W64, 0x8b),
        };
        self.modrm(op, dst, Rm::Mem(mem));
    }

    /// Stores the low `size` bytes of a register
    pub fn store_r(&mut self, size: Size, mem: Mem, src: Gpr) {
        let rex = size == Size::B1 && src.byte_needs_rex();
        self.modrm(Op { rex, ..Op::sized(size, 0x88, 0x89) }, src, Rm::Mem(mem));
    }

    /// Stores an immediate, truncated or sign-extended to the size
    pub fn store_i(&mut self, size: Size, mem: Mem, imm: i32) {
        self.extended(Op::sized(size, 0xc6, 0xc7), 0, Rm::Mem(mem));
        let bytes = imm.to_le_bytes();
        self.raw(bytes.get(..size.bytes().min(4)).unwrap_or(&bytes));
    }

    /// `prefetcht0 [mem]`: never faults
    pub fn prefetch(&mut self, mem: Mem) {
        self.extended(Op::escaped(Width::W32, 0x18), 1, Rm::Mem(mem));
    }

    /// Atomic read-modify-write of `[mem]` with `reg`
    pub fn locked(&mut self, op: Locked, width: Width, mem: Mem, reg: Gpr) {
        let op = match op {
            Locked::Alu(alu) => Op::new(width, (alu as u8) << 3 | 0x01),
            Locked::Xadd => Op::escaped(width, 0xc1),
            Locked::Xchg => return self.modrm(Op::new(width, 0x87), reg, Rm::Mem(mem)),
            Locked::Cmpxchg => Op::escaped(width, 0xb1),
        };
        self.raw(&[0xf0]);
        self.modrm(op, reg, Rm::Mem(mem));
    }

    /// `push reg`
    pub fn push(&mut self, reg: Gpr) {
        self.rex(false, false, false, reg.high());
        self.raw(&[0x50 | reg.low()]);
    }

    /// `pop reg`
    pub fn pop(&mut self, reg: Gpr) {
        self.rex(false, false, false, reg.high());
        self.raw(&[0x58 | reg.low()]);
    }
}

/// Control.
impl Assembler {
    /// `jcc label`
    pub fn jcc(&mut self, cc: Cc, label: Label) {
        match self.jumps.next_width() {
            Displacement::Short => self.jump(&[0x70 | cc as u8], label, Displacement::Short),
            other => self.jump(&[0x0f, 0x80 | cc as u8], label, other),
        }
    }

    /// `jmp label`
    pub fn jmp(&mut self, label: Label) {
        match self.jumps.next_width() {
            Displacement::Short => self.jump(&[0xeb], label, Displacement::Short),
            other => self.jump(&[0xe9], label, other),
        }
    }

    /// `call label`
    pub fn call(&mut self, label: Label) {
        self.jump(&[0xe8], label, Displacement::Fixed);
    }

    /// `call reg`
    pub fn call_reg(&mut self, reg: Gpr) {
        self.extended(Op::new(Width::W32, 0xff), 2, Rm::Reg(reg));
    }

    /// `ret`
    pub fn ret(&mut self) {
        self.raw(&[0xc3]);
    }

    fn jump(&mut self, opcode: &[u8], label: Label, width: Displacement) {
        self.raw(opcode);
        self.jumps.add(label, self.bytes.len(), width);
        self.raw([0; 4].get(..width.bytes()).unwrap_or(&[]));
    }
}

/// Bytes.
impl Assembler {
    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn rex(&mut self, w: bool, r: bool, forced: bool, b: bool) {
        let bits = u8::from(w) << 3 | u8::from(r) << 2 | u8::from(b);
        if bits != 0 || forced {
            self.raw(&[0x40 | bits]);
        }
    }

    /// An instruction whose reg field extends the opcode.
    fn extended(&mut self, op: Op, extension: u8, rm: Rm) {
        self.instruction(op, (extension, false), rm);
    }

    fn modrm(&mut self, op: Op, reg: Gpr, rm: Rm) {
        self.instruction(op, (reg.low(), reg.high()), rm);
    }

    fn instruction(&mut self, op: Op, (reg, reg_high): (u8, bool), rm: Rm) {
        let base = match rm {
            Rm::Reg(base) => base,
            Rm::Mem(mem) => mem.base,
        };
        if op.small {
            self.raw(&[0x66]);
        }
        self.rex(op.wide, reg_high, op.rex, base.high());
        if op.escape {
            self.raw(&[0x0f]);
        }
        self.raw(&[op.code]);
        match rm {
            Rm::Reg(base) => self.raw(&[0xc0 | reg << 3 | base.low()]),
            Rm::Mem(mem) => self.memory(reg, mem),
        }
    }

    /// ModRM, SIB and displacement of `[base + disp]`. Base `rsp`/`r12` needs a SIB byte; base
    /// `rbp`/`r13` has no form without displacement (volume 2, tables 2-2 and 2-3).
    fn memory(&mut self, reg: u8, mem: Mem) {
        let low = mem.base.low();
        let sib: &[u8] = if low == Gpr::RSP.low() { &[0x24] } else { &[] };
        let short = i8::try_from(mem.disp);
        let mode = match short {
            Ok(0) if low != Gpr::RBP.low() => 0x00,
            Ok(_) => 0x40,
            Err(_) => 0x80,
        };
        self.raw(&[mode | reg << 3 | low]);
        self.raw(sib);
        match (mode, short) {
            (0x00, _) => {}
            (_, Ok(disp)) => self.raw(&disp.to_le_bytes()),
            (_, Err(_)) => self.raw(&mem.disp.to_le_bytes()),
        }
    }
}
