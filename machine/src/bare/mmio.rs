//! Virtio devices at the addresses that the command line gives (microvm).
//!
//! QEMU appends `virtio_mmio.device=512@0xfeb00e00:12` for each slot when ACPI is off: size,
//! address, pin of the I/O APIC. The format is Linux's.

use super::apic;
use super::nic::{Console, Nic};
use super::paging::map_device;
use super::start::Devices;
use super::transport::Device;
use crate::virtio::console::Port;
use crate::virtio::net::Net;
use core::ptr::NonNull;
use virtio_drivers::transport::mmio::{MmioTransport, MmioVersion, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

const SIZE: usize = 512;

struct Place {
    address: u64,
    pin: u8,
}

/// Looks for devices and sets up the first of each kind.
pub(super) fn probe(command_line: &str, devices: &mut Devices) {
    for place in command_line.split_ascii_whitespace().filter_map(parse) {
        let Some(transport) = transport(&place) else { continue };
        match transport.device_type() {
            DeviceType::Network if devices.nic.is_none() => {
                devices.nic = nic(transport, place.pin);
            }
            DeviceType::Console if devices.console.is_none() => {
                devices.console = console(transport);
            }
            _ => {}
        }
    }
}

fn parse(word: &str) -> Option<Place> {
    let rest = word.strip_prefix("virtio_mmio.device=")?;
    let (size, rest) = rest.split_once('@')?;
    let (address, pin) = rest.split_once(':')?;
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
    let place = Place { address, pin: pin.parse().ok()? };
    (size.parse() == Ok(SIZE) && address.is_multiple_of(SIZE as u64)).then_some(place)
}

/// The device at a place; `None` for an empty slot, and with a message for a legacy device.
fn transport(place: &Place) -> Option<MmioTransport<'static>> {
    let header = NonNull::new(map_device(place.address, SIZE)?)?.cast::<VirtIOHeader>();
    // SAFETY: just mapped, aligned to 512, and the command line says that a transport is there; if
    // it lies, the magic number is wrong. Each place is probed once.
    let transport = unsafe { MmioTransport::new(header, SIZE) }.ok()?;
    if transport.version() == MmioVersion::Legacy {
        log::error!("legacy virtio device: use -global virtio-mmio.force-legacy=false");
        return None;
    }
    Some(transport)
}

fn nic(transport: MmioTransport<'static>, pin: u8) -> Option<Nic> {
    match Net::new(Device::new(transport.into()), || apic::route(pin)) {
        Ok(net) => Some(Nic::new(net, true)),
        Err(error) => {
            log::error!("network card at pin {pin}: {error}");
            None
        }
    }
}

fn console(transport: MmioTransport<'static>) -> Option<Console> {
    match Port::new(Device::new(transport.into())) {
        Ok(port) => Some(Console::new(port)),
        Err(error) => {
            log::error!("console: {error}");
            None
        }
    }
}
