//! Talking to another process: pipes, a socket pair, a shared page.
//!
//! A child of this process answers; both sit on one processor. Each is a round trip of a word, of
//! which one way is half; the calls carry four words there and four back and are whole round trips,
//! as in the exokernel paper's table 8. Linux has several ways to do each, and all are measured:
//! the table takes the cheapest.

use core::sync::atomic::{AtomicU32, Ordering};
use std::io;

use crate::clock;
use crate::init::check;

/// Bytes of a word, and of a call's message.
const WORD: usize = 4;
const CALL: usize = 32;

/// Measures all and prints.
pub(crate) fn measure() -> io::Result<()> {
    let half = |both: u64| both / 2;
    let (pipes, sockets) = (half(pipe::<WORD>()?), half(socket::<WORD>()?));
    let (futex, yielding) = (half(shared(futex_wait)?), half(shared(|_, _| yield_now())?));
    println!("linux one_way pipe={pipes} socket={sockets} futex={futex} yield={yielding}");
    println!("linux call pipe={} socket={}", pipe::<CALL>()?, socket::<CALL>()?);
    println!("linux call futex={}", shared_call()?);
    Ok(())
}

/// A child that runs `work` and ends; killed when this is dropped.
struct Child(i32);

impl Child {
    fn start(work: impl FnOnce()) -> io::Result<Child> {
        // SAFETY: this process has one thread; the child does nothing but `work` and ends.
        let process = unsafe { libc::fork() };
        if process == 0 {
            work();
            // SAFETY: ends the child without what the parent wanted done at its end.
            unsafe { libc::_exit(0) };
        }
        check(process.into()).map(|_| Child(process))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child is ours and has not been waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, core::ptr::null_mut(), 0);
        }
    }
}

fn pair(make: impl FnOnce(*mut i32) -> i32) -> io::Result<[i32; 2]> {
    let mut ends = [0; 2];
    check(make(ends.as_mut_ptr()).into())?;
    Ok(ends)
}

fn get<const N: usize>(from: i32, bytes: &mut [u8; N]) -> bool {
    // SAFETY: the buffer has that many bytes.
    let got = unsafe { libc::read(from, bytes.as_mut_ptr().cast(), N) };
    got == N as isize
}

fn put<const N: usize>(to: i32, bytes: &[u8; N]) -> bool {
    // SAFETY: the buffer has that many bytes.
    let put = unsafe { libc::write(to, bytes.as_ptr().cast(), N) };
    put == N as isize
}

/// Round trip of `N` bytes between (there, back) of this side and those of the other.
fn exchange<const N: usize>(ours: (i32, i32), theirs: (i32, i32)) -> io::Result<u64> {
    let child = Child::start(|| {
        let mut bytes = [0; N];
        while get(theirs.0, &mut bytes) && put(theirs.1, &bytes) {}
    })?;
    let (mut sent, mut bytes) = ([0; N], [0; N]);
    let mut all = true;
    let cost = clock::least(|| {
        sent[0] += 1;
        all &= put(ours.1, &sent) && get(ours.0, &mut bytes) && bytes == sent;
    });
    drop(child);
    [ours.0, ours.1, theirs.0, theirs.1].into_iter().for_each(close);
    if all { Ok(cost) } else { Err(io::Error::other("an answer was not what was sent")) }
}

fn close(end: i32) {
    // SAFETY: this module's own; closed twice it would only fail.
    unsafe { libc::close(end) };
}

fn pipe<const N: usize>() -> io::Result<u64> {
    // SAFETY: room for two numbers.
    let make = |ends| unsafe { libc::pipe(ends) };
    let ([to_read, to_write], [back_read, back_write]) = (pair(make)?, pair(make)?);
    exchange::<N>((back_read, to_write), (to_read, back_write))
}

fn socket<const N: usize>() -> io::Result<u64> {
    // SAFETY: room for two numbers.
    let make = |ends| unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends) };
    let [ours, theirs] = pair(make)?;
    exchange::<N>((ours, ours), (theirs, theirs))
}

/// Words that both processes see.
fn shared_words() -> io::Result<&'static [AtomicU32]> {
    const COUNT: usize = 16;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: fresh memory, at an address of the kernel's choice.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), COUNT * WORD, rights, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: aligned, zeroed, and never unmapped.
    Ok(unsafe { core::slice::from_raw_parts(at.cast(), COUNT) })
}

fn yield_now() {
    // SAFETY: takes nothing, changes nothing.
    unsafe { libc::sched_yield() };
}

/// Wakes the other side, then sleeps while the word is what it is.
fn futex_wait(word: &AtomicU32, value: u32) {
    let timeout = core::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1);
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, timeout);
    }
}

/// Adds one once the word's lowest bit is `odd`; until then `wait` with what it is.
fn step(word: &AtomicU32, odd: bool, wait: impl Fn(&AtomicU32, u32)) {
    loop {
        let value = word.load(Ordering::Acquire);
        if (value % 2 == 1) == odd {
            word.store(value.wrapping_add(1), Ordering::Release);
            return;
        }
        wait(word, value);
    }
}

/// Hands a word to and fro: from one step of this side to its next one.
fn shared(wait: impl Fn(&AtomicU32, u32) + Copy) -> io::Result<u64> {
    let words = shared_words()?;
    let child = Child::start(|| {
        loop {
            step(&words[0], true, wait);
        }
    })?;
    step(&words[0], false, wait);
    let cost = clock::least(|| step(&words[0], false, wait));
    drop(child);
    Ok(cost)
}

/// A procedure call through a shared page: four words there, four words back.
fn shared_call() -> io::Result<u64> {
    let words = shared_words()?;
    let load = |at: usize| words[at].load(Ordering::Relaxed);
    let child = Child::start(|| {
        loop {
            loop {
                let turn = words[0].load(Ordering::Acquire);
                if turn % 2 == 1 {
                    break;
                }
                futex_wait(&words[0], turn);
            }
            words[8].store(load(4).wrapping_add(load(5)), Ordering::Relaxed);
            (1..4).for_each(|at| words[8 + at].store(load(4 + at), Ordering::Relaxed));
            step(&words[0], true, futex_wait);
        }
    })?;
    let (mut number, mut all) = (0, true);
    let cost = clock::least(|| {
        number += 1;
        for (at, value) in [number, 2, 3, 4].into_iter().enumerate() {
            words[4 + at].store(value, Ordering::Relaxed);
        }
        let turn = words[0].fetch_add(1, Ordering::Release) + 1;
        while words[0].load(Ordering::Acquire) == turn {
            futex_wait(&words[0], turn);
        }
        all &= load(8) == number + 2;
    });
    drop(child);
    if all { Ok(cost) } else { Err(io::Error::other("a call gave a wrong sum")) }
}
