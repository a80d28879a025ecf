//! A word in a shared page that two environments hand to each other.
//!
//! Each side waits for its parity and gives its slice to the other by name while it waits: no
//! kernel object stands between them, only the page.

use abi::Status;

use crate::capability::Env;
use crate::slice::yield_to;
use crate::sys::Window;

/// A word at the beginning of a page.
#[derive(Clone, Debug)]
pub struct Counter {
    page: Window,
    peer: Env,
}

impl Counter {
    /// In this page, with that environment at the other end.
    pub fn new(page: Window, peer: Env) -> Counter {
        Counter { page, peer }
    }

    /// What it says.
    pub fn value(&self) -> u32 {
        self.page.load_u32(0)
    }

    /// Waits until the word is odd or even as this side wants it, then adds one.
    ///
    /// # Errors
    /// `WrongState` when the other side has ended.
    pub fn step(&self, odd: bool) -> Result<u32, Status> {
        loop {
            let value = self.value();
            if (value % 2 == 1) == odd {
                self.page.store_u32(0, value.wrapping_add(1));
                return Ok(value);
            }
            yield_to(self.peer)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;
    use crate::capability::Env;
    use crate::sys::host::{self, page_window};
    use abi::{Handle, Status};

    #[test]
    fn each_side_waits_for_its_parity() {
        let page = || page_window(Handle(71));
        let counter = move || Counter::new(page(), Env(Handle(5)));
        let _guard = host::script(move |_| {
            // The other side has one step to make, and then it ends.
            if page().load_u32(0) == 1 {
                return (counter().step(true).map_or(1, |_| 0), 0);
            }
            (Status::WrongState as u64, 0)
        });
        assert_eq!(counter().step(false), Ok(0));
        assert_eq!(counter().step(false), Ok(2));
        assert_eq!(counter().value(), 3);
        page().store_u32(0, 4);
        assert_eq!(counter().step(true), Err(Status::WrongState));
    }
}
