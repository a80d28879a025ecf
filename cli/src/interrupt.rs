//! Ctrl-C: at once, or when whoever is at work has tidied up.
//!
//! Without a [`Patience`] a signal ends the process on the spot, with no machine, no namespace and
//! no socket left behind. Whoever holds one is told instead and ends in its own time; a second
//! signal does not wait.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::machine;

/// How many want to be told rather than ended.
static PATIENT: AtomicU32 = AtomicU32::new(0);
/// A signal came while somebody was patient.
static TOLD: AtomicBool = AtomicBool::new(false);
/// Exit status after a signal: 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// While it lives, the first signal is only noted.
#[derive(Debug)]
pub struct Patience(());

impl Patience {
    /// From now on signals are noted.
    pub fn new() -> Patience {
        PATIENT.fetch_add(1, Ordering::SeqCst);
        Patience(())
    }

    /// Whether somebody wants an end.
    pub fn is_over(&self) -> bool {
        TOLD.load(Ordering::SeqCst)
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::new()
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        PATIENT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Catches Ctrl-C and the signals that ask a process to end.
pub fn catch() {
    let handler = || {
        let patient = PATIENT.load(Ordering::SeqCst) > 0;
        if patient && !TOLD.swap(true, Ordering::SeqCst) {
            return;
        }
        machine::kill_all();
        machine::tap::sweep();
        machine::sockets::sweep();
        std::process::exit(INTERRUPTED);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("sluice: Ctrl-C cannot be caught: {error}");
    }
}
