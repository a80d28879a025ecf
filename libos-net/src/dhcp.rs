//! A DHCP client's half of the conversation (RFC 2131): messages, and when to say what.
//!
//! [`Client`] is a state machine without a socket: it is told the time and what has arrived, and
//! gives what to send, and by which way. A lease is renewed with the server that gave it from half
//! its time on, and with any server from seven eighths on (4.4.5). A server's word is taken only if
//! it answers our own last question (transaction and card), and only for an address that a station
//! can have.

use alloc::vec::Vec;

/// Ports of server and client.
pub const SERVER_PORT: u16 = 67;
/// Our port.
pub const CLIENT_PORT: u16 = 68;

/// Bytes before the options, with the cookie.
const FIXED_BYTES: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
/// First wait for an answer, doubled up to the longest (RFC 2131, 4.1).
const FIRST_NS: u64 = 1_000_000_000;
const LONGEST_NS: u64 = 64_000_000_000;
/// Least wait between two questions of a renewal (4.4.5).
const RENEW_NS: u64 = 60_000_000_000;
/// A lease is never taken for shorter than that, nor for longer.
const LEASE_SECONDS: core::ops::RangeInclusive<u64> = 60..=30 * 86_400;

/// What a server has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: [u8; 4],
    /// Its prefix length in bits.
    pub prefix: u32,
    /// The router; zero for none.
    pub gateway: [u8; 4],
    /// Who gave it.
    pub server: [u8; 4],
    /// Seconds that it lasts.
    pub seconds: u64,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asking who would give an address.
    Asking,
    /// Asking for this one.
    Wanting(Lease),
    /// Having it since then, lost at that time.
    Having { lease: Lease, since: u64, end: u64 },
}

/// A message, and how it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What goes into the datagram.
    pub message: Vec<u8>,
    /// From which address; zero while we have none.
    pub from: [u8; 4],
    /// To which server; everybody if none.
    pub to: Option<[u8; 4]>,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Client {
    mac: [u8; 6],
    transaction: u32,
    state: State,
    /// When to say something (again), and how long to wait then.
    next: u64,
    patience: u64,
}

impl Client {
    /// For a card, with a transaction number that nobody guesses.
    pub fn new(mac: [u8; 6], transaction: u32) -> Client {
        Client { mac, transaction, state: State::Asking, next: 0, patience: FIRST_NS }
    }

    /// When [`Client::poll`] has something to say.
    pub fn deadline(&self) -> u64 {
        self.next
    }

    /// What we have.
    pub fn lease(&self) -> Option<Lease> {
        match self.state {
            State::Having { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// What to send at that time; `None` if nothing is due.
    pub fn poll(&mut self, now: u64) -> Option<Question> {
        if now < self.next {
            return None;
        }
        if let State::Having { end, .. } = self.state
            && now >= end
        {
            self.restart();
        }
        if let State::Having { lease, since, end } = self.state {
            return Some(self.renewal(&lease, now, (since, end)));
        }
        let message = match self.state {
            State::Wanting(lease) if self.patience <= 8 * FIRST_NS => {
                self.message(REQUEST, Some(lease))
            }
            State::Wanting(_) => {
                // The server that offered it has gone.
                self.restart();
                self.message(DISCOVER, None)
            }
            _ => self.message(DISCOVER, None),
        };
        self.next = now.saturating_add(self.patience);
        self.patience = (self.patience * 2).min(LONGEST_NS);
        Some(Question { message, from: [0; 4], to: None })
    }

    /// "May I keep it?": to who gave it, later to everybody; again after half of what is left.
    fn renewal(&mut self, lease: &Lease, now: u64, (since, end): (u64, u64)) -> Question {
        let rebind = since + (end - since) / 8 * 7;
        let (until, to) = if now < rebind { (rebind, Some(lease.server)) } else { (end, None) };
        let wait = (until.saturating_sub(now) / 2).max(RENEW_NS);
        self.next = now.saturating_add(wait).min(until.max(now + 1));
        // Who has an address says so there, and names neither it nor the server (table 5).
        let mut message = self.message(REQUEST, None);
        message[10] = 0;
        message[12..16].copy_from_slice(&lease.address);
        Question { message, from: lease.address, to }
    }

    /// Takes a datagram to our port; the lease, when it is new or renewed.
    pub fn receive(&mut self, payload: &[u8], now: u64) -> Option<Lease> {
        let answer = Answer::read(payload, self.mac, self.transaction)?;
        match (self.state, answer.kind) {
            (State::Asking, OFFER) => {
                self.state = State::Wanting(answer.lease()?);
                (self.next, self.patience) = (now, FIRST_NS);
                None
            }
            (State::Wanting(wanted), ACK) => self.have(answer.lease()?, wanted, now),
            (State::Having { lease, since, end }, ACK) if now >= half(since, end) => {
                // Any server may keep it for us.
                let kept = answer.lease()?;
                self.have(kept, Lease { server: kept.server, ..lease }, now)
            }
            (State::Wanting(_) | State::Having { .. }, NAK) => {
                self.restart();
                self.next = now.saturating_add(FIRST_NS);
                None
            }
            _ => None,
        }
    }

    fn have(&mut self, lease: Lease, wanted: Lease, now: u64) -> Option<Lease> {
        if (lease.address, lease.server) != (wanted.address, wanted.server) {
            return None;
        }
        let nanoseconds = lease.seconds * 1_000_000_000;
        let end = now.saturating_add(nanoseconds);
        self.state = State::Having { lease, since: now, end };
        (self.next, self.patience) = (half(now, end), LONGEST_NS);
        Some(lease)
    }

    fn restart(&mut self) {
        self.state = State::Asking;
        self.transaction = self.transaction.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        (self.next, self.patience) = (0, FIRST_NS);
    }

    fn message(&self, kind: u8, lease: Option<Lease>) -> Vec<u8> {
        let mut bytes = alloc::vec![0; FIXED_BYTES];
        // A question, over Ethernet, to be answered to everybody: we have no address to be reached
        // at.
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[10] = 0x80;
        bytes[28..34].copy_from_slice(&self.mac);
        bytes[236..240].copy_from_slice(&COOKIE);
        bytes.extend_from_slice(&[53, 1, kind]);
        if let Some(lease) = lease {
            bytes.extend_from_slice(&[50, 4]);
            bytes.extend_from_slice(&lease.address);
            bytes.extend_from_slice(&[54, 4]);
            bytes.extend_from_slice(&lease.server);
        }
        // Wanted besides: mask, router, lease time.
        bytes.extend_from_slice(&[55, 3, 1, 3, 51, 255]);
        bytes
    }
}

fn half(since: u64, end: u64) -> u64 {
    since + (end - since) / 2
}

/// What a server said.
struct Answer {
    kind: u8,
    address: [u8; 4],
    mask: [u8; 4],
    gateway: [u8; 4],
    server: [u8; 4],
    seconds: u64,
}

impl Answer {
    fn read(payload: &[u8], mac: [u8; 6], transaction: u32) -> Option<Answer> {
        let (fixed, options) = payload.split_first_chunk::<FIXED_BYTES>()?;
        let ours = fixed[4..8] == transaction.to_be_bytes() && fixed[28..34] == mac;
        if fixed[..3] != [2, 1, 6] || fixed[236..] != COOKIE || !ours {
            return None;
        }
        let mut answer = Answer {
            kind: 0,
            address: *fixed[16..].first_chunk::<4>()?,
            mask: [255, 255, 255, 0],
            gateway: [0; 4],
            server: [0; 4],
            seconds: *LEASE_SECONDS.start(),
        };
        answer.options(options)?;
        Some(answer)
    }

    fn options(&mut self, options: &[u8]) -> Option<()> {
        let mut rest = options;
        loop {
            let (&code, after) = rest.split_first()?;
            rest = match code {
                0 => after,
                255 => return Some(()),
                _ => {
                    let (&length, after) = after.split_first()?;
                    let (value, after) = after.split_at_checked(usize::from(length))?;
                    self.option(code, value)?;
                    after
                }
            };
        }
    }

    fn option(&mut self, code: u8, value: &[u8]) -> Option<()> {
        match code {
            1 => self.mask = value.try_into().ok()?,
            // The first of several routers.
            3 => self.gateway = *value.first_chunk::<4>()?,
            51 => self.seconds = u64::from(u32::from_be_bytes(value.try_into().ok()?)),
            53 => self.kind = *value.first().filter(|_| value.len() == 1)?,
            54 => self.server = value.try_into().ok()?,
            _ => {}
        }
        Some(())
    }

    /// What it gives, if it is something that a station can have.
    fn lease(&self) -> Option<Lease> {
        let mask = u32::from_be_bytes(self.mask);
        let prefix = mask.leading_ones();
        let whole = mask.checked_shl(prefix).unwrap_or(0) == 0 && (1..=31).contains(&prefix);
        let address = core::net::Ipv4Addr::from(self.address);
        let odd = address.is_unspecified()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_loopback();
        let seconds = self.seconds.clamp(*LEASE_SECONDS.start(), *LEASE_SECONDS.end());
        let (gateway, server) = (self.gateway, self.server);
        (whole && !odd && server != [0; 4]).then_some(Lease {
            address: self.address,
            prefix,
            gateway,
            server,
            seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ACK, Client, DISCOVER, NAK, OFFER, Question, REQUEST};
    use alloc::vec::Vec;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const SECOND: u64 = 1_000_000_000;

    fn kind(question: &Question) -> u8 {
        let message = &question.message;
        assert_eq!(&message[240..242], &[53, 1]);
        message[242]
    }

    /// A server's answer to that question.
    fn answer(question: &Question, kind: u8, address: [u8; 4], seconds: u32) -> Vec<u8> {
        let mut bytes = question.message[..240].to_vec();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&address);
        bytes.extend_from_slice(&[0, 53, 1, kind, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0]);
        bytes.extend_from_slice(&[3, 8, 10, 0, 2, 2, 10, 0, 2, 3, 51, 4]);
        bytes.extend_from_slice(&seconds.to_be_bytes());
        bytes.extend_from_slice(&[12, 1, b'x', 255]);
        bytes
    }

    #[test]
    fn asked_offered_wanted_given_and_renewed() {
        let mut client = Client::new(MAC, 77);
        let ask = client.poll(0).unwrap();
        assert_eq!((kind(&ask), client.poll(SECOND - 1)), (DISCOVER, None));
        let again = client.poll(SECOND).unwrap();
        assert_eq!((kind(&again), client.deadline()), (DISCOVER, 3 * SECOND));
        assert_eq!(client.receive(&answer(&ask, OFFER, [10, 0, 2, 15], 100), SECOND), None);
        let want = client.poll(SECOND).unwrap();
        assert_eq!(kind(&want), REQUEST);
        assert!(want.message.windows(6).any(|part| part == [50, 4, 10, 0, 2, 15]));
        let lease = client.receive(&answer(&want, ACK, [10, 0, 2, 15], 100), 2 * SECOND).unwrap();
        assert_eq!(
            (lease.address, lease.prefix, lease.gateway),
            ([10, 0, 2, 15], 24, [10, 0, 2, 2])
        );
        assert_eq!((client.lease(), client.deadline()), (Some(lease), 52 * SECOND));
        let keep = client.poll(52 * SECOND).unwrap();
        assert_eq!((kind(&keep), keep.from, keep.to), (REQUEST, lease.address, Some(lease.server)));
        assert_eq!((&keep.message[10..16], keep.message[243]), (&[0, 0, 10, 0, 2, 15][..], 55));
        let renewed = client.receive(&answer(&want, ACK, [10, 0, 2, 15], 800), 53 * SECOND);
        assert_eq!(renewed.map(|lease| lease.seconds), Some(800));
        // Nobody renews it any more: first its server is asked, then everybody, at its end it is
        // gone.
        let (mut asked, mut last) = (Vec::new(), None);
        while client.lease().is_some() {
            let at = client.deadline();
            let question = client.poll(at).unwrap();
            asked.push((at / SECOND - 53, question.to.is_some(), kind(&question)));
            last = Some(question);
        }
        assert_eq!(asked.first(), Some(&(400, true, REQUEST)));
        assert!(asked.iter().any(|&(at, one, _)| at == 700 && !one), "{asked:?}");
        assert!(asked.iter().all(|&(at, one, _)| one == (at < 700)), "{asked:?}");
        assert_eq!((asked.last(), asked.len() < 20), (Some(&(800, false, DISCOVER)), true));
        assert_ne!(last.unwrap().message[4..8], ask.message[4..8], "another transaction");
    }

    #[test]
    fn another_server_may_keep_it_and_a_refusal_ends_it() {
        let mut client = Client::new(MAC, 77);
        let ask = client.poll(0).unwrap();
        client.receive(&answer(&ask, OFFER, [10, 0, 2, 15], 800), 0);
        client.receive(&answer(&ask, ACK, [10, 0, 2, 15], 800), 0).unwrap();
        // Not asked for yet; then of somebody else; then another address.
        let mut kept = answer(&ask, ACK, [10, 0, 2, 15], 900);
        assert_eq!(client.receive(&kept, 10 * SECOND), None);
        client.poll(720 * SECOND).unwrap();
        assert_eq!(client.receive(&answer(&ask, ACK, [10, 0, 2, 16], 900), 721 * SECOND), None);
        kept[249] = 9;
        assert_eq!(client.receive(&kept, 721 * SECOND).map(|it| it.server[3]), Some(9));
        assert!(client.receive(&answer(&ask, NAK, [0; 4], 0), 730 * SECOND).is_none());
        assert_eq!(client.lease(), None);
        assert_eq!(kind(&client.poll(client.deadline()).unwrap()), DISCOVER);
    }

    #[test]
    fn an_offer_that_nobody_keeps_is_given_up() {
        let mut client = Client::new(MAC, 1);
        let ask = client.poll(0).unwrap();
        client.receive(&answer(&ask, OFFER, [10, 0, 2, 15], 100), 0);
        let mut said = Vec::new();
        for _ in 0..5 {
            let at = client.deadline();
            said.push(kind(&client.poll(at).unwrap()));
        }
        assert_eq!(said, [REQUEST, REQUEST, REQUEST, REQUEST, DISCOVER]);
        let ask = client.poll(client.deadline()).unwrap();
        client.receive(&answer(&ask, OFFER, [10, 0, 2, 15], 100), 0);
        client.receive(&answer(&ask, NAK, [0; 4], 0), 0);
        assert_eq!(kind(&client.poll(SECOND * 2).unwrap()), DISCOVER);
    }

    #[test]
    fn answers_that_are_not_ours_or_make_no_sense_change_nothing() {
        let mut client = Client::new(MAC, 77);
        let ask = client.poll(0).unwrap();
        let good = answer(&ask, OFFER, [10, 0, 2, 15], 100);
        let before = alloc::format!("{client:?}");
        let mut refused = |bytes: &[u8]| {
            assert_eq!(client.receive(bytes, 0), None);
            assert_eq!(alloc::format!("{client:?}"), before);
        };
        for length in 0..good.len() {
            refused(&good[..length]);
        }
        for place in [0, 1, 2, 4, 7, 28, 33, 236, 239, 242 + 1] {
            let mut other = good.clone();
            other[place] ^= 0x40;
            refused(&other);
        }
        for address in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1]] {
            refused(&answer(&ask, OFFER, address, 100));
        }
        refused(&answer(&ask, ACK, [10, 0, 2, 15], 100));
        let mut holes = good.clone();
        let mask = holes.windows(2).position(|part| part == [1, 4]).unwrap();
        holes[mask + 3] = 0;
        refused(&holes);
    }
}
