//! A guarded TCP listener under a flood of first segments: a real client gets through.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use sluice::limits;
use sluice::machine::{Board, Machine, Net, Options, tap::Tap};
use sluice::wire::frames::{GUEST_IP, GUEST_MAC, HOST_MAC};

use super::boots::{image, turn};

const PORT: u16 = 7080;
/// First segments of the flood between two looks at the books.
const BURST: u32 = 200;

/// A first segment of somebody who does not exist.
fn syn(number: u32) -> Vec<u8> {
    let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let source = [1 + a % 200, b, c, 1 + d % 250];
    let builder = PacketBuilder::ethernet2(HOST_MAC, GUEST_MAC)
        .ipv4(source, GUEST_IP, 64)
        .tcp(1024 + (number % 60_000) as u16, PORT, number, 1000)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

/// Connects as any program would, and reads to the end.
fn greeting(machine: &Machine) -> String {
    let address = machine.tcp_address(PORT).unwrap();
    let connect = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limits::REPLY * 3)?;
        stream.set_read_timeout(Some(limits::REPLY * 3))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let result = match machine.tap() {
        Some(tap) => tap.inside(connect).and_then(|it| it),
        None => connect(),
    };
    result.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()))
}

#[test]
fn a_real_client_gets_through_a_flood_of_first_segments() {
    let _turn = turn();
    // The host's own TCP where there may be a tap device, QEMU's otherwise.
    let net = if Tap::up().is_ok() { Net::Tap } else { Net::User };
    let tcp = vec![(PORT, None)];
    let options = Options { board: Board::Microvm, net, tcp, ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    machine.command("start guarded").unwrap();
    machine.wait_serial("port 7080 is guarded", limits::CONTROL).unwrap();
    let before = machine.books().unwrap().rx;
    let over = AtomicBool::new(false);
    let (text, sent) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let (mut number, begin) = (0_u32, Instant::now());
            // At least so many, whenever the client is done.
            while !over.load(Ordering::Relaxed) || number < 10 * BURST {
                assert!(begin.elapsed() < Duration::from_secs(120), "the client never ended");
                for _ in 0..BURST {
                    machine.send(&syn(number)).unwrap();
                    number += 1;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            number
        });
        // The flood is on its way before the client is.
        std::thread::sleep(Duration::from_millis(200));
        let text = greeting(&machine);
        over.store(true, Ordering::Relaxed);
        (text, flood.join().unwrap())
    });
    assert_eq!(text, "you exist\n");
    assert!(machine.serial().contains("got through; "), "{}", machine.serial());
    let after = machine.books().unwrap().rx;
    let answered = after.answered - before.answered;
    // Who cannot pay for its handler any more gets packets as they are.
    let fell_back = after.fell_back - before.fell_back;
    let delivered = after.delivered - before.delivered - fell_back;
    // The flood was challenged in the kernel: what else reached ring 3 is the client's.
    assert!(answered >= u64::from(sent) / 2, "{answered} of {sent} challenged");
    assert!(delivered < 60, "{delivered} reached ring 3, and {fell_back} unpaid, of {sent}");
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}
