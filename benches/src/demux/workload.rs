//! Filters and frames of `W(N)`.

use flow::{ByteSet, Cell, Rule, expr};

/// A frame.
pub type Frame = [u8; 64];

/// Which filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// UDP to one address, told apart by destination port.
    Udp,
    /// TCP connections to one socket.
    Tcp5,
    /// Ports, connections, prefixes, ARP, IPv6, IPv4 options, VLAN.
    Mixed,
    /// One listener, and connections carved out of it.
    Nested,
}

/// Filters, and frames with their owners.
#[derive(Debug)]
pub struct Workload {
    /// Which.
    pub variant: Variant,
    /// Rules of each filter, and its depth.
    pub filters: Vec<(Vec<Rule>, u32)>,
    /// Frames, a power of two of them.
    pub frames: Vec<Frame>,
    /// For each frame its filter's number plus one; 0 if it is nobody's.
    pub owners: Vec<u32>,
    /// For each filter, what tells it apart in `udp`, `tcp5` and `nested`.
    pub keys: Vec<u64>,
}

/// The address that filters are for.
pub(super) const ADDRESS: [u8; 4] = [10, 0, 0, 1];
/// The first UDP port.
pub(super) const FIRST_PORT: u16 = 1024;
/// The port of the listener.
pub(super) const LISTENER: u16 = 443;

impl Variant {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Udp => "udp",
            Variant::Tcp5 => "tcp5",
            Variant::Mixed => "mixed",
            Variant::Nested => "nested",
        }
    }
}

/// Numbers without a pattern (xorshift).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % bound
    }
}

impl Workload {
    /// `W(count)` of a variant. `udp` has at most 64,512 filters.
    #[must_use]
    pub fn new(variant: Variant, count: u32) -> Workload {
        let mut random = Random(0x2545_f491_4f6c_dd1d ^ u64::from(count) << 32);
        let keys: Vec<u64> = (0..count).map(|number| key(variant, number)).collect();
        let mut filters: Vec<(Vec<Rule>, u32)> =
            (0..count).map(|number| (filter(variant, number), 1)).collect();
        if variant == Variant::Nested {
            filters.iter_mut().for_each(|(_, depth)| *depth = 2);
            // The listener's number is the last.
            filters.push((vec![tcp_listener()], 1));
        }
        let frames = if count < 100_000 { 1 << 16 } else { 1 << 18 };
        let (frames, owners) = (0..frames)
            .map(|_| {
                let number = random.below(count.into()) as u32;
                let mut frame = frame_for(variant, number, &mut random);
                if random.below(10) > 0 {
                    return (frame, number + 1);
                }
                let owner = stranger(variant, &mut frame, count, &mut random);
                (frame, owner)
            })
            .unzip();
        Workload { variant, filters, frames, owners, keys }
    }
}

/// What tells a filter apart: the port as it stands in the frame, or source address and port.
fn key(variant: Variant, number: u32) -> u64 {
    match variant {
        Variant::Udp => (FIRST_PORT + number as u16).swap_bytes().into(),
        _ => {
            let (address, port) = source(number);
            u64::from(u32::from_le_bytes(address)) | u64::from(port.swap_bytes()) << 32
        }
    }
}

/// The source of a connection: all different, all over 10.x.y.z and the upper ports.
fn source(number: u32) -> ([u8; 4], u16) {
    // Odd multiplier: a permutation of 24 bits.
    let spread = number.wrapping_mul(0x9e37_79b1) >> 8;
    let [_, a, b, c] = (number.wrapping_mul(0x0065_4321 | 1) & 0xff_ffff).to_be_bytes();
    ([10, a, b, c], 1024 + (spread % 60_000) as u16)
}

fn exact(mut rule: Rule, at: u16, bytes: &[u8]) -> Rule {
    for (at, byte) in (at..).zip(bytes) {
        assert!(rule.restrict(Cell::frame(at), ByteSet::exact(*byte)), "the rule is empty");
    }
    rule
}

/// IPv4 without options and not a later fragment.
fn ipv4(protocol: u8) -> Rule {
    let rule = exact(Rule::any(), 12, &[8, 0, 0x45]);
    let Some(rule) = rule.with(Cell::frame(20), ByteSet::masked(0, 0x1f)) else {
        panic!("the rule is empty")
    };
    exact(exact(rule, 21, &[0]), 23, &[protocol])
}

fn udp_port(number: u32) -> Rule {
    let rule = exact(ipv4(17), 30, &ADDRESS);
    exact(rule, 36, &(FIRST_PORT + number as u16).to_be_bytes())
}

fn tcp_listener() -> Rule {
    exact(exact(ipv4(6), 30, &ADDRESS), 36, &LISTENER.to_be_bytes())
}

fn tcp_connection(number: u32) -> Rule {
    let (address, port) = source(number);
    let rule = exact(tcp_listener(), 26, &address);
    exact(rule, 34, &port.to_be_bytes())
}

fn filter(variant: Variant, number: u32) -> Vec<Rule> {
    match variant {
        Variant::Udp => vec![udp_port(number)],
        Variant::Tcp5 | Variant::Nested => vec![tcp_connection(number)],
        Variant::Mixed => mixed(number),
    }
}

/// Eight kinds in turn.
fn mixed(number: u32) -> Vec<Rule> {
    let [_, a, b, c] = (number / 8).to_be_bytes();
    let port = FIRST_PORT + (number / 8 % 60_000) as u16;
    let text = match number % 8 {
        0 => return vec![udp_port(number / 8)],
        1 => return vec![tcp_connection(number)],
        2 => return vec![exact(ipv4(47), 30, &[11, a.wrapping_add(b), c])],
        3 => return vec![exact(exact(Rule::any(), 12, &[8, 6]), 38, &[12, a, b, c])],
        4 => return vec![exact(exact(ipv4(1), 30, &[13, a, b, c]), 34, &[8])],
        5 => format!("ip6 and udp and dst host fd00::{b:x}:{c:x} and dst port {port}"),
        6 => format!("ip and udp and dst host 10.0.0.2 and dst port {port}"),
        _ => format!("vlan 7 and ip and udp and dst port {port}"),
    };
    let space = expr::parse(&text).ok().and_then(|text| text.to_space().ok());
    space.unwrap_or_else(|| panic!("{text}")).into_rules()
}

fn blank() -> Frame {
    let mut frame = [0; 64];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0, 50]);
    frame[20..23].copy_from_slice(&[0x40, 0, 64]);
    frame[30..34].copy_from_slice(&ADDRESS);
    frame
}

fn put(frame: &mut Frame, at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A frame that the filter accepts.
fn frame_for(variant: Variant, number: u32, random: &mut Random) -> Frame {
    let mut frame = blank();
    match variant {
        Variant::Udp => {
            frame[23] = 17;
            let source = 0x0a00_0000 | (random.below(1 << 24) as u32);
            put(&mut frame, 26, &source.to_be_bytes());
            put(&mut frame, 34, &(1024 + random.below(60_000) as u16).to_be_bytes());
            put(&mut frame, 36, &(FIRST_PORT + number as u16).to_be_bytes());
        }
        Variant::Tcp5 | Variant::Nested => {
            let (address, port) = source(number);
            frame[23] = 6;
            put(&mut frame, 26, &address);
            put(&mut frame, 34, &port.to_be_bytes());
            put(&mut frame, 36, &LISTENER.to_be_bytes());
        }
        Variant::Mixed => {
            let rules = mixed(number);
            let rule = &rules[random.below(rules.len() as u64) as usize];
            let witness = rule.witness().ok().flatten().unwrap_or_default();
            put(&mut frame, 0, &[0; 64]);
            let length = witness.len().min(64);
            put(&mut frame, 0, &witness[..length]);
        }
    }
    frame
}

/// Makes a frame one that no filter of its kind accepts: whose it is now (the listener's, where
/// there is one).
fn stranger(variant: Variant, frame: &mut Frame, count: u32, random: &mut Random) -> u32 {
    let kind = random.below(4);
    match (kind, variant) {
        (0 | 1, Variant::Udp) => {
            let port = random.below(u64::from(FIRST_PORT)) as u16;
            put(frame, 36, &port.to_be_bytes());
            0
        }
        (0 | 1, Variant::Tcp5 | Variant::Nested) => {
            put(frame, 34, &(61_100 + random.below(4_000) as u16).to_be_bytes());
            if variant == Variant::Nested { count + 1 } else { 0 }
        }
        (_, Variant::Mixed) => {
            put(frame, 12, &[0x88, 0xb5]);
            0
        }
        (2, _) => {
            put(frame, 30, &[10, 0, 0, 200]);
            0
        }
        _ => {
            frame[23] = 23 - frame[23];
            0
        }
    }
}
