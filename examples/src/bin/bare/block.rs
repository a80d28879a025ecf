//! Just enough of the start block: `postcard` integers and strings, in the order of `abi::start`.
//!
//! Version, name, arguments, then pairs of name and handle. Integers are little-endian groups of
//! seven bits; a string is its length and its bytes. Anything that runs over the end is `None`.

/// A place in the block.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the beginning.
    pub(crate) fn new(block: &'a [u8]) -> Reader<'a> {
        Reader { rest: block }
    }

    /// The handle of that name.
    pub(crate) fn handle(mut self, wanted: &str) -> Option<u64> {
        let version = self.integer()?;
        if version != 1 {
            return None;
        }
        self.string()?;
        self.string()?;
        for _ in 0..self.integer()? {
            let name = self.string()?;
            let handle = self.integer()?;
            if name == wanted.as_bytes() {
                return Some(handle);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(text)
    }
}
