//! QEMU's command line.
//!
//! The card's only cable is a datagram socket of ours; the user-mode stack or the tap device sits
//! on another one, through a hub, and [`crate::wire`] switches between the two. So one card carries
//! real sockets of the host and raw frames of ours, and the tool sees every frame with its
//! direction. The framed channel is a socket that QEMU connects to.

use std::path::Path;

use super::{Board, Forward, Net, Options, tap};
use crate::build::Image;
use crate::wire::frames::{self, Mac};
use crate::wire::{CARD, Cable, OUTSIDE};

/// The framed channel's socket, in the directory for sockets.
pub(super) const CHANNEL_SOCKET: &str = "channel";
/// Port of isa-debug-exit, as the kernel knows it.
const DEBUG_EXIT: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// All arguments, in an order that a person can read.
pub(super) fn arguments(
    image: &Image,
    options: &Options,
    forwards: &[Forward],
    sockets: &Path,
    log: &Path,
) -> Vec<String> {
    let mut list = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    match options.board {
        Board::Q35 => add(&["-M", "q35"]),
        Board::Microvm => {
            add(&["-M", "microvm,acpi=off,pit=on,rtc=on"]);
            add(&["-global", "virtio-mmio.force-legacy=false"]);
        }
    }
    add(&["-accel", if options.kvm { "kvm" } else { "tcg" }]);
    add(&["-cpu", if options.kvm { "host" } else { "max" }]);
    if options.counting {
        add(&["-icount", "shift=0,sleep=off"]);
    }
    if let Some(counter) = &options.counter {
        let (plugin, file) = (counter.plugin.display(), counter.file.display());
        let each = if counter.each { ",each=on" } else { "" };
        add(&["-plugin", &format!("{plugin},out={file}{each}")]);
    }
    add(&["-smp", "1", "-m", &format!("{}M", options.memory_mib)]);
    add(&["-kernel", &image.kernel.to_string_lossy()]);
    add(&["-initrd", &image.initrd.to_string_lossy()]);
    add(&["-append", &options.words]);
    add(&["-device", DEBUG_EXIT]);
    add(&["-chardev", &format!("file,id=serial,path={}", log.display())]);
    add(&["-serial", "chardev:serial"]);
    network(&mut add, options, forwards, sockets);
    let (bus, card) = match options.board {
        Board::Q35 => ("virtio-serial-pci", "virtio-net-pci"),
        Board::Microvm => ("virtio-serial-device", "virtio-net-device"),
    };
    add(&["-device", &format!("{card},netdev=card,mac={}", Mac(frames::GUEST_MAC))]);
    let channel = sockets.join(CHANNEL_SOCKET);
    add(&["-chardev", &format!("socket,id=channel,path={}", channel.display())]);
    add(&["-device", bus, "-device", "virtconsole,chardev=channel"]);
    list
}

fn network(add: &mut impl FnMut(&[&str]), options: &Options, forwards: &[Forward], sockets: &Path) {
    let outside = match options.net {
        Net::User => {
            let mut user = "user,id=outside".to_owned();
            for forward in forwards {
                user.push(',');
                user.push_str(&forward.rule());
            }
            user
        }
        Net::Tap => format!("tap,id=outside,ifname={},script=no,downscript=no", tap::DEVICE),
    };
    add(&["-netdev", &outside, "-netdev", "hubport,id=port0,hubid=0,netdev=outside"]);
    add(&["-netdev", &cable("cable", OUTSIDE, sockets)]);
    add(&["-netdev", "hubport,id=port1,hubid=0,netdev=cable"]);
    add(&["-netdev", &cable("card", CARD, sockets)]);
}

fn cable(id: &str, cable: Cable, sockets: &Path) -> String {
    format!(
        "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
        sockets.join(cable.theirs).display(),
        sockets.join(cable.ours).display()
    )
}

#[cfg(test)]
mod tests {
    use super::arguments;
    use crate::build::Image;
    use crate::machine::{Board, Counter, Forward, Net, Options, Protocol};
    use std::path::Path;

    fn line(options: &Options) -> String {
        let image = Image {
            kernel: "k".into(),
            initrd: "i".into(),
            manifest: abi::start::Manifest::default(),
        };
        let forwards = [Forward { protocol: Protocol::Udp, guest: 7, host: 4242 }];
        arguments(&image, options, &forwards, Path::new("/s"), Path::new("/log")).join(" ")
    }

    #[test]
    fn boards_differ_in_their_transport() {
        let q35 = line(&Options::default());
        assert!(q35.contains("-M q35") && q35.contains("virtio-net-pci,netdev=card"));
        assert!(q35.contains("id=outside,hostfwd=udp:127.0.0.1:4242-:7"));
        assert!(!q35.contains("icount"));
        let options = Options { board: Board::Microvm, counting: true, ..Options::default() };
        let microvm = line(&options);
        assert!(microvm.contains("force-legacy=false") && microvm.contains("virtio-net-device"));
        assert!(microvm.contains("-icount shift=0,sleep=off"));
    }

    #[test]
    fn tap_replaces_the_user_stack() {
        let counter = Some(Counter { plugin: "/p.so".into(), file: "/n".into(), each: true });
        let text = line(&Options { counter, ..Options::default() });
        assert!(text.contains("-plugin /p.so,out=/n,each=on -smp"));
        let text = line(&Options { net: Net::Tap, kvm: true, ..Options::default() });
        assert!(text.contains("tap,id=outside") && !text.contains("hostfwd"));
        assert!(text.contains("-accel kvm") && text.contains("dgram"));
    }
}
