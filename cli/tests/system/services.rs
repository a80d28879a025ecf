//! The services: asked by sockets of the host, in the kernel and in ring 3, rightly and wrongly.
//!
//! What a name server must say comes from the module that its library OS uses, fed with the same
//! question; the books say who has answered.

use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use abi::record::Record;
use sluice::limits;
use sluice::machine::{Machine, Options};
use sluice::wire::frames;
use sluice_examples::dns::{Zone, answer, question};

use super::boots::{image, turn};

const SERVICES: [(&str, u16); 3] = [("dns", 53), ("kv", 11_211), ("ntp", 123)];
const ZONE: &str = include_str!("../../../examples/zone.txt");

fn machine() -> Machine {
    let forwards = SERVICES.iter().map(|&(_, port)| (port, None)).collect();
    let options = Options { forwards, words: "log=info".to_owned(), ..Options::default() };
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    for (name, port) in SERVICES {
        machine.command(&format!("start {name}")).unwrap();
        let bound = machine.wait_serial(&format!("port {port} "), limits::CONTROL);
        bound.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    }
    machine
}

/// A socket that asks one port, and what its answers were.
struct Client<'m> {
    machine: &'m Machine,
    socket: UdpSocket,
}

impl Client<'_> {
    fn new(machine: &Machine, port: u16) -> Client<'_> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(machine.address(port).unwrap()).unwrap();
        socket.set_read_timeout(Some(limits::REPLY)).unwrap();
        Client { machine, socket }
    }

    fn ask(&self, question: &[u8]) -> Vec<u8> {
        self.socket.send(question).unwrap();
        let mut bytes = [0; 2048];
        match self.socket.recv(&mut bytes) {
            Ok(count) => bytes[..count].to_vec(),
            Err(error) => panic!("{error}: {question:02x?}\n{}", self.machine.serial()),
        }
    }

    /// Asks several questions; packets answered by handlers, and delivered, meanwhile.
    fn counted(&self, ask: impl FnOnce(&Self)) -> (u64, u64) {
        let before = self.machine.books().unwrap().rx;
        ask(self);
        let after = self.machine.books().unwrap().rx;
        (after.answered - before.answered, after.delivered - before.delivered)
    }
}

fn query(name: &str, kind: u16, edns: &[u8]) -> Vec<u8> {
    question(0x0100, name, kind, edns)
}

#[test]
fn services_answer_right_questions_and_wrong_ones() {
    let _turn = turn();
    let machine = machine();
    names(&Client::new(&machine, 53));
    values(&Client::new(&machine, 11_211));
    time(&Client::new(&machine, 123));
    tutorial(&machine);
    assert_eq!(machine.audit().unwrap(), None, "{}", machine.serial());
}

fn names(client: &Client<'_>) {
    let zone = Zone::parse("sluice.test.", ZONE).unwrap();
    let edns = [0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0];
    let right = |question: &[u8]| {
        assert_eq!(Some(client.ask(question)), answer(&zone, question), "{question:02x?}");
    };
    let (answered, delivered) = client.counted(|_| {
        for edns in [&[][..], &edns] {
            right(&query("wWw.sluice.test", 1, edns));
            right(&query("www.SLUICE.test", 28, edns));
            right(&query("mail.sluice.test", 1, edns));
            right(&query("sluice.test", 1, edns));
        }
    });
    // What is asked for the first time may be held up by address resolution, and nothing else.
    assert!(answered >= 8 && delivered < 8, "{answered} in the kernel, {delivered} delivered");
    let (answered, delivered) = client.counted(|_| {
        right(&query("nobody.sluice.test", 1, &edns));
        right(&query("ns.sluice.test", 28, &edns));
        right(&query("alias.sluice.test", 1, &edns));
        right(&query("big.sluice.test", 16, &[]));
        right(&query("example.com", 1, &[]));
        right(&query("www.sluice.test", 1, &[0, 0, 41, 4, 0, 0, 1, 0, 0, 0, 0]));
        right(&query("www.sluice.test", 1, &edns[..7]));
        right(&query("www.sluice.test", 1, &[])[..18]);
    });
    assert!(delivered >= 8 && answered < 8, "{answered} in the kernel, {delivered} delivered");
}

fn values(client: &Client<'_>) {
    let ask = |request: &str| {
        let told = client.ask(&[b"\x12\x34\0\0\0\x01\0\0", request.as_bytes()].concat());
        assert_eq!(told[..8], *b"\x12\x34\0\0\0\x01\0\0");
        String::from_utf8(told[8..].to_vec()).unwrap()
    };
    assert_eq!(ask("get key\r\n"), "END\r\n");
    for length in 0..40 {
        let value = "v".repeat(length * 25);
        let set = format!("set key {length} 0 {}\r\n{value}\r\n", value.len());
        assert_eq!(ask(&set), "STORED\r\n");
        let want = format!("VALUE key {length} {}\r\n{value}\r\nEND\r\n", value.len());
        assert_eq!(ask("get key\r\n"), want, "what was acknowledged is what is told");
    }
    let (answered, _) = client.counted(|_| {
        for _ in 0..20 {
            assert!(ask("get key\r\n").starts_with("VALUE key 39 975\r\n"));
        }
    });
    assert!(answered >= 20, "{answered} in the kernel");
    assert_eq!(ask("set small 0 0 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(ask("get small small none\r\n").matches("VALUE").count(), 2);
    assert_eq!(ask("delete key\r\n"), "DELETED\r\n");
    assert_eq!(ask("get key\r\n"), "END\r\n");
    assert_eq!(ask("set key 0 0 9\r\nshort\r\n"), "CLIENT_ERROR bad data chunk\r\n");
    assert_eq!(ask("nonsense\r\n"), "ERROR\r\n");
}

fn time(client: &Client<'_>) {
    let mut question = [0_u8; 48];
    question[0] = 0x23;
    question[40..].copy_from_slice(b"whenever");
    let (answered, _) = client.counted(|client| {
        let told = client.ask(&question);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!((told.len(), told[0], told[1]), (48, 0x24, 10));
        assert_eq!(told[24..32], *b"whenever");
        let seconds = u32::from_be_bytes(told[40..44].try_into().unwrap());
        let unix = u64::from(seconds) - 2_208_988_800;
        assert!(unix.abs_diff(now) < 120, "{unix} is told, {now} it is");
    });
    assert!(answered >= 1);
    let long = [&question[..], &[0; 160]].concat();
    assert_eq!(client.ask(&long).len(), 48, "what the handler leaves, the library OS answers");
}

/// An XDP object as tutorials have them, unchanged: its verdicts and its map.
fn tutorial(machine: &Machine) {
    let mark = machine.journal().mark();
    machine.command("start xdp").unwrap();
    machine.wait_serial("run `xdp_stats_func`", limits::CONTROL).unwrap();
    for number in 0..3_u8 {
        machine.send(&frames::udp(43_000, 7130, &[number; 10])).unwrap();
        machine.send(&frames::udp(43_000, 7131, &[number; 20])).unwrap();
    }
    // Packets and bytes that were dropped, and passed.
    for wanted in ["xdp xdp_stats_map[1] = 3 186", "xdp xdp_stats_map[2] = 3 156"] {
        let seen = machine.record(mark, wanted, |record| match record {
            Record::User { bytes, .. } => (*bytes == wanted.as_bytes()).then_some(()),
            _ => None,
        });
        seen.unwrap_or_else(|error| panic!("{error}\n{}", machine.serial()));
    }
    let line = machine.record(mark, "waiting for a printed line", |record| match record {
        Record::Printed { line, .. } => String::from_utf8(line.clone()).ok(),
        _ => None,
    });
    assert_eq!(line.unwrap(), "dropped a packet to port 7131");
}
