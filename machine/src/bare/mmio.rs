//! Virtio devices at the addresses that the command line gives (microvm).
//!
//! Each is in a slot that the command line names ([`crate::virtio::place`]).

use super::apic;
use super::nic::{Console, Nic};
use super::paging::map_device;
use super::start::Devices;
use super::transport::Device;
use crate::virtio::console::Port;
use crate::virtio::net::Net;
use crate::virtio::place::{Place, SIZE};
use core::ptr::NonNull;
use virtio_drivers::transport::mmio::{MmioTransport, MmioVersion, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

/// Looks for devices and sets up the first of each kind.
pub(super) fn probe(command_line: &str, devices: &mut Devices) {
    for place in command_line.split_ascii_whitespace().filter_map(Place::parse) {
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
