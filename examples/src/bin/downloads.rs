//! Code in the kernel for a library OS that sleeps: charged handlers, copies, pipes, a predicate.
//!
//! | port | what the kernel runs |
//! |---|---|
//! | 7100 | the echo, with a ring for when its owner cannot pay |
//! | 7101 | a handler that wakes the owner, who then reports |
//! | 7102 | the echo as a copy; the packet itself goes to the ring |
//! | 7103 | no handler; delivery sums and decrypts in one loop |
//! | 7104 to 7106 | the same three passes, one alone on each port |
//!
//! The program runs when its predicate says so: when 64 packets wait in 7100's ring, or when 7101
//! was called. Each report is one line on the framed channel.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::limits::FRAME_BYTES_MAX;
use abi::ring::{EVENT_MESSAGE, RX_CONSUMED, RX_PRODUCED};
use libos::capability::report;
use libos::clock::{NEVER, now_ns, wait};
use libos::download::{Pass, set_pipe, set_predicate, wait_until, word};
use libos::rings::RingMemory;
use libos::{BindError, Binding, Environment, Rings, Status, println};
use libos_net::{Net, SocketError, checksum, explain, filter};

libos::entry!(main);

const FIRST_PORT: u16 = 7100;
const KEY: u32 = 0x5a17_c0de;
const PIPES: [(&str, &[Pass]); 4] = [
    ("fused", &[Pass::Checksum, Pass::Xor(KEY)]),
    ("copy", &[Pass::Copy]),
    ("checksum", &[Pass::Checksum]),
    ("xor", &[Pass::Xor(KEY)]),
];
/// The predicate's answer when a handler called.
const CALLED: u64 = 2;

static ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bpf"));
static TEE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tee.bpf"));
static WAKE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wake.bpf"));
static BATCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/batch.bpf"));

fn main(environment: Environment) -> i32 {
    let mut services = match Services::open(&environment) {
        Ok(services) => services,
        Err(error) => return explain::failed(&error),
    };
    println!("downloaded code is in place");
    loop {
        match wait_until(NEVER) {
            Ok(why) => services.run(why),
            Err(status) => {
                println!("no predicate: {status:?}");
                return 1;
            }
        }
    }
}

/// A port with a ring.
struct Service {
    name: &'static str,
    rings: Rings,
    /// Frames taken out of the ring.
    taken: u64,
    /// Of those, frames whose sum was that of the bytes that came.
    right: u64,
}

struct Services {
    all: Vec<Service>,
    /// How often this program ran.
    runs: u64,
}

impl Services {
    fn open(environment: &Environment) -> Result<Services, SocketError> {
        let net = Net::new(environment)?;
        let grant = environment.grant("public")?;
        let program = |port: u16| {
            filter::from_expression(&filter::udp_expression(net.addresses().ipv4, port))
        };
        let open = |name, port, pages, ash| -> Result<Service, SocketError> {
            let memory = RingMemory::new(net.own(), pages, 0).map_err(without_record)?;
            let rings = memory.bind(grant, &program(port)?, ash)?;
            Ok(Service { name, rings, taken: 0, right: 0 })
        };
        let mut all = Vec::new();
        all.push(open("charged", FIRST_PORT, 64, Some(ECHO))?);
        grant.bind(&program(FIRST_PORT + 1)?, Some(WAKE))?;
        all.push(open("tee", FIRST_PORT + 2, 8, Some(TEE))?);
        for ((name, passes), port) in PIPES.into_iter().zip(FIRST_PORT + 3..) {
            let service = open(name, port, 8, None)?;
            set_pipe(service.rings.binding(), passes).map_err(without_record)?;
            all.push(service);
        }
        let indices = all.first().map(|charged| charged.rings.control_page());
        let words: Vec<_> = indices
            .into_iter()
            .flat_map(|page| [word(page, RX_PRODUCED), word(page, RX_CONSUMED)])
            .collect();
        set_predicate(BATCH, &words)?;
        Ok(Services { all, runs: 0 })
    }

    fn run(&mut self, why: u64) {
        self.runs += 1;
        self.all.iter_mut().for_each(Service::drain);
        if why != CALLED {
            return;
        }
        // Takes the event, so that the predicate can wait for the next one.
        if wait(now_ns()).0 & EVENT_MESSAGE != 0 {
            let mut line = format!("runs={}", self.runs);
            self.all.iter().for_each(|service| line.push_str(&service.line()));
            if report(line.as_bytes()).is_err() {
                println!("{line}");
            }
        }
    }
}

fn without_record(status: Status) -> BindError {
    BindError { status, refusal: None }
}

impl Service {
    /// Empties the ring, and checks what the pipe says of each frame.
    fn drain(&mut self) {
        let mut buffer = [0; FRAME_BYTES_MAX];
        loop {
            let sums = self.rings.sums();
            let Some(length) = self.rings.receive(&mut buffer) else { return };
            self.taken += 1;
            let frame = buffer.get_mut(..length).unwrap_or_default();
            if let (Some([sum, _]), "fused") = (sums, self.name) {
                let key = KEY.to_le_bytes().into_iter().cycle();
                frame.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
                // The checksum is the complement of the sum.
                let expected = !checksum::internet(&[frame]);
                self.right += u64::from(sum == u32::from(expected));
            }
        }
    }

    fn line(&self) -> String {
        let binding: Binding = self.rings.binding();
        let it = binding.stats().unwrap_or_default();
        let name = self.name;
        format!(
            " {name}.received={} {name}.answered={} {name}.delivered={} {name}.dropped={} \
             {name}.fell_back={} {name}.charged={} {name}.initiated={} {name}.piped={} \
             {name}.cycles={} {name}.taken={} {name}.right={}",
            it.received,
            it.answered,
            it.delivered,
            it.dropped,
            it.fell_back,
            it.charged,
            it.initiated,
            it.piped,
            it.pipe_cycles,
            self.taken,
            self.right
        )
    }
}
