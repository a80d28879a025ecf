//! What a program is given: the XDP context and the XDP actions.
//!
//! Layout and numbers are Linux's (`struct xdp_md` and `enum xdp_action` in
//! `include/uapi/linux/bpf.h`), so that an object built for XDP loads unchanged. Every field is
//! read by an unsigned 32-bit load at exactly its offset. `data`, `data_end` and `data_meta` are
//! declared 32 bits wide but yield pointers: where addresses have 64 bits the loads are rewritten
//! into 64-bit loads, as in Linux; the interpreter's addresses fit 32 bits.

/// Offset of `data`: address of the packet's first byte.
pub const DATA: i16 = 0;
/// Offset of `data_end`: address just past the packet's last byte.
pub const DATA_END: i16 = 4;
/// Offset of `data_meta`: equals `data`, there is no metadata.
pub const DATA_META: i16 = 8;
/// Offset of `ingress_ifindex`: the device the packet came in by.
pub const INGRESS_IFINDEX: i16 = 12;
/// Offset of `rx_queue_index`: the receive queue the packet came in by.
pub const RX_QUEUE_INDEX: i16 = 16;
/// Size of the context in bytes.
pub const SIZE: i16 = 20;

/// One readable word of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A pointer to the packet's first byte.
    Data,
    /// A pointer just past the packet's last byte.
    DataEnd,
    /// Equals [`Field::Data`].
    DataMeta,
    /// A number.
    IngressIfindex,
    /// A number.
    RxQueueIndex,
}

impl Field {
    /// The field at an offset, if one begins there.
    #[must_use]
    pub const fn at(offset: i64) -> Option<Self> {
        match offset {
            0 => Some(Self::Data),
            4 => Some(Self::DataEnd),
            8 => Some(Self::DataMeta),
            12 => Some(Self::IngressIfindex),
            16 => Some(Self::RxQueueIndex),
            _ => None,
        }
    }

    /// Whether the field is a pointer rather than a number.
    #[must_use]
    pub const fn is_pointer(self) -> bool {
        matches!(self, Self::Data | Self::DataEnd | Self::DataMeta)
    }
}

/// XDP action: the program failed; a counted drop.
pub const ABORTED: u32 = 0;
/// XDP action: drop.
pub const DROP: u32 = 1;
/// XDP action: deliver to the owner.
pub const PASS: u32 = 2;
/// XDP action: send the packet, as it is now, out of the device it came in by.
pub const TX: u32 = 3;
/// XDP action: refused by name.
pub const REDIRECT: u32 = 4;

#[cfg(test)]
mod tests {
    use super::{DATA, DATA_END, DATA_META, Field, INGRESS_IFINDEX, RX_QUEUE_INDEX, SIZE};

    #[test]
    fn fields_stand_at_their_offsets_and_nowhere_else() {
        let named = [
            (DATA, Field::Data),
            (DATA_END, Field::DataEnd),
            (DATA_META, Field::DataMeta),
            (INGRESS_IFINDEX, Field::IngressIfindex),
            (RX_QUEUE_INDEX, Field::RxQueueIndex),
        ];
        for (offset, field) in named {
            assert_eq!(Field::at(i64::from(offset)), Some(field));
        }
        let all = (-40..40).filter(|&offset| Field::at(offset).is_some()).count();
        assert_eq!(all, named.len());
        assert_eq!(Field::at(i64::from(SIZE)), None);
    }
}
