//! Virtio devices on PCI bus 0 (q35), with MSI-X for the network card.
//!
//! Only bus 0 is looked at: that is where QEMU puts devices that are not told otherwise. Firmware
//! has assigned the memory ranges; here they are only used.

use super::apic;
use super::hal::KernelHal;
use super::nic::{Console, Nic};
use super::paging::map_device;
use super::port;
use super::start::Devices;
use super::transport::Device;
use crate::virtio::console::Port;
use crate::virtio::net::Net;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot,
};
use virtio_drivers::transport::pci::{
    PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, virtio_device_type,
};
use x86_64::instructions::port::Port as IoPort;

const MSIX: u8 = 0x11;
/// Offsets in virtio's common configuration (virtio 1.2, 4.1.4.3).
const MSIX_CONFIG: usize = 16;
const QUEUE_SELECT: usize = 22;
const QUEUE_VECTOR: usize = 26;
const QUEUE_NOTIFY: usize = 30;
const COMMON_BYTES: usize = 56;
const NO_VECTOR: u16 = 0xffff;

/// Configuration mechanism 1: an address port and a data port.
struct Ports;

impl Ports {
    fn select(function: DeviceFunction, register: u8) {
        let DeviceFunction { bus, device, function } = function;
        let address = 1 << 31
            | u32::from(bus) << 16
            | u32::from(device) << 11
            | u32::from(function) << 8
            | u32::from(register & 0xfc);
        // SAFETY: selects a configuration register. No effect on memory.
        unsafe { IoPort::new(0xcf8).write(address) }
    }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        Self::select(function, register);
        // SAFETY: reads the selected register. No effect on memory.
        unsafe { IoPort::new(0xcfc).read() }
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        Self::select(function, register);
        // SAFETY: writes the selected register; devices are only told to use memory that is theirs.
        unsafe { IoPort::new(0xcfc).write(data) }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Looks for devices and sets up the first of each kind.
pub(super) fn probe(devices: &mut Devices) {
    let mut root = PciRoot::new(Ports);
    for (function, info) in root.enumerate_bus(0) {
        match virtio_device_type(&info) {
            Some(DeviceType::Network) if devices.nic.is_none() => {
                devices.nic = nic(&mut root, function);
            }
            Some(DeviceType::Console) if devices.console.is_none() => {
                devices.console = console(&mut root, function);
            }
            _ => {}
        }
    }
}

fn nic(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<Nic> {
    let transport = transport(root, function)?;
    match Net::new(transport, || route(root, function).is_some()) {
        Ok(net) => Some(Nic::new(net, false)),
        Err(error) => {
            log::error!("network card at {function}: {error}");
            None
        }
    }
}

fn console(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<Console> {
    match Port::new(transport(root, function)?) {
        Ok(port) => Some(Console::new(port)),
        Err(error) => {
            log::error!("console at {function}: {error}");
            None
        }
    }
}

fn transport(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<Device> {
    root.set_command(function, Command::MEMORY_SPACE | Command::BUS_MASTER);
    match PciTransport::new::<KernelHal, _>(root, function) {
        Ok(transport) => {
            let bells = bells(root, function)?;
            // SAFETY: the bells are notification registers of this device, mapped for good.
            Some(unsafe { Device::with_bells(transport.into(), bells) })
        }
        Err(error) => {
            log::error!("virtio device at {function}: {error}");
            None
        }
    }
}

/// Sends both queues' interrupts to the card's vector, by entry 0 of the MSI-X table.
fn route(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<()> {
    let msix = root.capabilities(function).find(|capability| capability.id == MSIX)?;
    let access = Ports;
    let table = access.read_word(function, msix.offset + 4);
    let table = bar(root, function, (table & 7) as u8, u64::from(table & !7), 16)?;
    let message = [0xfee0_0000 | u32::from(apic::id()) << 12, 0, u32::from(apic::NIC), 0];
    for (index, word) in message.into_iter().enumerate() {
        // SAFETY: entry 0 of the MSI-X table, just mapped: 16 bytes.
        unsafe { table.cast::<u32>().add(index).write_volatile(word) };
    }
    let control = access.read_word(function, msix.offset);
    let enable = control & !(1 << 30) | 1 << 31;
    Ports.write_word(function, msix.offset, enable);

    let common = common(root, function)?;
    let write = |register: usize, value: u16| {
        // SAFETY: a 16-bit register of the common configuration, just mapped.
        unsafe {
            let register = common.add(register).cast::<u16>();
            register.write_volatile(value);
            register.read_volatile()
        }
    };
    write(MSIX_CONFIG, NO_VECTOR);
    for queue in 0..2 {
        write(QUEUE_SELECT, queue);
        if write(QUEUE_VECTOR, 0) != 0 {
            return None;
        }
    }
    Some(())
}

/// Maps the device's common configuration.
fn common(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<*mut u8> {
    let (index, offset, _) = structure(root, function, VIRTIO_PCI_CAP_COMMON_CFG)?;
    bar(root, function, index, offset, COMMON_BYTES)
}

/// Maps the registers that tell the device about queues 0 and 1. Where they are is the device's
/// word, so it is checked once here, and not asked for again at each notification.
fn bells(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Option<[*mut u16; 2]> {
    let (index, base, at) = structure(root, function, VIRTIO_PCI_CAP_NOTIFY_CFG)?;
    let multiplier = Ports.read_word(function, at.checked_add(16)?);
    let common = common(root, function)?;
    let mut bells = [core::ptr::null_mut(); 2];
    for (queue, bell) in (0_u16..).zip(&mut bells) {
        // SAFETY: 16-bit registers of the common configuration, just mapped.
        let slot = unsafe {
            common.add(QUEUE_SELECT).cast::<u16>().write_volatile(queue);
            common.add(QUEUE_NOTIFY).cast::<u16>().read_volatile()
        };
        let offset = base + u64::from(slot) * u64::from(multiplier);
        *bell = bar(root, function, index, offset, 2)?.cast();
    }
    Some(bells)
}

/// Where one of virtio's structures is: which memory range, the offset in it, and the capability
/// that says so.
fn structure(root: &PciRoot<Ports>, function: DeviceFunction, kind: u8) -> Option<(u8, u64, u8)> {
    let capability = root.capabilities(function).find(|capability| {
        capability.id == PCI_CAP_ID_VNDR && (capability.private_header >> 8) as u8 == kind
    })?;
    let at = capability.offset;
    let index = Ports.read_word(function, at.checked_add(4)?) as u8;
    let offset = u64::from(Ports.read_word(function, at.checked_add(8)?));
    Some((index, offset, at))
}

/// Maps `bytes` at an offset of one of the device's memory ranges.
fn bar(
    root: &mut PciRoot<Ports>,
    function: DeviceFunction,
    index: u8,
    offset: u64,
    bytes: usize,
) -> Option<*mut u8> {
    let info = (index < 6).then(|| root.bar_info(function, index).ok().flatten()).flatten()?;
    let (address, size) = info.memory_address_size()?;
    let fits = offset.checked_add(bytes as u64).is_some_and(|end| end <= size);
    let aligned = offset.is_multiple_of(2);
    (fits && aligned && address != 0).then(|| map_device(address + offset, bytes)).flatten()
}

/// Whether there is a PCI host bridge at all.
pub(super) fn present() -> bool {
    // SAFETY: reads the address port back. No effect on memory.
    unsafe {
        let mut address = IoPort::<u32>::new(0xcf8);
        address.write(1 << 31);
        let _ = port::read8(0x80);
        address.read() == 1 << 31
    }
}
