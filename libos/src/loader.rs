//! From an image's bytes to a running environment.
//!
//! `abi::image` has judged every size and address before anything is mapped. Each page is charged
//! to the new environment, filled through one scratch page of the loader's own, and mapped with the
//! segment's rights; the loader keeps no name of it. An environment that could not be finished is
//! killed, which gives everything back.

use abi::image::{self, ImageError, Segment};
use abi::limits::PAGE_BYTES;
use abi::start::Start;
use abi::{Rights, Status};

use crate::capability::{Env, Page};
use crate::layout::{STACK_PAGES, STACK_TOP, START, START_PAGES_MAX};
use crate::sys::with_scratch;

/// Why an environment was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes are no image.
    Image {
        /// What is wrong with them.
        error: ImageError,
    },
    /// The kernel refused a step.
    Call {
        /// Which step.
        doing: &'static str,
        /// What it said.
        status: Status,
    },
    /// The start block is longer than its pages.
    StartTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Image { error } => write!(f, "bad image: {error}"),
            Self::Call { doing, status } => write!(f, "{doing}: {status:?}"),
            Self::StartTooLong { bytes } => write!(f, "start block of {bytes} bytes"),
        }
    }
}

/// An environment with its program and stack in place, not started.
#[derive(Debug)]
pub struct Loaded {
    /// Its capability.
    pub env: Env,
    entry: u64,
}

/// Makes an environment and loads a program into it.
///
/// # Errors
/// [`LoadError`]; nothing is left of the environment.
pub fn load(own: Env, name: &str, frames: u64, file: &[u8]) -> Result<Loaded, LoadError> {
    let image = image::read(file).map_err(|error| LoadError::Image { error })?;
    let env = Env::create(frames, name).map_err(doing("creating the environment"))?;
    let fill = || {
        for segment in &image.segments {
            load_segment(own, env, segment)?;
        }
        let page = PAGE_BYTES as u64;
        for place in 1..=STACK_PAGES as u64 {
            let rights = Rights::READ | Rights::WRITE;
            place_page(own, env, (STACK_TOP - place * page, rights), &[])?;
        }
        Ok(())
    };
    or_kill(env, fill())?;
    Ok(Loaded { env, entry: image.entry })
}

impl Loaded {
    /// Writes the start block and makes the environment runnable.
    ///
    /// # Errors
    /// [`LoadError`]; the environment is killed.
    pub fn start(self, own: Env, start: &Start) -> Result<Env, LoadError> {
        let block = start.encode();
        let fill = || {
            if block.len() > START_PAGES_MAX * PAGE_BYTES {
                return Err(LoadError::StartTooLong { bytes: block.len() });
            }
            for (at, bytes) in (START..).step_by(PAGE_BYTES).zip(block.chunks(PAGE_BYTES)) {
                place_page(own, self.env, (at, Rights::READ), bytes)?;
            }
            self.env.start(self.entry, STACK_TOP, START).map_err(doing("starting"))
        };
        or_kill(self.env, fill())?;
        Ok(self.env)
    }

    /// Gives up.
    pub fn abandon(self) {
        // It is being thrown away; a refusal leaves nothing to do.
        let _ = self.env.kill();
    }
}

fn load_segment(own: Env, env: Env, segment: &Segment<'_>) -> Result<(), LoadError> {
    let mut rights = Rights::READ;
    rights.set(Rights::WRITE, segment.write);
    rights.set(Rights::EXECUTE, segment.execute);
    let page = PAGE_BYTES as u64;
    // `image::read` has checked that this range is inside the user half.
    let first = segment.start / page;
    let last = (segment.start + segment.memory_bytes - 1) / page;
    for number in first..=last {
        let at = number * page;
        let (lead, bytes) = page_bytes(segment, at);
        let mut content = [0; PAGE_BYTES];
        content[lead..lead + bytes.len()].copy_from_slice(bytes);
        place_page(own, env, (at, rights), &content)?;
    }
    Ok(())
}

/// What of the segment's file bytes lies in the page at `at`, and how far into the page.
fn page_bytes<'a>(segment: &Segment<'a>, at: u64) -> (usize, &'a [u8]) {
    let lead = segment.start.saturating_sub(at) as usize;
    let skip = at.saturating_sub(segment.start) as usize;
    let bytes = segment.bytes.get(skip..).unwrap_or_default();
    (lead, &bytes[..bytes.len().min(PAGE_BYTES - lead)])
}

/// A new page of `env`'s with this content, mapped there with these rights.
fn place_page(
    own: Env,
    env: Env,
    (at, rights): (u64, Rights),
    bytes: &[u8],
) -> Result<(), LoadError> {
    let page = Page::alloc(env).map_err(doing("allocating a page"))?;
    if !bytes.is_empty() {
        with_scratch(own, page, |window| window.write(0, bytes))
            .map_err(doing("filling a page"))?;
    }
    page.map_with(env, at, rights).map_err(doing("mapping a page"))?;
    page.forget().map_err(doing("forgetting a page"))
}

fn doing(doing: &'static str) -> impl Fn(Status) -> LoadError {
    move |status| LoadError::Call { doing, status }
}

fn or_kill(env: Env, result: Result<(), LoadError>) -> Result<(), LoadError> {
    result.inspect_err(|_| {
        // The error that counts is the first one.
        let _ = env.kill();
        let _ = crate::capability::drop_handle(env.0);
    })
}
