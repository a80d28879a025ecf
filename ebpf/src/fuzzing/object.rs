//! Any bytes as an ELF object, and a good object with any bytes changed.

use crate::limits::{HOST_SLOTS, OBJECT_SLOTS};
use crate::object::Object;

/// An object with most of what objects have.
const GOOD: &[u8] = include_bytes!("../../../testdata/objects/several.o");

/// Reading an object never panics, and what is read keeps the promises that loaders rely on: maps
/// by position exist, every instruction has a function, programs are within their limits. The
/// bytes are tried as they are, and as changes of a good object: two bytes of place, one of value.
///
/// # Panics
/// If one of these does not hold.
pub fn object_any(bytes: &[u8]) {
    check(bytes);
    let mut changed = GOOD.to_vec();
    for change in bytes.as_chunks::<3>().0 {
        let [low, high, value] = *change;
        let at = usize::from(u16::from_le_bytes([low, high])) % GOOD.len();
        if let Some(byte) = changed.get_mut(at) {
            *byte = value;
        }
    }
    check(&changed);
}

fn check(bytes: &[u8]) {
    let Ok(object) = Object::parse(bytes) else { return };
    for map in object.maps() {
        let Ok(spec) = map.spec() else { continue };
        assert_eq!(spec.validate(), Ok(()), "{}", map.name());
        assert!(map.initial().len() <= spec.value_size as usize, "{}", map.name());
    }
    let mut slots = 0;
    for found in object.programs() {
        let Ok(program) = found.program() else { continue };
        slots += program.len();
        assert!(program.len() <= HOST_SLOTS);
        assert_eq!(program.maps().len(), found.maps().len(), "a position for each map");
        for (spec, &map) in program.maps().iter().zip(found.maps()) {
            let same = object.maps().get(map).and_then(|map| map.spec().ok());
            assert_eq!(same, Some(spec), "positions name maps of the object");
        }
        for pc in (0..).take(program.len()) {
            assert!(found.function(pc).is_some(), "instruction {pc} is in no function");
            assert!(found.line(pc).is_none_or(|line| line.line > 0));
        }
    }
    assert!(slots <= OBJECT_SLOTS);
}
