//! A booted kernel and a hand that plays ring 3.

use std::sync::{Arc, Mutex};

use abi::record::Record;
use abi::start::{Start, State};
use abi::{Call, Handle, Status};
use kernel::{EnvironmentId, Kernel};
use machine::Boot;
use machine::host::Wire;

pub(crate) const START_AT: u64 = 0x7ff0_0000_0000;
/// The lowest address of `init`'s stack: sixteen writable pages that tests use as scratch.
pub(crate) const SCRATCH: u64 = 0x7fff_0000_0000 - 16 * 4096;
pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub(crate) const PEER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x99];
pub(crate) const US: [u8; 4] = [10, 0, 2, 15];
pub(crate) const THEM: [u8; 4] = [10, 0, 2, 99];

pub(crate) struct Machine {
    pub(crate) kernel: Kernel,
    pub(crate) wire: Wire,
    written: Arc<Mutex<Vec<u8>>>,
    pub(crate) init: EnvironmentId,
    pub(crate) start: Start,
}

/// The smallest program: one executable page.
pub(crate) fn elf() -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let word = |file: &mut Vec<u8>, value: u64, bytes: usize| {
        file.extend_from_slice(&value.to_le_bytes()[..bytes]);
    };
    // Type, machine, version, entry, program headers, section headers, flags, sizes and counts.
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (0x40_0078, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        word(&mut file, value, bytes);
    }
    // PT_LOAD, R+X, offset, addresses, sizes, alignment.
    for (value, bytes) in
        [(1, 4), (5, 4), (0, 8), (0x40_0000, 8), (0x40_0000, 8), (0x7a, 8), (0x7a, 8), (4096, 8)]
    {
        word(&mut file, value, bytes);
    }
    file.extend_from_slice(&[0xeb, 0xfe]);
    file
}

/// An initrd with these entries.
pub(crate) fn initrd(entries: &[(&str, &[u8])]) -> &'static [u8] {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    Box::leak(builder.into_inner().unwrap().into_boxed_slice())
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine::boot("trace log=off", true)
    }

    pub(crate) fn boot(command_line: &'static str, card: bool) -> Machine {
        Machine::try_boot(command_line, card).unwrap()
    }

    pub(crate) fn try_boot(
        command_line: &'static str,
        card: bool,
    ) -> Result<Machine, kernel::BootError> {
        machine::host::set_clock(0);
        let mut boot = Boot::host(16 * 1024);
        let wire = boot.nic.as_ref().map(machine::Nic::wire).unwrap_or_default();
        let written = boot.console.as_ref().map(machine::Console::written).unwrap_or_default();
        if !card {
            boot.nic = None;
        }
        boot.command_line = command_line;
        let mut kernel = Kernel::new(boot);
        let init = kernel.start_init(initrd(&[("init", &elf())]), command_line)?;
        let mut length = [0; 4];
        let space = kernel.space(init).unwrap();
        space.read(START_AT, &mut length).unwrap();
        let mut block = vec![0; 4 + u32::from_le_bytes(length) as usize];
        space.read(START_AT, &mut block).unwrap();
        let start = Start::decode(&block).unwrap();
        Ok(Machine { kernel, wire, written, init, start })
    }

    pub(crate) fn handle(&self, name: &str) -> u64 {
        self.start.handle(name).unwrap().0
    }

    /// A call of `init`'s.
    pub(crate) fn call(&mut self, call: Call, arguments: &[u64]) -> (Status, u64) {
        self.call_as(self.init, call, arguments)
    }

    /// A call, with the proof that it may start worked on to its end.
    pub(crate) fn call_as(
        &mut self,
        who: EnvironmentId,
        call: Call,
        arguments: &[u64],
    ) -> (Status, u64) {
        let mut words = [0; 6];
        words[..arguments.len()].copy_from_slice(arguments);
        self.kernel.call(who, call as u64, words);
        let mut steps = 0;
        while self.kernel.step_proof(who) {
            steps += 1;
            assert!(steps < 1_000_000, "the proof does not end");
        }
        let Some(registers) = self.kernel.registers(who) else { return (Status::Ok, 0) };
        (Status::from_number(registers.rax).unwrap(), registers.rdx)
    }

    /// A call of `init`'s that must succeed.
    pub(crate) fn ok(&mut self, call: Call, arguments: &[u64]) -> u64 {
        self.ok_as(self.init, call, arguments)
    }

    pub(crate) fn ok_as(&mut self, who: EnvironmentId, call: Call, arguments: &[u64]) -> u64 {
        let (status, value) = self.call_as(who, call, arguments);
        assert_eq!(status, Status::Ok, "{call:?} {arguments:x?}: {:?}", self.last_refusal());
        value
    }

    /// Writes into an environment's memory.
    pub(crate) fn write(&self, who: EnvironmentId, address: u64, bytes: &[u8]) {
        self.kernel.space(who).unwrap().write(address, bytes).unwrap();
    }

    /// Reads an environment's memory.
    pub(crate) fn read(&self, who: EnvironmentId, address: u64, bytes: usize) -> Vec<u8> {
        let mut copy = vec![0; bytes];
        self.kernel.space(who).unwrap().read(address, &mut copy).unwrap();
        copy
    }

    pub(crate) fn read_u32(&self, who: EnvironmentId, address: u64) -> u32 {
        u32::from_le_bytes(self.read(who, address, 4).try_into().unwrap())
    }

    /// A page of `who`'s own, mapped writable at an address; its handle.
    pub(crate) fn page(&mut self, who: EnvironmentId, own: u64, address: u64) -> u64 {
        let page = self.ok_as(who, Call::PageAlloc, &[own, u64::MAX]);
        self.ok_as(who, Call::PageMap, &[own, page, address, 3]);
        page
    }

    /// A second environment with `self` and scratch pages at [`SCRATCH`]; its number, its handle
    /// in `init`'s table, and its own handle to itself.
    pub(crate) fn child(&mut self, frames: u64) -> (EnvironmentId, u64, u64) {
        self.write(self.init, SCRATCH, b"child");
        let handle = self.ok(Call::EnvCreate, &[frames, SCRATCH, 5]);
        let id = self.kernel.environments().last().unwrap();
        for page in 0..4 {
            let fresh = self.ok(Call::PageAlloc, &[handle, u64::MAX]);
            self.ok(Call::PageMap, &[handle, fresh, SCRATCH + page * 4096, 3]);
            self.ok(Call::CapDrop, &[fresh]);
        }
        let own = self.ok(Call::CapGrant, &[handle, handle, 64 | 8]);
        self.slice(handle);
        self.ok(Call::EnvStart, &[handle, 0x40_0000, SCRATCH + 4096, 0]);
        (id, handle, own)
    }

    /// Gives an environment the first free position of the vector, if there is one.
    pub(crate) fn slice(&mut self, environment: u64) {
        let vector = self.handle("slices");
        let (status, slice) = self.call(Call::SliceAllocate, &[vector, environment, u64::MAX]);
        if status == Status::Ok {
            self.ok(Call::CapDrop, &[slice]);
        }
    }

    /// Everything on the framed channel so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        let stream = self.written.lock().unwrap().clone();
        let (mut at, mut records) = (0, Vec::new());
        while let Some((_, record, used)) = Record::take(&stream[at..]).unwrap() {
            records.push(record);
            at += used;
        }
        assert_eq!(at, stream.len(), "the stream ends within a record");
        records
    }

    pub(crate) fn last_refusal(&self) -> Option<abi::refusal::Record> {
        self.records().into_iter().rev().find_map(|record| match record {
            Record::Refused { refusal, .. } => Some(refusal),
            _ => None,
        })
    }

    /// A frame from the wire, served.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.wire.send(frame);
        self.kernel.serve();
        self.audit();
    }

    #[track_caller]
    pub(crate) fn audit(&mut self) {
        assert_eq!(self.kernel.audit(), None, "{:?}", self.kernel.books());
    }

    pub(crate) fn state(&self, id: EnvironmentId) -> Option<State> {
        self.kernel.state(id)
    }
}

/// A filter that accepts an expression.
pub(crate) fn filter(expression: &str) -> Vec<u8> {
    let space = flow::expr::parse(expression).unwrap().to_space().unwrap();
    ebpf::encode(&flow::lower::lower(&space).unwrap())
}

/// A handler from text.
pub(crate) fn ash(text: &str) -> Vec<u8> {
    let insns = ebpf::asm::assemble(text).unwrap();
    ebpf::encode(&ebpf::Program::from_insns(ebpf::Kind::Ash, insns).unwrap())
}

/// A UDP datagram over IPv4 from the peer to us, in an Ethernet frame.
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    udp_between((PEER, THEM, from), (MAC, US, to), payload)
}

type End = ([u8; 6], [u8; 4], u16);

/// A UDP datagram between any two ends.
pub(crate) fn udp_between(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend((28 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(from.1);
    frame.extend(to.1);
    frame.extend(from.2.to_be_bytes());
    frame.extend(to.2.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// What a bind call asks for, and where its pieces are put.
pub(crate) struct BindPlan<'a> {
    pub(crate) who: EnvironmentId,
    pub(crate) own: u64,
    pub(crate) grant: u64,
    pub(crate) filter: &'a [u8],
    pub(crate) ash: &'a [u8],
    /// Pages of each ring; zero for a binding without rings.
    pub(crate) pages: u64,
}

/// Addresses at which [`bind`] puts things.
pub(crate) const CONTROL: u64 = 0x20_0000_0000;
pub(crate) const RECEIVE: u64 = 0x20_0001_0000;
pub(crate) const TRANSMIT: u64 = 0x20_0010_0000;
pub(crate) const REFUSAL: u64 = SCRATCH + 0x1000;
const BLOCK: u64 = SCRATCH + 0x200;
const LIST: u64 = SCRATCH + 0x400;
const CODE: u64 = SCRATCH + 0x2000;

/// Writes a bind request and makes the call.
pub(crate) fn bind(machine: &mut Machine, plan: &BindPlan<'_>) -> (Status, u64) {
    use zerocopy::IntoBytes;
    let who = plan.who;
    let mut request = abi::bind::BindRequest {
        filter: CODE,
        filter_bytes: plan.filter.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        ..Default::default()
    };
    machine.write(who, CODE, plan.filter);
    if !plan.ash.is_empty() {
        request.ash = CODE + 0x1000;
        request.ash_bytes = plan.ash.len() as u64;
        machine.write(who, request.ash, plan.ash);
    }
    if plan.pages > 0 {
        request.control_page = machine.page(who, plan.own, CONTROL);
        (request.rx_pages, request.rx_page_count) = (LIST, plan.pages);
        (request.tx_pages, request.tx_page_count) = (LIST + 0x200, plan.pages);
        for n in 0..plan.pages {
            let page = machine.page(who, plan.own, RECEIVE + n * 4096);
            machine.write(who, LIST + n * 8, &page.to_le_bytes());
            let page = machine.page(who, plan.own, TRANSMIT + n * 4096);
            machine.write(who, LIST + 0x200 + n * 8, &page.to_le_bytes());
        }
    }
    machine.write(who, BLOCK, request.as_bytes());
    machine.call_as(who, Call::Bind, &[plan.grant, BLOCK])
}

/// Derives a grant from `parent`; an empty transmit expression is the mirror.
pub(crate) fn derive(
    machine: &mut Machine,
    parent: u64,
    receive: &[u8],
    transmit: &[u8],
) -> (Status, u64) {
    use zerocopy::IntoBytes;
    let who = machine.init;
    let mut request = abi::bind::GrantRequest {
        receive: CODE,
        receive_bytes: receive.len() as u64,
        refusal: REFUSAL,
        refusal_bytes: 4096,
        ..Default::default()
    };
    machine.write(who, CODE, receive);
    if !transmit.is_empty() {
        request.transmit = CODE + 0x4000;
        request.transmit_bytes = transmit.len() as u64;
        machine.write(who, request.transmit, transmit);
    }
    machine.write(who, BLOCK, request.as_bytes());
    machine.call(Call::GrantDerive, &[parent, BLOCK])
}

/// The refusal record that the last refused call left in `who`'s buffer.
pub(crate) fn refusal(machine: &Machine, who: EnvironmentId) -> abi::refusal::Record {
    abi::refusal::Record::decode(&machine.read(who, REFUSAL, 4096)).unwrap()
}

/// Puts a frame into `who`'s transmit slot `index` of [`bind`]'s ring.
pub(crate) fn fill_slot(machine: &Machine, who: EnvironmentId, index: u64, frame: &[u8]) {
    let slot = TRANSMIT + index * 2048;
    machine.write(who, slot, &(frame.len() as u32).to_le_bytes());
    machine.write(who, slot + 16, frame);
}

/// Says that so many slots are filled.
pub(crate) fn produce(machine: &Machine, who: EnvironmentId, index: u32) {
    machine.write(who, CONTROL + abi::ring::TX_PRODUCED as u64, &index.to_le_bytes());
}

/// A handle that was never given out.
pub(crate) const FORGED: u64 = Handle(0x0000_0007_0000_0003).0;
