//! Two ways to answer UDP on port 7: a socket, and an XDP program in the card's driver.
//!
//! The XDP program is Sluice's own ASH, byte for byte: the host tool puts it at `/echo.bpf`.

use std::ffi::CString;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use crate::init::check;

/// Commands of the `bpf` call, and what they take (`include/uapi/linux/bpf.h`).
const PROG_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// In the driver, not behind it.
const DRIVER_MODE: u32 = 1 << 2;

/// Answers with a socket, for ever.
pub(crate) fn udp() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:7")?;
    println!("linux ready");
    let mut bytes = [0; 2048];
    loop {
        let (count, peer) = socket.recv_from(&mut bytes)?;
        socket.send_to(&bytes[..count], peer)?;
    }
}

/// Hands the program to the driver and sleeps.
pub(crate) fn xdp() -> io::Result<()> {
    let program = std::fs::read("/echo.bpf")?;
    let loaded = load(&program)?;
    let name = CString::new("eth0").map_err(io::Error::other)?;
    // SAFETY: the name ends with a zero.
    let card = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let mut link = [0_u32; 12];
    link[..4].copy_from_slice(&[loaded as u32, card, ATTACH_XDP, DRIVER_MODE]);
    bpf(LINK_CREATE, &mut link)?;
    println!("linux ready");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn load(program: &[u8]) -> io::Result<i64> {
    let mut log = vec![0_u8; 64 * 1024];
    let pointer = |bytes: *const u8| [bytes as u64 as u32, (bytes as u64 >> 32) as u32];
    let [program_low, program_high] = pointer(program.as_ptr());
    let [license_low, license_high] = pointer(c"GPL".as_ptr().cast());
    let [log_low, log_high] = pointer(log.as_mut_ptr());
    let mut attributes = [0_u32; 32];
    attributes[..10].copy_from_slice(&[
        PROG_TYPE_XDP,
        (program.len() / 8) as u32,
        program_low,
        program_high,
        license_low,
        license_high,
        1,
        log.len() as u32,
        log_low,
        log_high,
    ]);
    bpf(PROG_LOAD, &mut attributes).map_err(|error| {
        let said = String::from_utf8_lossy(&log);
        io::Error::other(format!("{error}: {}", said.trim_end_matches('\0')))
    })
}

fn bpf(command: i32, attributes: &mut [u32]) -> io::Result<i64> {
    let bytes = size_of_val(attributes);
    // SAFETY: attributes of that many bytes; what they point to outlives the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), bytes) })
}
