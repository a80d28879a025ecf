//! Readers on threads of their own beside a writer: no state is half made, none is missed, and what
//! nobody looks into any more is given back.

#![cfg(test)]

mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use flow::Space;
use runtime::native::HostPages;
use sluice_dpf::{HashKey, Reader, SharedError, Verdict, Writer};
use verifier::{
    BindingId, Claim, Derivation, Fuel, GrantId, Ownership, Placement, Registry, Transmit,
};
use world::{claim, frames_near, space};

const ALL: u32 = u32::MAX;

/// A registry and a writer that are told the same.
struct Shared {
    registry: Registry,
    writer: Writer,
    pages: HostPages,
}

impl Shared {
    fn new() -> Shared {
        let writer = Writer::new(HashKey::new(7));
        Shared { registry: Registry::new(), writer, pages: HostPages::default() }
    }

    fn bind(&mut self, grant: GrantId, claim: Claim) -> Result<BindingId, SharedError> {
        let mut proof = Placement::bind(&self.registry, grant, claim).unwrap();
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else {
            panic!("out of fuel");
        };
        let owned = self.registry.own(placed.unwrap()).unwrap();
        self.writer.insert(owned, &mut self.pages)
    }

    fn grant(&mut self, text: &str) -> GrantId {
        let transmit = Transmit::Space(Space::all());
        let mut proof =
            Derivation::new(&self.registry, GrantId::ROOT, claim(text), transmit).unwrap();
        let Poll::Ready(placed) = proof.step(&self.registry, &mut Fuel(ALL)) else {
            panic!("out of fuel");
        };
        let (registry, pages) = (&mut self.registry, &mut self.pages);
        self.writer.insert_grant(registry, placed.unwrap(), pages).unwrap()
    }

    /// As often as a reader has to leave first.
    fn insist<T>(&mut self, mut change: impl FnMut(&mut Self) -> Result<T, SharedError>) -> T {
        let start = Instant::now();
        loop {
            match change(self) {
                Ok(done) => return done,
                Err(SharedError::Reading) => assert!(start.elapsed().as_secs() < 60, "stuck"),
                Err(error) => panic!("{error}"),
            }
            thread::yield_now();
        }
    }

    fn owner(&self, frame: &[u8]) -> Verdict {
        match self.registry.owner_of(frame) {
            Ownership::Bound(id) => Verdict::Bound(id),
            Ownership::Unbound(grant) => Verdict::Unbound(Some(grant)),
        }
    }
}

/// Exact filters, residual ones, several shapes; all pairwise disjoint.
const FILTERS: [&str; 6] = [
    "udp and dst port 53",
    "udp and dst portrange 8000-8005",
    "tcp and dst host 10.0.2.15 and dst port 80",
    "icmp and dst net 10.0.0.0/8",
    "ether proto 0x88b5 and greater 100",
    "ip6 and udp and dst port 5353",
];

/// A frame of a filter.
fn inside(text: &str) -> Vec<u8> {
    let space = space(text);
    frames_near(&space).into_iter().find(|frame| space.contains(frame)).unwrap()
}

#[test]
fn changes_are_seen_when_they_are_shown_and_not_before() {
    let mut shared = Shared::new();
    let mut reader = shared.writer.reader();
    let frames: Vec<Vec<u8>> = FILTERS.iter().flat_map(|text| frames_near(&space(text))).collect();
    let mut verdicts = vec![Verdict::Unbound(None); frames.len()];
    let mut ids = vec![];
    for round in 0..20 {
        let before: Vec<Verdict> = frames.iter().map(|frame| reader.classify(frame)).collect();
        reader.rest();
        if round % 7 == 6 || ids.len() == FILTERS.len() {
            for id in ids.drain(..) {
                assert!(shared.registry.release(id).is_some());
                assert!(shared.writer.remove(id, &mut shared.pages).unwrap());
                assert!(!shared.writer.remove(id, &mut shared.pages).unwrap());
            }
        } else {
            let text = FILTERS[ids.len()];
            ids.push(shared.bind(GrantId::ROOT, claim(text)).unwrap());
        }
        for (frame, before) in frames.iter().zip(&before) {
            assert_eq!(reader.classify(frame), *before, "not shown yet");
        }
        shared.writer.publish();
        let all: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        reader.classify_batch(&all, &mut verdicts);
        for (frame, verdict) in frames.iter().zip(&verdicts) {
            assert_eq!(*verdict, shared.owner(frame));
        }
    }
}

#[test]
fn a_grant_and_what_is_under_it_are_made_twice() {
    let mut shared = Shared::new();
    let mut reader = shared.writer.reader();
    let grant = shared.grant("udp and dst portrange 5000-5999");
    let id = shared.bind(grant, claim("udp and dst port 5001")).unwrap();
    for text in FILTERS {
        let other = shared.bind(GrantId::ROOT, claim(text)).unwrap();
        shared.writer.publish();
        for frame in frames_near(&space("udp and dst portrange 5000-5999")) {
            assert_eq!(reader.classify(&frame), shared.owner(&frame));
        }
        assert_ne!(other, id);
    }
    for round in 0..3 {
        if round == 1 {
            let revoked = shared.registry.revoke(grant);
            assert_eq!(revoked.bindings, [id]);
            assert!(shared.writer.remove(id, &mut shared.pages).unwrap());
            assert!(shared.writer.remove_grant(grant, &mut shared.pages).unwrap());
        }
        shared.writer.publish();
        shared.writer.catch_up(&mut shared.pages).unwrap_or_else(|error| {
            assert!(matches!(error, SharedError::Reading));
        });
        for frame in frames_near(&space("udp and dst port 5001")) {
            assert_eq!(reader.classify(&frame), shared.owner(&frame), "round {round}");
        }
    }
}

#[test]
fn a_reader_that_stays_holds_the_writer_up_and_not_the_readers() {
    let mut shared = Shared::new();
    let mut stays = shared.writer.reader();
    let frame = inside(FILTERS[0]);
    let nobody = stays.classify(&frame);
    let id = shared.bind(GrantId::ROOT, claim(FILTERS[0])).unwrap();
    shared.writer.publish();
    let refused = shared.bind(GrantId::ROOT, claim(FILTERS[1]));
    assert!(matches!(refused, Err(SharedError::Reading)), "{refused:?}");
    assert_eq!(shared.writer.reader().classify(&frame), Verdict::Bound(id));
    assert_ne!(nobody, Verdict::Bound(id));
    // Asked again it follows; or it rests.
    assert_eq!(stays.classify(&frame), Verdict::Bound(id));
    shared.bind(GrantId::ROOT, claim(FILTERS[1])).unwrap();
    shared.writer.publish();
    assert!(matches!(shared.writer.catch_up(&mut shared.pages), Err(SharedError::Reading)));
    stays.rest();
    shared.writer.catch_up(&mut shared.pages).unwrap();
}

/// Two filters come and go together, and a third is what the number says; readers must never find
/// one of the two alone, nor anything older than what was shown before they asked.
#[test]
fn readers_beside_a_writer_see_whole_states_and_none_too_old() {
    let pair = [FILTERS[0], FILTERS[3]].map(inside);
    let mut shared = Shared::new();
    let first = shared.writer.reader();
    let [begun, shown, seen, sure] = [const { AtomicU64::new(0) }; 4];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for turn in 0..3 {
            let (mut reader, pair) = (first.clone(), &pair);
            let (begun, shown, stop, seen, sure) = (&begun, &shown, &stop, &seen, &sure);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let least = shown.load(Ordering::Acquire);
                    let both = both(&mut reader, pair, turn);
                    let most = begun.load(Ordering::Acquire);
                    // Between the two states another may have been shown; else it must be this.
                    if least == most {
                        assert_eq!(both, least % 2 == 1, "state {least}");
                        sure.fetch_add(1, Ordering::Relaxed);
                    }
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (start, mut ids) = (Instant::now(), vec![]);
        while start.elapsed() < Duration::from_secs(1) || seen.load(Ordering::Relaxed) < 1_000 {
            if ids.is_empty() {
                for text in [FILTERS[0], FILTERS[3]] {
                    ids.push(shared.insist(|it| it.bind(GrantId::ROOT, claim(text))));
                }
            } else {
                for id in ids.drain(..) {
                    assert!(shared.registry.release(id).is_some());
                    shared.insist(|it| it.writer.remove(id, &mut it.pages));
                }
            }
            begun.fetch_add(1, Ordering::AcqRel);
            shared.writer.publish();
            shown.fetch_add(1, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(shown.load(Ordering::Relaxed) > 20, "{shown:?} states shown");
    assert!(sure.load(Ordering::Relaxed) > 100, "{sure:?} of {seen:?} certain");
    given_back(shared, first);
}

/// Whether both frames of the pair have an owner; one alone is a state that never was.
fn both(reader: &mut Reader, pair: &[Vec<u8>; 2], turn: usize) -> bool {
    let frames = [pair[turn % 2].as_slice(), pair[(turn + 1) % 2].as_slice()];
    let mut verdicts = [Verdict::Unbound(None); 2];
    reader.classify_batch(&frames, &mut verdicts);
    let [one, other] = verdicts.map(|verdict| matches!(verdict, Verdict::Bound(_)));
    assert_eq!(one, other, "half a state: {verdicts:?}");
    one
}

/// Without filters and readers only code for no shape is left, of two engines.
fn given_back(mut shared: Shared, reader: Reader) {
    drop(reader);
    let left: Vec<BindingId> = shared.registry.bindings_under(GrantId::ROOT).collect();
    for id in left {
        shared.registry.release(id);
        shared.writer.remove(id, &mut shared.pages).unwrap();
    }
    shared.writer.publish();
    shared.writer.catch_up(&mut shared.pages).unwrap();
    assert!(shared.pages.used() <= 2 * 4096, "{} bytes of code", shared.pages.used());
}
