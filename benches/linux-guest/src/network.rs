//! The card: its driver's modules, its address, and the one neighbour there is.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::init::check;

/// Where the host tool put the modules, in the order of their names.
const MODULES: &str = "/modules";
const CARD: &[u8] = b"eth0";

/// Loads the driver, gives the card its address, names the peer's station for good.
pub(crate) fn up(address: &str, peer: &str, station: &str) -> io::Result<()> {
    modules()?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let set = |request, name: &mut libc::ifreq| {
        // SAFETY: the request takes an `ifreq`, and it is one.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), request, name) }.into()).map(drop)
    };
    let mut request = interface();
    request.ifr_ifru.ifru_addr = internet(address)?;
    set(libc::SIOCSIFADDR, &mut request)?;
    request.ifr_ifru.ifru_netmask = internet("255.255.255.0")?;
    set(libc::SIOCSIFNETMASK, &mut request)?;
    let mut request = interface();
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    set(libc::SIOCSIFFLAGS, &mut request)?;
    neighbour(&socket, peer, station)
}

fn modules() -> io::Result<()> {
    let listed = fs::read_dir(MODULES)?.map(|entry| entry.map(|it| it.path()));
    let mut paths: Vec<PathBuf> = listed.collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        /// The kernel unpacks it itself.
        const COMPRESSED: i32 = 4;
        let packed = path.extension().is_some_and(|it| it != "ko");
        let flags = if packed { COMPRESSED } else { 0 };
        let file = File::open(&path)?;
        // SAFETY: an open file and a string that ends with a zero.
        let result =
            unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), flags) };
        check(result).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

fn interface() -> libc::ifreq {
    // SAFETY: all zeros is an `ifreq` without a name.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    name(&mut request.ifr_name);
    request
}

fn name(to: &mut [libc::c_char]) {
    to.iter_mut().zip(CARD).for_each(|(to, from)| *to = *from as libc::c_char);
}

fn internet(text: &str) -> io::Result<libc::sockaddr> {
    let address: Ipv4Addr = text.parse().map_err(io::Error::other)?;
    // SAFETY: all zeros is an address of no family.
    let mut socket: libc::sockaddr = unsafe { core::mem::zeroed() };
    socket.sa_family = libc::AF_INET as u16;
    // Two bytes of port come first.
    let place = socket.sa_data.iter_mut().skip(2);
    place.zip(address.octets()).for_each(|(to, from)| *to = from as libc::c_char);
    Ok(socket)
}

fn neighbour(socket: &UdpSocket, peer: &str, station: &str) -> io::Result<()> {
    // SAFETY: all zeros is an empty entry.
    let mut entry: libc::arpreq = unsafe { core::mem::zeroed() };
    entry.arp_pa = internet(peer)?;
    entry.arp_ha.sa_family = libc::ARPHRD_ETHER;
    for (to, byte) in entry.arp_ha.sa_data.iter_mut().zip(station.split(':')) {
        let byte = u8::from_str_radix(byte, 16).map_err(io::Error::other)?;
        *to = byte as libc::c_char;
    }
    entry.arp_flags = libc::ATF_PERM | libc::ATF_COM;
    name(&mut entry.arp_dev);
    // SAFETY: the request takes an `arpreq`, and it is one.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSARP, &entry) };
    check(result.into()).map(drop)
}
