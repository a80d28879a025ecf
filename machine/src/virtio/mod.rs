//! Virtio drivers: a network card and a console, over `virtio-drivers`' transports and a queue of
//! our own.
//!
//! The device is hostile in everything it says: each id it returns must be one that is in flight,
//! each length must fit its buffer, each feature and each configuration value is checked. What is
//! wrong is counted. After an id that is not in flight the queue cannot be trusted to say what it
//! has finished, so it is not used any more ([`ring::Ring::broken`]).
//! Where it writes is another matter: without an IOMMU a device can write anywhere; the threat
//! model trusts the hypervisor that makes it not do so.
//!
//! The drivers are the same on bare metal and in the host's tests, where a made-up device
//! misbehaves.

pub(crate) mod buffers;
pub(crate) mod console;
pub(crate) mod net;
pub(crate) mod place;
pub(crate) mod queue;
pub(crate) mod ring;
#[cfg(test)]
mod tests;

use core::fmt;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// `VIRTIO_F_VERSION_1`.
pub(crate) const VERSION_1: u64 = 1 << 32;

/// Why a device is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DeviceError {
    /// It does not offer these features.
    Features {
        /// Bits wanted and not offered.
        missing: u64,
    },
    /// It does not accept what was negotiated.
    Refused,
    /// One of its queues is too small or in use.
    Queue {
        /// Which.
        queue: u16,
    },
    /// Its configuration makes no sense.
    Configuration,
    /// It cannot be made to interrupt.
    Interrupt,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features { missing } => write!(f, "it lacks the features {missing:#x}"),
            Self::Refused => f.write_str("it refused the features"),
            Self::Queue { queue } => write!(f, "its queue {queue} is too small or in use"),
            Self::Configuration => f.write_str("its configuration makes no sense"),
            Self::Interrupt => f.write_str("it cannot be made to interrupt"),
        }
    }
}

/// Resets a device and settles on exactly these features (virtio 1.2, 3.1.1, steps 1 to 6).
pub(crate) fn negotiate<T: Transport>(transport: &mut T, wanted: u64) -> Result<(), DeviceError> {
    let greeting = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(DeviceStatus::empty());
    transport.set_status(greeting);
    let missing = wanted & !transport.read_device_features();
    if missing != 0 {
        transport.set_status(DeviceStatus::FAILED);
        return Err(DeviceError::Features { missing });
    }
    transport.write_driver_features(wanted);
    transport.set_status(greeting | DeviceStatus::FEATURES_OK);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        transport.set_status(DeviceStatus::FAILED);
        return Err(DeviceError::Refused);
    }
    Ok(())
}
