//! Maps against plain models, in exhaustive small worlds and in long random lives.

use alloc::vec;
use alloc::vec::Vec;
use std::collections::{BTreeMap, VecDeque};

use ebpf::{MapKind, MapSpec};

use super::{ANY, EXIST, Errno, Maker, Map, NO_EXIST};
use crate::random::mix;

const SECRET: [u64; 2] = [0x1234, 0x5678];

fn make(spec: MapSpec) -> alloc::sync::Arc<Map> {
    Map::new(spec, SECRET).unwrap()
}

fn get(map: &Map, slot: u32) -> Vec<u8> {
    let mut value = vec![0; map.spec().value_size as usize];
    assert!(map.read(slot, 0, &mut value));
    value
}

fn keys(map: &Map) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut next = vec![0; map.spec().key_size as usize];
    while map.next_key(all.last().map(Vec::as_slice), &mut next).is_ok() {
        all.push(next.clone());
        assert!(all.len() <= map.spec().max_entries as usize, "keys go round");
    }
    all
}

/// What a map of any kind must do: entries in order of use, oldest first.
struct Model {
    spec: MapSpec,
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Model {
    fn new(spec: MapSpec) -> Self {
        let mut entries = VecDeque::new();
        if spec.kind.is_array() {
            let zero = vec![0; spec.value_size as usize];
            entries =
                (0..spec.max_entries).map(|at| (at.to_le_bytes().into(), zero.clone())).collect();
        }
        Self { spec, entries }
    }

    fn bits(&self) -> u32 {
        (self.spec.key_size - 4) * 8
    }

    /// The key as it is kept, and whether it can be a key at all.
    fn kept(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut key = key.to_vec();
        if self.spec.kind == MapKind::LpmTrie {
            let bits = u32::from_le_bytes(key[..4].try_into().unwrap());
            if bits > self.bits() {
                return None;
            }
            for bit in bits..self.bits() {
                key[4 + bit as usize / 8] &= !(0x80 >> (bit % 8));
            }
        }
        Some(key)
    }

    fn at(&self, key: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(known, _)| known == key)
    }

    fn lookup(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let at = match self.spec.kind {
            MapKind::LpmTrie => {
                self.kept(key)?;
                let asked = u32::from_le_bytes(key[..4].try_into().unwrap());
                let cut = |bits: u32| {
                    let mut key = key.to_vec();
                    key[..4].copy_from_slice(&bits.to_le_bytes());
                    self.kept(&key)
                };
                (0..=asked).rev().find_map(|bits| self.at(&cut(bits)?))?
            }
            _ => self.at(key)?,
        };
        let value = self.entries[at].1.clone();
        if self.spec.kind == MapKind::LruHash {
            let entry = self.entries.remove(at).unwrap();
            self.entries.push_back(entry);
        }
        Some(value)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > EXIST {
            return Err(Errno::Invalid);
        }
        let array = self.spec.kind.is_array();
        let key = self.kept(key).ok_or(Errno::Invalid)?;
        match self.at(&key) {
            Some(_) if flags == NO_EXIST => return Err(Errno::Exists),
            Some(at) => {
                self.entries[at].1 = value.to_vec();
                return Ok(());
            }
            None if array => return Err(Errno::TooBig),
            None if flags == EXIST => return Err(Errno::NoEntry),
            None => {}
        }
        if self.entries.len() == self.spec.max_entries as usize {
            match self.spec.kind {
                MapKind::LruHash => drop(self.entries.pop_front()),
                MapKind::LpmTrie => return Err(Errno::NoSpace),
                _ => return Err(Errno::TooBig),
            }
        }
        self.entries.push_back((key, value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Errno> {
        if self.spec.kind.is_array() {
            return Err(Errno::Invalid);
        }
        let key = self.kept(key).ok_or(Errno::Invalid)?;
        let at = self.at(&key).ok_or(Errno::NoEntry)?;
        self.entries.remove(at);
        Ok(())
    }
}

/// One operation on map and model, and the comparison of both afterwards.
fn step(map: &Map, model: &mut Model, operation: u64, key: &[u8], value: &[u8]) {
    match operation {
        0 => assert_eq!(map.lookup(key).map(|slot| get(map, slot)), model.lookup(key)),
        1 => assert_eq!(map.delete(key), model.delete(key)),
        flags => assert_eq!(map.update(key, value, flags - 2), model.update(key, value, flags - 2)),
    }
}

fn agree(map: &Map, model: &Model) {
    assert_eq!(map.len() as usize, model.entries.len());
    let model: Vec<Vec<u8>> = model.entries.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys(map), model);
}

fn specs(key_size: u32, max_entries: u32) -> Vec<MapSpec> {
    let any = MapSpec::hash(key_size, 5, max_entries);
    vec![
        any,
        MapSpec { kind: MapKind::LruHash, ..any },
        MapSpec { kind: MapKind::LpmTrie, key_size: 5, ..any },
        MapSpec::array(5, max_entries),
        MapSpec { kind: MapKind::PercpuArray, ..MapSpec::array(5, max_entries) },
    ]
}

/// A key of a small world: as few different ones as show collisions, overlaps and limits.
fn small_key(spec: &MapSpec, number: u64) -> Vec<u8> {
    match spec.kind {
        MapKind::LpmTrie => {
            let (bits, data) = [(0_u32, 0_u8), (1, 0x80), (8, 0xff), (9, 1)][number as usize % 4];
            let mut key = bits.to_le_bytes().to_vec();
            key.push(data);
            key
        }
        MapKind::Array | MapKind::PercpuArray => (number as u32).to_le_bytes().to_vec(),
        _ => vec![number as u8; spec.key_size as usize],
    }
}

#[test]
fn every_short_life_of_a_small_map_is_the_model_s() {
    // Three kinds of operation on four keys, five times.
    const OPERATIONS: [u64; 3] = [0, 1, 2];
    const STEPS: u32 = 5;
    let choices = OPERATIONS.len() as u64 * 4;
    for spec in specs(3, 2) {
        for life in 0..choices.pow(STEPS) {
            let (map, mut model) = (make(spec), Model::new(spec));
            let mut rest = life;
            for at in 0..STEPS {
                let choice = rest % choices;
                rest /= choices;
                let operation = OPERATIONS[(choice / 4) as usize];
                let key = small_key(&spec, choice % 4);
                step(&map, &mut model, operation, &key, &[at as u8 + 1; 5]);
            }
            agree(&map, &model);
        }
    }
}

#[test]
fn a_long_random_life_is_the_model_s() {
    for (round, spec) in specs(7, 20).into_iter().enumerate() {
        let (map, mut model) = (make(spec), Model::new(spec));
        for at in 0..20_000_u64 {
            let chance = mix(mix(round as u64) ^ at);
            let number = (chance >> 8) % 40;
            let key = match spec.kind {
                MapKind::LpmTrie => {
                    let mut key = ((chance >> 16) as u32 % 10).to_le_bytes().to_vec();
                    key.push((chance >> 32) as u8 & 0xd1);
                    key
                }
                MapKind::Array | MapKind::PercpuArray => (number as u32).to_le_bytes().to_vec(),
                _ => {
                    let mut key = vec![0; 7];
                    key[..2].copy_from_slice(&(number as u16 * 257).to_le_bytes());
                    key
                }
            };
            step(&map, &mut model, chance % 6, &key, &at.to_le_bytes()[..5]);
            if at % 64 == 0 {
                agree(&map, &model);
            }
        }
        agree(&map, &model);
    }
}

#[test]
fn a_trie_finds_the_longest_prefix_of_any_address() {
    let spec = MapSpec { kind: MapKind::LpmTrie, ..MapSpec::hash(8, 4, 300) };
    let map = make(spec);
    let mut model: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for at in 0..300_u32 {
        let chance = mix(u64::from(at));
        let bits = (chance % 33) as u32;
        let address = ((chance >> 8) as u32) & 0x0fff_ffff;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let mut key = bits.to_le_bytes().to_vec();
        key.extend_from_slice(&address.to_be_bytes());
        map.update(&key, &at.to_le_bytes(), ANY).unwrap();
        model.insert((bits, address & mask), at);
    }
    let mut found = 0;
    for at in 0..20_000_u64 {
        let address = (mix(at) as u32) & 0x0fff_ffff;
        let mut key = 32_u32.to_le_bytes().to_vec();
        key.extend_from_slice(&address.to_be_bytes());
        let expected = (0..=32_u32).rev().find_map(|bits| {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            model.get(&(bits, address & mask)).copied()
        });
        let value = map.lookup(&key).map(|slot| get(&map, slot));
        assert_eq!(value, expected.map(|at| at.to_le_bytes().to_vec()));
        found += u32::from(expected.is_some());
    }
    assert!(found > 1_000, "only {found}");
}

#[test]
fn a_hostile_key_size_or_value_size_is_refused_and_changes_nothing() {
    for spec in specs(8, 4) {
        let map = make(spec);
        let key = small_key(&spec, 1);
        for wrong in [0, key.len() - 1, key.len() + 1, 600] {
            let wrong = vec![0; wrong];
            assert_eq!(map.lookup(&wrong), None);
            assert_eq!(map.delete(&wrong), Err(Errno::Invalid));
            assert_eq!(map.update(&wrong, &[0; 5], ANY), Err(Errno::Invalid));
            assert_eq!(map.next_key(Some(&wrong), &mut key.clone()), Err(Errno::Invalid));
            assert_eq!(map.next_key(None, &mut wrong.clone()), Err(Errno::Invalid));
        }
        assert_eq!(map.update(&key, &[0; 4], ANY), Err(Errno::Invalid));
        assert_eq!(map.update(&key, &[0; 5], 3), Err(Errno::Invalid));
        assert_eq!(map.update(&key, &[0; 5], u64::MAX), Err(Errno::Invalid));
        agree(&map, &Model::new(spec));
        let mut value = [0; 6];
        assert!(!map.read(0, 0, &mut value) && !map.read(4, 0, &mut value[..1]));
        assert!(!map.read(0, usize::MAX, &mut value[..1]) && !map.write(0, 5, &[1]));
    }
}

#[test]
fn a_deleted_entry_s_memory_stays_the_map_s() {
    let map = make(MapSpec::hash(4, 8, 3));
    map.update(&[1; 4], &[7; 8], ANY).unwrap();
    let slot = map.lookup(&[1; 4]).unwrap();
    map.delete(&[1; 4]).unwrap();
    assert_eq!(get(&map, slot), [7; 8]);
    assert!(map.write(slot, 0, &[8; 8]));
    map.update(&[2; 4], &[9; 8], ANY).unwrap();
    assert_eq!(map.lookup(&[2; 4]), Some(slot), "the slot is used again");
    assert_eq!(get(&map, slot), [9; 8]);
}

#[test]
fn an_lru_map_forgets_what_was_not_used() {
    let map = make(MapSpec { kind: MapKind::LruHash, ..MapSpec::hash(1, 1, 3) });
    for key in 1..=3_u8 {
        map.update(&[key], &[key], ANY).unwrap();
    }
    assert!(map.lookup(&[1]).is_some() && map.peek(&[2]).is_some());
    map.update(&[4], &[4], ANY).unwrap();
    assert_eq!(keys(&map), [vec![3], vec![1], vec![4]]);
}

#[test]
fn a_chain_has_an_end_whoever_chooses_the_keys() {
    // Keys that fall into one bucket of sixteen, found with the secret in hand.
    let spec = MapSpec::hash(4, 1, 16);
    let collide =
        |number: &u32| super::keyed::Keyed::new(SECRET).hash([u64::from(*number)]) & 15 == 3;
    let all: Vec<u32> = (0..).filter(collide).take(17).collect();
    let map = make(spec);
    for key in &all[..16] {
        map.update(&key.to_le_bytes(), &[1], ANY).unwrap();
    }
    assert_eq!(map.update(&all[16].to_le_bytes(), &[1], ANY), Err(Errno::TooBig));

    let large = MapSpec { max_entries: 64, ..spec };
    let collide =
        |number: &u32| super::keyed::Keyed::new(SECRET).hash([u64::from(*number)]) & 63 == 3;
    let all: Vec<u32> = (0..).filter(collide).take(30).collect();
    let longest = super::table::CHAIN_MAX;
    let (map, lru) = (make(large), make(MapSpec { kind: MapKind::LruHash, ..large }));
    for (at, key) in all.iter().enumerate() {
        let expected = if at < longest { Ok(()) } else { Err(Errno::TooBig) };
        assert_eq!(map.update(&key.to_le_bytes(), &[1], ANY), expected);
        // The LRU map lets the oldest of the chain go.
        assert_eq!(lru.update(&key.to_le_bytes(), &[1], ANY), Ok(()));
        assert!(lru.lookup(&key.to_le_bytes()).is_some());
    }
    assert_eq!((map.len(), lru.len()), (longest as u32, longest as u32));
}

#[test]
fn memory_is_reserved_at_once_and_filled_in_pieces() {
    for spec in specs(9, 1_000) {
        let mut maker = Maker::new(spec, SECRET).unwrap();
        let mut steps = 0;
        while !maker.advance(100) {
            steps += 1;
        }
        assert!(steps >= 9, "{steps}");
        let map = maker.finish();
        agree(&map, &Model::new(spec));
        assert!(Map::bytes(&spec) >= spec.value_bytes());
    }
    assert!(Maker::new(MapSpec::hash(0, 1, 1), SECRET).is_err());
}

#[test]
fn values_stand_at_their_stride() {
    let map = make(MapSpec::array(13, 4));
    for slot in 0..4_u32 {
        assert_eq!(map.value_address(slot), map.values_address() + 16 * u64::from(slot));
        map.update(&slot.to_le_bytes(), &[slot as u8; 13], ANY).unwrap();
    }
    assert_eq!(map.values_address() % 8, 0);
    for slot in 0..4_u32 {
        assert_eq!(get(&map, slot), [slot as u8; 13]);
    }
}
