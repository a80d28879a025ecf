//! The host's own kernel: its verdict on a program, and its runs of it, through `bpf(2)`.
//!
//! Needs root (or `CAP_BPF` and `CAP_NET_ADMIN`) and a kernel with `bpf`; whoever uses it asks
//! [`Linux::here`] first and says by name that it was skipped. Programs are loaded as XDP programs
//! with the instructions and maps that everybody else gets; nothing stays behind, descriptors close
//! what they name.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use ebpf::{Imm64, Insn, MapKind, MapSpec, Program};

/// Commands of `bpf(2)` (`enum bpf_cmd`).
mod command {
    pub(super) const MAP_CREATE: i64 = 0;
    pub(super) const MAP_UPDATE: i64 = 2;
    pub(super) const PROG_LOAD: i64 = 5;
    pub(super) const TEST_RUN: i64 = 10;
    pub(super) const MAP_FREEZE: i64 = 22;
}

/// `BPF_PROG_TYPE_XDP`.
const XDP: u32 = 6;
/// `BPF_F_NO_PREALLOC`, which tries demand and large hashes profit from.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_RDONLY_PROG`.
const READ_ONLY: u32 = 1 << 7;
/// `BPF_LOG_STATS`: the message of a refusal, and what the verifier spent.
const LOG_STATS: u32 = 4;
/// Bytes for the log.
const LOG_BYTES: usize = 1 << 16;

/// The host's kernel.
#[derive(Clone, Copy, Debug)]
pub struct Linux(());

/// A program's map: what it is and what is in its first value.
#[derive(Clone, Debug)]
pub struct Filled {
    /// What it is.
    pub spec: MapSpec,
    /// The first value; shorter than a value is padded with zeroes, empty stays as it is.
    pub initial: Vec<u8>,
}

/// What the kernel's verifier said.
#[derive(Debug)]
pub struct Verdict {
    /// The program, if it was accepted.
    pub program: std::result::Result<Loaded, Error>,
    /// The log: the message of a refusal, the statistics.
    pub log: String,
}

/// A program that the kernel has taken.
#[derive(Debug)]
pub struct Loaded {
    program: OwnedFd,
    maps: Vec<OwnedFd>,
}

impl Linux {
    /// The kernel, if it lets this process load programs.
    pub fn here() -> Option<Linux> {
        let trivial = ebpf::asm::program(ebpf::Kind::Ash, "mov %r0, 2\nexit").ok()?;
        let linux = Linux(());
        linux.load(&trivial, &[]).ok()?.program.ok().map(|_| linux)
    }

    /// Loads a program as XDP program, its maps made and filled first.
    ///
    /// # Errors
    /// A map that the kernel does not make; what the kernel says of the program is in the verdict.
    pub fn load(self, program: &Program, maps: &[Filled]) -> Result<Verdict> {
        let maps = maps.iter().map(make).collect::<Result<Vec<_>>>()?;
        let insns: Vec<Insn> = program.insns().iter().map(|insn| with_fds(*insn, &maps)).collect();
        let program = Program::from_insns(program.kind(), insns).map_err(Error::other)?;
        let bytes = ebpf::encode(&program);
        let mut log = vec![0_u8; LOG_BYTES];
        let mut attr = Attr::default();
        attr.u32(0, XDP).u32(4, (bytes.len() / 8) as u32).address(8, &bytes);
        attr.address(16, b"GPL\0").u32(24, LOG_STATS).u32(28, LOG_BYTES as u32);
        let place = log.as_mut_ptr() as u64;
        attr.u64(32, place);
        let answer = call(command::PROG_LOAD, &mut attr);
        let end = log.iter().position(|&byte| byte == 0).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[..end]).into_owned();
        let program = answer.map(|fd| Loaded { program: owned(fd), maps });
        Ok(Verdict { program, log })
    }
}

impl Verdict {
    /// Microseconds that the verifier says it took.
    pub fn micros(&self) -> Option<u64> {
        number(&self.log, "verification time ")
    }

    /// Instructions that the verifier says it walked.
    pub fn processed(&self) -> Option<u64> {
        number(&self.log, "processed ")
    }

    /// The last line of the log that is no statistics: why it was refused.
    pub fn reason(&self) -> Option<&str> {
        let is_statistics = |line: &&str| {
            ["processed ", "verification time ", "stack depth"].iter().any(|s| line.starts_with(s))
        };
        self.log.lines().rev().find(|line| !is_statistics(line) && !line.is_empty())
    }
}

impl Loaded {
    /// Runs the program once on a frame: what it returned, and the frame afterwards.
    ///
    /// # Errors
    /// The kernel's, for example for frames shorter than an Ethernet header.
    pub fn run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut out = vec![0_u8; frame.len() + 512];
        let mut attr = Attr::default();
        attr.u32(0, self.program.as_raw_fd() as u32).u32(8, frame.len() as u32);
        attr.u32(12, out.len() as u32).address(16, frame).u64(24, out.as_mut_ptr() as u64);
        attr.u32(32, 1);
        call(command::TEST_RUN, &mut attr)?;
        let (result, length) = (attr.get(4), attr.get(12) as usize);
        out.truncate(length);
        Ok((result, out))
    }
}

impl Loaded {
    /// Puts keys and values into one of its maps, by position.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fill(&self, map: usize, entries: impl Iterator<Item = (u64, u64)>) -> Result<()> {
        let map = self.maps.get(map).ok_or_else(|| Error::other("there is no such map"))?;
        for (key, value) in entries {
            let (key, value) = (key.to_le_bytes(), value.to_le_bytes());
            let mut attr = Attr::default();
            attr.u32(0, map.as_raw_fd() as u32).address(8, &key).address(16, &value);
            call(command::MAP_UPDATE, &mut attr)?;
        }
        Ok(())
    }

    /// Runs the program many times over: what it returned last, and the calling thread's processor
    /// time.
    ///
    /// # Errors
    /// The kernel's.
    pub fn repeat(&self, frame: &[u8], times: u32) -> Result<(u32, std::time::Duration)> {
        let mut attr = Attr::default();
        attr.u32(0, self.program.as_raw_fd() as u32).u32(8, frame.len() as u32);
        attr.address(16, frame).u32(32, times);
        let start = crate::clock::now();
        call(command::TEST_RUN, &mut attr)?;
        let time = crate::clock::now() - start;
        Ok((attr.get(4), time))
    }
}

/// Makes a map and fills its first value.
fn make(map: &Filled) -> Result<OwnedFd> {
    let spec = &map.spec;
    let on_demand = matches!(spec.kind, MapKind::LpmTrie | MapKind::Hash);
    let flags = if on_demand { NO_PREALLOC } else { 0 };
    let flags = if spec.read_only { flags | READ_ONLY } else { flags };
    let mut attr = Attr::default();
    attr.u32(0, spec.kind.number()).u32(4, spec.key_size).u32(8, spec.value_size);
    attr.u32(12, spec.max_entries).u32(16, flags);
    let fd = owned(call(command::MAP_CREATE, &mut attr)?);
    if !map.initial.is_empty() {
        let mut value = map.initial.clone();
        value.resize(spec.value_size as usize, 0);
        let mut attr = Attr::default();
        attr.u32(0, fd.as_raw_fd() as u32).address(8, &[0; 4]).address(16, &value);
        call(command::MAP_UPDATE, &mut attr)?;
    }
    if spec.read_only {
        let mut attr = Attr::default();
        attr.u32(0, fd.as_raw_fd() as u32);
        call(command::MAP_FREEZE, &mut attr)?;
    }
    Ok(fd)
}

/// Positions become descriptors.
fn with_fds(insn: Insn, maps: &[OwnedFd]) -> Insn {
    let fd =
        |position: u32| maps.get(position as usize).map_or(u32::MAX, |map| map.as_raw_fd() as u32);
    match insn {
        Insn::LoadImm64 { dst, imm: Imm64::MapFd(map) } => {
            Insn::LoadImm64 { dst, imm: Imm64::MapFd(fd(map)) }
        }
        Insn::LoadImm64 { dst, imm: Imm64::MapValue { fd: map, offset } } => {
            Insn::LoadImm64 { dst, imm: Imm64::MapValue { fd: fd(map), offset } }
        }
        other => other,
    }
}

/// The number behind a word in the log.
fn number(log: &str, word: &str) -> Option<u64> {
    let rest = &log[log.find(word)? + word.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// `union bpf_attr`, field by field at its offsets.
struct Attr([u8; 144]);

impl Default for Attr {
    fn default() -> Self {
        Self([0; 144])
    }
}

impl Attr {
    fn u32(&mut self, at: usize, value: u32) -> &mut Self {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, at: usize, value: u64) -> &mut Self {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// Where bytes are. They must outlive the call, which every caller here sees to.
    fn address(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.u64(at, bytes.as_ptr() as u64)
    }

    fn get(&self, at: usize) -> u32 {
        self.0[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
    }
}

fn call(command: i64, attr: &mut Attr) -> Result<RawFd> {
    // SAFETY: the kernel reads and writes the attributes, whose length is given, and the buffers
    // that they point to: each caller makes those with the length that it states beside them, and
    // keeps them until after the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), attr.0.len()) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(answer as RawFd) }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just given this descriptor to us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
