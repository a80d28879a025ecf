//! Tries to get what belongs to others, and says what came of it.
//!
//! In order: somebody else's port, more than its grant, a handler that is not safe, forged frames
//! from a binding of its own, calls with forged arguments. Exits with 0 if the kernel stopped all
//! of it.
#![no_std]
#![no_main]

extern crate alloc;

use abi::refusal::Code;
use libos::clock::{now_ns, wait};
use libos::sys::hostile::{Attempt, attempt};
use libos::{Environment, Grant, println};
use libos_net::frames::{Path, udp};
use libos_net::{Net, RawSocket, SocketError, explain, filter};

libos::entry!(main);

/// A port of the shared grant that nobody has bound.
const FREE_PORT: u16 = 7800;
/// A handler that reads beyond what it has checked.
static UNSAFE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/unsafe.bpf"));

fn main(environment: Environment) -> i32 {
    let squatter = match Squatter::new(&environment) {
        Ok(squatter) => squatter,
        Err(error) => {
            println!("{error}");
            return 2;
        }
    };
    let stopped = [
        squatter.overlap(),
        squatter.outside(),
        squatter.not_safe(),
        squatter.forge(),
        hostile_calls(),
    ];
    let escaped = stopped.iter().filter(|stopped| !**stopped).count();
    println!("{} attempts, {escaped} escaped", stopped.len());
    i32::from(escaped > 0)
}

struct Squatter {
    net: Net,
    grant: Grant,
}

impl Squatter {
    fn new(environment: &Environment) -> Result<Squatter, SocketError> {
        let net = Net::new(environment)?;
        let grant = environment.grant("public")?;
        Ok(Squatter { net, grant })
    }

    /// A range of ports in which one is `talk`'s.
    fn overlap(&self) -> bool {
        let [a, b, c, d] = self.net.addresses().ipv4;
        let text = alloc::format!("udp and dst host {a}.{b}.{c}.{d} and dst portrange 7770-7780");
        self.is_refused(&text, None, Code::Overlap)
    }

    /// Every datagram there is.
    fn outside(&self) -> bool {
        self.is_refused("udp", None, Code::OutsideGrant)
    }

    /// A handler without a bounds check, on a port that is free.
    fn not_safe(&self) -> bool {
        let text = filter::udp_expression(self.net.addresses().ipv4, FREE_PORT + 1);
        self.is_refused(&text, Some(UNSAFE), Code::Unsafe)
    }

    fn is_refused(&self, expression: &str, ash: Option<&[u8]>, wanted: Code) -> bool {
        println!("claims {expression}");
        let bound = RawSocket::bind_expression(self.net.own(), self.grant, expression, ash);
        let error = match bound {
            Ok(_) => {
                println!("and got it");
                return false;
            }
            Err(error) => error,
        };
        for line in explain::lines(&error) {
            println!("refused: {line}");
        }
        let SocketError::Bind { error } = error else { return false };
        error.refusal.is_some_and(|record| record.code == wanted)
    }

    /// Frames that say they come from somebody else, on a binding that is its own.
    fn forge(&self) -> bool {
        let addresses = self.net.addresses();
        let text = filter::udp_expression(addresses.ipv4, FREE_PORT);
        let bound = RawSocket::bind_expression(self.net.own(), self.grant, &text, None);
        let mut socket = match bound {
            Ok(socket) => socket,
            Err(error) => {
                println!("port {FREE_PORT}: {error}");
                return false;
            }
        };
        let honest = Path {
            source_mac: addresses.mac,
            destination_mac: [0x02, 0, 0, 0, 0, 0x77],
            source: addresses.ipv4,
            destination: addresses.gateway,
        };
        let forged = [
            udp(&honest, (53, 4000), &[], b"from port 53"),
            udp(&Path { source: [8, 8, 8, 8], ..honest }, (FREE_PORT, 4000), &[], b"from 8.8.8.8"),
            udp(
                &Path { source_mac: [0x02, 0, 0, 0, 0, 0x66], ..honest },
                (FREE_PORT, 4000),
                &[],
                b"from another card",
            ),
        ];
        let mut tried = 0;
        for frame in forged.iter().flatten() {
            // Refusals by the guard are counted, not returned.
            let _ = socket.send(frame);
            tried += 1;
        }
        wait(now_ns().saturating_add(1_000_000));
        let stats = socket.binding().stats().unwrap_or_default();
        println!("{tried} forged frames: {} refused, {} sent", stats.refused, stats.transmitted);
        stats.refused == tried && stats.transmitted == 0
    }
}

/// Calls with handles, pointers and numbers from nowhere.
fn hostile_calls() -> bool {
    let mut all = true;
    for &what in Attempt::ALL {
        let status = attempt(what);
        println!("{}: {status:?}", what.name());
        all &= status == Some(what.expected());
    }
    all
}
