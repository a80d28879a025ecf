//! System-call numbers.
//!
//! `syscall` with the number in `rax` and arguments in `rdi rsi rdx r10 r8 r9`; the status comes
//! back in `rax` ([`crate::Status`] as a number), a value in `rdx`. `rcx` and `r11` are lost to the
//! instruction itself (AMD64 manual, volume 3, SYSCALL); every other register is preserved.
//! A handle argument is a [`crate::Handle`] as `u64`; pointers are virtual addresses of the caller.

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Every call there is; a number outside this table is refused as `UnknownCall`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub enum Call { $($(#[$doc])* $name = $number,)* }

        impl Call {
            /// All calls, in order of number.
            pub const ALL: &'static [Call] = &[$(Call::$name,)*];

            /// The call of that number, if there is one.
            pub fn from_number(number: u64) -> Option<Call> {
                match number { $($number => Some(Call::$name),)* _ => None }
            }
        }
    };
}

calls! {
    /// `()` → [`crate::VERSION`]. Does nothing else.
    Null = 0,
    /// `(code)`: ends the calling environment; never returns.
    Exit = 1,
    /// `(environment or 0)`: gives up the rest of the slice, to the named environment or to any.
    Yield = 2,
    /// `(deadline_ns)` → event bits ([`crate::ring::EVENT_PACKET`] …). Sleeps until an event is
    /// pending or the monotonic clock passes the deadline (`u64::MAX`: no deadline). Pending events
    /// are cleared by returning them.
    Wait = 3,
    /// `(debug, text, length)`: a line of text on the serial console, under the caller's name.
    Print = 4,
    /// `(debug, bytes, length)`: bytes of the caller's own on the framed channel.
    Report = 5,
    /// `()` → monotonic nanoseconds since boot.
    Clock = 6,
    /// `(kind, entry, stack, save area)`: where the kernel enters the caller for that
    /// [`crate::upcall::Kind`]. An entry of 0 takes the registration back.
    UpcallSet = 7,

    /// `(capability)`: forgets it.
    CapDrop = 10,
    /// `(capability, rights)` → a capability with no more than those rights.
    CapDerive = 11,
    /// `(capability, environment, rights)` → its handle in that environment's table. Needs
    /// `Rights::GRANT` on the capability and `Rights::CONTROL` on the environment.
    CapGrant = 12,
    /// `(capability)` → kind in bits 0–7 ([`crate::handle::Kind`]), rights in bits 8–39.
    CapInspect = 13,

    /// `(environment, frame number or u64::MAX)` → page capability, zeroed, charged to that
    /// environment.
    PageAlloc = 20,
    /// `(page)`: gives the frame back; every mapping and capability of it dies.
    PageFree = 21,
    /// `(environment, page, address, rights)`: binds the page at the address in that environment.
    PageMap = 22,
    /// `(environment, address)`: breaks the binding there.
    PageUnmap = 23,
    /// `(page)` → physical frame number.
    PageName = 24,
    /// `(environment, address, pages, rights)`: gives so many bound pages from that address these
    /// rights: all of them or none. No more rights than the capability had with which each was
    /// bound.
    PageProtect = 25,
    /// `(environment, entries, count)` → how many were done, in bits 0–15, and the status that
    /// stopped it in bits 16–31 (0: all were done). Binds and unbinds pages, in order, each as
    /// `PageMap`, `PageUnmap` or `PageProtect` would ([`crate::bind::BatchEntry`]).
    PageBatch = 26,
    /// `(page)` → a new capability of the owner's page with the old one's rights. All others to it
    /// are void and every mapping of it is broken; what is in it stays.
    PageRenew = 27,

    /// `(frames, name, length)` → environment capability. The frames come out of the caller's
    /// quota.
    EnvCreate = 30,
    /// `(environment, entry, stack, argument)`: makes it runnable; the argument arrives in `rdi`.
    EnvStart = 31,
    /// `(environment)`: ends it and takes everything back.
    EnvKill = 32,
    /// `(environment)` → state in bits 0–7 ([`crate::start::State`]), exit detail in bits 8–63.
    EnvStatus = 33,

    /// `(grant, &GrantRequest)` → grant capability of the child. Resumable proof.
    GrantDerive = 40,
    /// `(grant)`: takes back the grant with its whole subtree and their bindings.
    GrantRevoke = 41,
    /// `(grant, &BindRequest)` → binding capability. Resumable proof.
    Bind = 42,
    /// `(binding)`: out again.
    Unbind = 43,
    /// `(binding)` → number of slots taken from its transmit ring.
    Transmit = 44,
    /// `(binding, &mut BindingStats)`.
    BindingStats = 45,
    /// `(binding, &`[`crate::bind::CarveRequest`]`)` → binding capability. What the request's
    /// filter accepts becomes a grant of its own, carved from the binding, with the new binding as
    /// all of it: both or neither. Needs `Rights::REVOKE` on the binding, whose frames they are
    /// until then and again once the new binding has gone, and `Rights::TRANSMIT`, since the new
    /// one may send. Resumable proof.
    Carve = 46,
    /// `(binding, &`[`crate::bind::HandOverRequest`]`)` → binding capability of the second part.
    /// The caller's own binding becomes two that are proven to be exactly it, between two packets.
    /// The handle names the first part from then on, every other capability to the old binding is
    /// void. Needs `Rights::REVOKE`. Resumable proof.
    HandOver = 47,
    /// `(grant)` → 1 once all tables are whole that proofs under it look into; before that, each
    /// call fills them a little. Needs `Rights::BIND`.
    GrantSettle = 48,

    /// `(binding, passes, bytes)`: packets for the binding's ring go through these passes, a word
    /// each ([`crate::download`]), on their way; zero bytes take them back.
    PipeSet = 80,
    /// `(&PredicateRequest)`: the caller's wake-up predicate from now on.
    PredicateSet = 81,
    /// `(deadline_ns)` → what the predicate returned, or 0. Sleeps until the caller's predicate
    /// returns something else than 0 or the deadline passes; no event ends it.
    WaitUntil = 82,

    /// `(buffer, length)` → bytes written: a `postcard` [`crate::books::Books`].
    Books = 50,
    /// `(debug)` → 0 if the books add up, otherwise the failing check's number
    /// ([`crate::books::Check`]). Needs `Rights::WRITE` on the debug channel: it looks at every
    /// page.
    Audit = 51,
    /// `(debug, code)`: stops the machine. Needs `Rights::CONTROL` on the debug channel.
    Halt = 52,

    /// `(environment, kind, amount, deadline_ns)` → the request's number. Asks for so many of a
    /// [`crate::revocation::Kind`] back; what is missing at the deadline is taken.
    Revoke = 70,
    /// `(environment)` → [`crate::revocation::Progress`] of the caller's request to it. One that is
    /// over is forgotten.
    RevokeStatus = 71,
    /// `(page capabilities, count)`: the caller's own pages that are never taken.
    VitalSet = 72,
    /// `(page or 0, page capabilities, count)`: the repossession vector, and pages of others' into
    /// which the contents of pages that are taken go, each used once.
    RepossessionSet = 73,
    /// `(buffer, bytes)` → how many [`crate::revocation::Pending`] requests were written.
    RevokePending = 74,
    /// `(grant, deadline_ns)` → the request's number. Its users are asked to unbind; at the
    /// deadline it is revoked.
    GrantRecall = 75,
    /// `(grant or 0, buffer, bytes)` → bytes written: a filter program that accepts what the
    /// caller's bindings (under that grant) still receive.
    FlowResidual = 76,

    /// `(vector, environment, position or [`crate::slice::ANY`])` → slice capability in the
    /// caller's table: the position is that environment's.
    SliceAllocate = 60,
    /// `(slice or vector, position)`: the position is free; every capability to it dies.
    SliceFree = 61,
    /// `(slice, environment)`: the position is that environment's from now on.
    SliceGive = 62,
    /// `(buffer, count)` → positions written: the owners' environment numbers, `u32`, 0 for none.
    SliceOwners = 63,
    /// `(environment, &mut` [`crate::slice::SliceStats`]`)`.
    SliceStats = 64,
    /// `(environment or 0)`: protected control transfer, synchronous; the registers are the
    /// message ([`crate::transfer`]). 0: back to whoever transferred here, and park.
    TransferSync = 65,
    /// `(environment)`: protected control transfer with the rest of this slice.
    TransferAsync = 66,

    /// `(&`[`crate::map::MapRequest`]`)` → map capability. Its memory is charged to the caller.
    MapCreate = 90,
    /// `(map, key, value, 0, sizes)`: copies the key's value out. Needs `Rights::READ`.
    /// [`crate::map::sizes`] must be the map's.
    MapLookup = 91,
    /// `(map, key, value, flags, sizes)`: writes the key's value. Needs `Rights::WRITE`.
    MapUpdate = 92,
    /// `(map, key, 0, 0, sizes)`: takes the key out. Needs `Rights::WRITE`.
    MapDelete = 93,
    /// `(map, key or 0, next key, 0, sizes)`: copies out the key after that one, or the first.
    /// Needs `Rights::READ`.
    MapNext = 94,
}

#[cfg(test)]
mod tests {
    use super::Call;

    #[test]
    fn numbers_and_calls_agree() {
        for &call in Call::ALL {
            assert_eq!(Call::from_number(call as u64), Some(call));
        }
        assert_eq!(Call::from_number(9), None);
        assert_eq!(Call::from_number(u64::MAX), None);
    }
}
