//! Where a device is, as the kernel command line says it.
//!
//! QEMU appends `virtio_mmio.device=512@0xfeb00e00:12` for each slot of a `microvm` when ACPI is
//! off: size, address, pin of the I/O APIC. The format is Linux's.

/// Bytes of a slot's registers.
pub(crate) const SIZE: usize = 512;

/// One slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Physical address of its registers.
    pub(crate) address: u64,
    /// The I/O APIC pin of its interrupt.
    pub(crate) pin: u8,
}

impl Place {
    /// Reads one word of the command line; `None` for other words and for nonsense.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let rest = word.strip_prefix("virtio_mmio.device=")?;
        let (size, rest) = rest.split_once('@')?;
        let (address, pin) = rest.split_once(':')?;
        let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        let place = Self { address, pin: pin.parse().ok()? };
        let fits = size.parse() == Ok(SIZE) && address.is_multiple_of(SIZE as u64);
        fits.then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_slot_is_read_and_nonsense_is_not() {
        let place = Place { address: 0xfeb0_0e00, pin: 12 };
        assert_eq!(Place::parse("virtio_mmio.device=512@0xfeb00e00:12"), Some(place));
        for word in [
            "",
            "log=debug",
            "virtio_mmio.device=",
            "virtio_mmio.device=512@0xfeb00e00",
            "virtio_mmio.device=512@0xfeb00e00:",
            "virtio_mmio.device=512@0xfeb00e00:256",
            "virtio_mmio.device=512@0xfeb00e01:12",
            "virtio_mmio.device=4K@0xfeb00e00:12",
            "virtio_mmio.device=512@feb00e00:12",
            "virtio_mmio.device=512@0xfeb00e00feb00e00f:12",
        ] {
            assert_eq!(Place::parse(word), None, "{word}");
        }
    }
}
