//! A virtio device on either bus, with notifications that cost one write.
//!
//! `virtio-drivers`' PCI transport asks the device at each notification where its register is: two
//! more accesses, and a panic if the answer makes no sense. Here the address is found out and
//! checked once ([`super::pci`]). Everything else goes through.

use virtio_drivers::transport::{
    DeviceStatus, DeviceType, InterruptStatus, SomeTransport, Transport,
};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A device.
pub(super) struct Device {
    inner: SomeTransport<'static>,
    bells: Option<[*mut u16; 2]>,
}

impl Device {
    /// A device that is notified through its transport.
    pub(super) fn new(inner: SomeTransport<'static>) -> Self {
        Self { inner, bells: None }
    }

    /// A device that is notified through these registers, of queues 0 and 1.
    ///
    /// # Safety
    ///
    /// They are the device's notification registers for these queues, mapped for good.
    pub(super) unsafe fn with_bells(inner: SomeTransport<'static>, bells: [*mut u16; 2]) -> Self {
        Self { inner, bells: Some(bells) }
    }
}

// SAFETY: device registers can be used from any thread, one at a time.
unsafe impl Send for Device {}

impl Transport for Device {
    #[inline]
    fn notify(&mut self, queue: u16) {
        let bell = self.bells.and_then(|bells| bells.get(usize::from(queue)).copied());
        match bell {
            // SAFETY: `with_bells` was promised a mapped notification register.
            Some(bell) => unsafe { bell.write_volatile(queue) },
            None => self.inner.notify(queue),
        }
    }

    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        self.inner.set_guest_page_size(bytes);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.inner.queue_set(queue, size, descriptors, driver, device);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
