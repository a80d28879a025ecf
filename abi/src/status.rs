//! How a call ended.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The status of a call, in `rax`. Everything but [`Status::Ok`] is a refusal: nothing
        /// was changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub enum Status { $($(#[$doc])* $name = $number,)* }

        impl Status {
            /// All statuses, in order of number.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];

            /// The status of that number, if there is one.
            pub fn from_number(number: u64) -> Option<Status> {
                match number { $($number => Some(Status::$name),)* _ => None }
            }
        }
    };
}

statuses! {
    /// Done.
    Ok = 0,
    /// No call has that number.
    UnknownCall = 1,
    /// The handle names nothing (never given out, or its generation is over).
    BadHandle = 2,
    /// The handle names something of another kind than the call wants.
    WrongKind = 3,
    /// The capability lacks a right that the call needs.
    MissingRight = 4,
    /// An argument is out of its documented range.
    BadArgument = 5,
    /// A pointer does not lead to memory that the caller may read or write.
    BadAddress = 6,
    /// A page is bound at that address already.
    Occupied = 7,
    /// Writable and executable at once.
    WriteAndExecute = 8,
    /// The caller's frame quota, or the machine, has no frame left for this.
    NoMemory = 9,
    /// A limit of `abi::limits` would be passed.
    Limit = 10,
    /// The filter, ASH or grant was refused; the refusal record says why.
    Refused = 11,
    /// The frame asked for by number is not free.
    NotFree = 12,
    /// The environment is not in a state that allows this.
    WrongState = 13,
    /// The ring's indices make no sense.
    RingCorrupt = 14,
    /// The network card cannot take more now; try again after `EVENT_TRANSMITTED`.
    Busy = 15,
    /// There is no network card.
    NoDevice = 16,
    /// The map has no such key, or no further one.
    NoEntry = 17,
    /// The map has the key already.
    Exists = 18,
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn numbers_and_statuses_agree() {
        for &status in Status::ALL {
            assert_eq!(Status::from_number(status as u64), Some(status));
        }
        assert_eq!(Status::from_number(10_000), None);
    }
}
