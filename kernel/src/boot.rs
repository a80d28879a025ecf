//! From the machine to the first environment: `init`, out of the initrd, with all authority.
//!
//! The initrd is a tar archive. Its first entry is `init`, the only program that the kernel reads
//! itself; `symbols`, if it is there, is the kernel's own symbol table for backtraces. The whole
//! archive is copied into pages of `init`'s, mapped read-only: what is in it is `init`'s business.
//!
//! Address space of `init`: its image where its ELF wants it; the initrd, the start block and the
//! stack at the fixed addresses below.

use core::fmt;

use abi::image::{Image, ImageError, Segment};
use abi::start::Start;
use abi::{Handle, Rights, Status};
use alloc::string::String;
use alloc::vec::Vec;
use machine::{Boot, PAGE, Rights as MapRights, UserContext};
use tar_no_std::{ArchiveEntry, TarArchiveRef};
use verifier::GrantId;

use crate::Kernel;
use crate::capability::{Capability, Object};
use crate::environment::EnvironmentId;
use crate::limits::{EXIT_NO_INIT, STACK_PAGES};

/// Where `init` finds the initrd.
const INITRD_AT: u64 = 0x50_0000_0000;
/// Where `init` finds its start block.
const START_AT: u64 = 0x7ff0_0000_0000;
/// One past the top of `init`'s stack; the page below its last one is not mapped.
const STACK_TOP: u64 = 0x7fff_0000_0000;

const PAGE_BYTES: u64 = PAGE as u64;
const READ_ONLY: MapRights = MapRights { write: false, execute: false };
const READ_WRITE: MapRights = MapRights { write: true, execute: false };

/// Why `init` was not started.
#[derive(Debug)]
pub enum BootError {
    /// The initrd is no tar archive; what is wrong with it.
    NotAnArchive(String),
    /// The archive's first entry is not called `init`.
    NoInit,
    /// `init` is no program.
    Image(ImageError),
    /// A page, a mapping or a capability could not be had.
    Memory(Status),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArchive(why) => write!(f, "the initrd is no tar archive: {why}"),
            Self::NoInit => f.write_str("the initrd's first entry is not `init`"),
            Self::Image(error) => write!(f, "init: {error}"),
            Self::Memory(status) => write!(f, "init: {status:?}"),
        }
    }
}

impl From<Status> for BootError {
    fn from(status: Status) -> BootError {
        BootError::Memory(status)
    }
}

/// The kernel's entry: everything from here on is [`Kernel::step`].
pub fn main(boot: Boot) -> ! {
    let (initrd, command_line) = (boot.initrd, boot.command_line);
    runtime::clock::set(machine::time::now_ns);
    let [_, seed, ..] = boot.entropy;
    runtime::random::seed(seed);
    let mut kernel = Kernel::new(boot);
    match kernel.start_init(initrd, command_line) {
        Ok(id) => log::info!("init is environment {}", id.0),
        Err(error) => {
            log::error!("{error}");
            machine::exit(EXIT_NO_INIT)
        }
    }
    assert!(!kernel.options.crash, "crash=test on the command line");
    loop {
        kernel.step();
    }
}

impl Kernel {
    /// Loads `init` from the initrd and makes it runnable.
    ///
    /// # Errors
    /// [`BootError`]; the kernel is of no use then.
    pub fn start_init(
        &mut self,
        initrd: &'static [u8],
        command_line: &str,
    ) -> Result<EnvironmentId, BootError> {
        let archive = TarArchiveRef::new(initrd)
            .map_err(|error| BootError::NotAnArchive(alloc::format!("{error}")))?;
        let first = archive.entries().next().filter(|entry| is_called(entry, "init"));
        let file = first.ok_or(BootError::NoInit)?.data();
        if let Some(symbols) = archive.entries().find(|entry| is_called(entry, "symbols")) {
            machine::symbols::set(symbols.data());
        }
        let image = abi::image::read(file).map_err(BootError::Image)?;
        let quota = self.memory.books().free;
        let id = self.create_environment("init", None, quota)?;
        self.scheduler.allocate(id, Some(0));
        self.load_image(id, &image)?;
        self.map_bytes(id, INITRD_AT, initrd, READ_ONLY)?;
        let bottom = STACK_TOP - STACK_PAGES * PAGE_BYTES;
        for page in 0..STACK_PAGES {
            self.map_new(id, bottom + page * PAGE_BYTES, READ_WRITE)?;
        }
        let start = self.start_block(id, initrd.len() as u64, command_line)?;
        self.map_bytes(id, START_AT, &start.encode(), READ_ONLY)?;
        self.start_environment(id, UserContext::new(image.entry, STACK_TOP, START_AT))?;
        Ok(id)
    }

    fn start_block(
        &mut self,
        id: EnvironmentId,
        initrd_bytes: u64,
        command_line: &str,
    ) -> Result<Start, Status> {
        let whole = Rights::GRANT | Rights::CONTROL | Rights::READ;
        let debug = Rights::GRANT | Rights::CONTROL | Rights::WRITE;
        let slices = Rights::GRANT | Rights::CONTROL;
        let root = Rights::GRANT | Rights::DERIVE | Rights::BIND;
        let handles = [
            ("self", Capability { object: Object::Environment(id), rights: whole }),
            ("debug", Capability { object: Object::Debug, rights: debug }),
            ("slices", Capability { object: Object::Vector, rights: slices }),
            ("grant:root", Capability { object: Object::Grant(GrantId::ROOT), rights: root }),
        ];
        let mut named: Vec<(String, Handle)> = Vec::new();
        for (name, capability) in handles {
            self.reserve_slot(id)?;
            named.push((String::from(name), self.give(id, capability)?));
        }
        Ok(Start {
            version: abi::VERSION,
            name: String::from("init"),
            arguments: String::from(command_line),
            handles: named,
            regions: alloc::vec![(String::from("initrd"), INITRD_AT, initrd_bytes)],
            mac: self.network.mac().unwrap_or_default(),
        })
    }

    fn load_image(&mut self, id: EnvironmentId, image: &Image<'_>) -> Result<(), Status> {
        image.segments.iter().try_for_each(|segment| self.load_segment(id, segment))
    }

    /// A segment's pages: bytes of the file where it has them, zeros elsewhere.
    fn load_segment(&mut self, id: EnvironmentId, segment: &Segment<'_>) -> Result<(), Status> {
        let rights = MapRights { write: segment.write, execute: segment.execute };
        let (start, end) = (segment.start, segment.start + segment.memory_bytes);
        let mut page = start - start % PAGE_BYTES;
        while page < end {
            let from = page.max(start);
            let skip = usize::try_from(from - start).map_err(|_| Status::BadArgument)?;
            let room = (page + PAGE_BYTES - from) as usize;
            let rest = segment.bytes.get(skip..).unwrap_or_default();
            let bytes = rest.get(..rest.len().min(room)).unwrap_or_default();
            let frame = self.map_new(id, page, rights)?;
            if let Some(frame) = self.memory.frame(frame) {
                frame.write((from - page) as usize, bytes);
            }
            page += PAGE_BYTES;
        }
        Ok(())
    }

    /// Bytes at an address, in pages of their own.
    fn map_bytes(
        &mut self,
        id: EnvironmentId,
        address: u64,
        bytes: &[u8],
        rights: MapRights,
    ) -> Result<(), Status> {
        for (page, chunk) in (address..).step_by(PAGE).zip(bytes.chunks(PAGE)) {
            let frame = self.map_new(id, page, rights)?;
            if let Some(frame) = self.memory.frame(frame) {
                frame.write(0, chunk);
            }
        }
        Ok(())
    }

    /// A zeroed page of an environment's at an address; its frame's number.
    fn map_new(
        &mut self,
        id: EnvironmentId,
        address: u64,
        rights: MapRights,
    ) -> Result<u64, Status> {
        let page = self.allocate_page(id, None)?;
        let mapped = self.map_page(id, page, address, rights);
        self.collect_page(page.frame);
        mapped.map(|()| page.frame)
    }
}

fn is_called(entry: &ArchiveEntry<'_>, name: &str) -> bool {
    entry.filename().as_str() == Ok(name)
}
