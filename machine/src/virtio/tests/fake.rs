//! A made-up virtio device: memory shared with the driver, and a test that plays the device.

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed};
use std::sync::{Arc, Mutex, MutexGuard};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Physical addresses are virtual addresses; memory is never given back.
pub(super) struct HostHal;

// SAFETY: allocations are fresh, zeroed, page-aligned, and leaked.
unsafe impl Hal for HostHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let layout = Layout::from_size_align(pages * 4096, 4096).unwrap();
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        (base.as_ptr().expose_provenance() as u64, base)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("no device registers here")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

#[derive(Clone, Copy, Default)]
struct Queue {
    size: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
    /// Available entries that the device has seen, used entries that it has written.
    seen: u16,
    used: u16,
}

#[derive(Default)]
struct State {
    features: u64,
    accepted: u64,
    refuses: bool,
    queue_max: u32,
    config: Vec<u8>,
    status: u32,
    queues: [Queue; 2],
    notified: Vec<u16>,
}

/// The device's side, and the transport to it.
#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn new(features: u64, config: &[u8]) -> Self {
        let state =
            State { features, config: config.to_vec(), queue_max: 1024, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A device that does not accept the features it offered.
    pub(super) fn refuse(self) -> Self {
        self.state().refuses = true;
        self
    }

    /// A device whose queues hold at most so many descriptors.
    pub(super) fn queue_max(self, max: u32) -> Self {
        self.state().queue_max = max;
        self
    }

    pub(super) fn accepted(&self) -> u64 {
        self.state().accepted
    }

    /// Queues that were notified since the last call.
    pub(super) fn notified(&self) -> Vec<u16> {
        std::mem::take(&mut self.state().notified)
    }

    /// The next chain that the driver made available: its id, and address and length of its parts.
    pub(super) fn next(&self, queue: usize) -> Option<(u32, Vec<(u64, u32)>)> {
        let mut state = self.state();
        let q = &mut state.queues[queue];
        if at::<u16>(q.driver + 2).load() == q.seen {
            return None;
        }
        let head = at::<u16>(q.driver + 4 + 2 * u64::from(q.seen % q.size)).load();
        q.seen = q.seen.wrapping_add(1);
        let mut parts = Vec::new();
        let mut index = head;
        loop {
            let descriptor = q.descriptors + 16 * u64::from(index);
            parts.push((at::<u64>(descriptor).load(), at::<u32>(descriptor + 8).load()));
            if at::<u16>(descriptor + 12).load() & 1 == 0 {
                return Some((u32::from(head), parts));
            }
            index = at::<u16>(descriptor + 14).load();
        }
    }

    /// Says that a chain is used, whatever is true.
    pub(super) fn use_up(&self, queue: usize, id: u32, length: u32) {
        let mut state = self.state();
        let q = &mut state.queues[queue];
        let entry = q.device + 4 + 8 * u64::from(q.used % q.size);
        at::<u32>(entry).store(id);
        at::<u32>(entry + 4).store(length);
        q.used = q.used.wrapping_add(1);
        at::<u16>(q.device + 2).store(q.used);
    }

    /// Whether it says on both queues that it does not want to be told of new chains.
    pub(super) fn quiet(&self, quiet: bool) {
        for queue in &self.state().queues {
            at::<u16>(queue.device).store(quiet.into());
        }
    }

    /// Whether the driver says that it wants no interrupt.
    pub(super) fn wants_no_interrupt(&self, queue: usize) -> bool {
        at::<u16>(self.state().queues[queue].driver).load() & 1 == 1
    }

    /// Receives a frame as an honest device would: header of zeros, then the frame.
    pub(super) fn deliver(&self, frame: &[u8]) -> u32 {
        let (id, parts) = self.next(0).expect("the driver posted no buffer");
        let (address, room) = parts[0];
        assert!(frame.len() + 12 <= room as usize);
        for (offset, byte) in [0; 12].iter().chain(frame).enumerate() {
            at::<u8>(address + offset as u64).store(*byte);
        }
        self.use_up(0, id, frame.len() as u32 + 12);
        id
    }

    /// Takes what the driver sends on a queue, and says that it is sent.
    pub(super) fn collect(&self, queue: usize) -> Option<Vec<u8>> {
        let (id, parts) = self.next(queue)?;
        let bytes = parts.iter().flat_map(|(address, length)| {
            (0..u64::from(*length)).map(move |offset| at::<u8>(address + offset).load())
        });
        let bytes = bytes.collect();
        self.use_up(queue, id, 0);
        Some(bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// A value somewhere in shared memory.
struct At<T>(*mut T);

fn at<T>(address: u64) -> At<T> {
    At(core::ptr::with_exposed_provenance_mut(address as usize))
}

impl<T: Copy> At<T> {
    fn load(&self) -> T {
        // SAFETY: the driver gave this address as that of memory shared with the device.
        unsafe { self.0.read_volatile() }
    }

    fn store(&self, value: T) {
        // SAFETY: as for `load`.
        unsafe { self.0.write_volatile(value) }
    }
}

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
    }

    fn read_device_features(&mut self) -> u64 {
        self.state().features
    }

    fn write_driver_features(&mut self, features: u64) {
        self.state().accepted = features;
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        if queue < 2 { self.state().queue_max } else { 0 }
    }

    fn notify(&mut self, queue: u16) {
        self.state().notified.push(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        let state = self.state();
        let mut status = DeviceStatus::from_bits_retain(state.status);
        status.set(DeviceStatus::FEATURES_OK, !state.refuses);
        status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.state().status = status.bits();
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, driver: u64, device: u64) {
        let queue = &mut self.state().queues[usize::from(queue)];
        *queue = Queue { size: size as u16, descriptors, driver, device, ..Queue::default() };
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let state = self.state();
        let bytes = state.config.get(offset..).ok_or(Error::ConfigSpaceTooSmall)?;
        let (value, _) = T::read_from_prefix(bytes).map_err(|_| Error::ConfigSpaceTooSmall)?;
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        Ok(())
    }
}
