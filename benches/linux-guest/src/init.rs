//! Process 1: what a Linux guest needs before it can do anything, and how it ends.

use std::ffi::CStr;
use std::io;

/// An error number as an error.
pub(crate) fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Mounts `/proc`, which says which pages are dirty.
pub(crate) fn mount() -> io::Result<()> {
    std::fs::create_dir_all("/proc")?;
    let (kind, at): (&CStr, &CStr) = (c"proc", c"/proc");
    // SAFETY: both names end with a zero; `proc` takes no data.
    let result =
        unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, core::ptr::null()) };
    check(result.into()).map(drop)
}

/// Runs `work` in a child and waits for its end.
pub(crate) fn in_a_child<R>(work: impl FnOnce() -> R) -> io::Result<()> {
    // SAFETY: this process has one thread; the child does nothing but `work` and ends.
    let process = unsafe { libc::fork() };
    if process == 0 {
        work();
        // SAFETY: ends the child without what the parent wanted done at its end.
        unsafe { libc::_exit(0) };
    }
    check(process.into())?;
    let mut status = 0;
    // SAFETY: the child is ours and has not been waited for.
    check(unsafe { libc::waitpid(process, &mut status, 0) }.into())?;
    let whole = libc::WIFEXITED(status);
    if whole { Ok(()) } else { Err(io::Error::other(format!("ended by signal {status}"))) }
}

/// So many processes that only run.
pub(crate) fn spinning(count: u32) -> io::Result<()> {
    for _ in 0..count {
        // SAFETY: this process has one thread; the child only runs.
        let process = unsafe { libc::fork() };
        if process == 0 {
            loop {
                std::hint::spin_loop();
            }
        }
        check(process.into())?;
    }
    Ok(())
}

/// Ends the machine.
pub(crate) fn power_off() {
    // SAFETY: stops the machine; nothing is mounted that could lose anything.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_AUTOBOOT);
    }
}
