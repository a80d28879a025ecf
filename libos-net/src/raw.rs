//! Raw sockets: whole frames in and out of one binding.

use alloc::boxed::Box;

use abi::limits::FRAME_BYTES_MAX;
use libos::rings::SendError;
use libos::{Binding, Env, Grant, Rings, clock};

use crate::filter;
use crate::net::SocketError;

/// A binding with rings, and no stack.
#[derive(Debug)]
pub struct RawSocket {
    rings: Rings,
    buffer: Box<[u8; FRAME_BYTES_MAX]>,
}

impl RawSocket {
    /// Binds what an expression says, `udp and dst port 7777`, with an ASH or without.
    ///
    /// # Errors
    /// [`SocketError`]: the expression, or the kernel's refusal.
    pub fn bind_expression(
        own: Env,
        grant: Grant,
        expression: &str,
        ash: Option<&[u8]>,
    ) -> Result<RawSocket, SocketError> {
        let filter = filter::from_expression(expression)?;
        Self::bind_bytes(own, grant, &filter, ash)
    }

    /// Binds a filter given as eBPF bytes.
    ///
    /// # Errors
    /// [`SocketError::Bind`] with the kernel's refusal.
    pub fn bind_bytes(
        own: Env,
        grant: Grant,
        filter: &[u8],
        ash: Option<&[u8]>,
    ) -> Result<RawSocket, SocketError> {
        let rings = Rings::bind(own, grant, filter, ash)?;
        Ok(RawSocket { rings, buffer: Box::new([0; FRAME_BYTES_MAX]) })
    }

    /// The next frame, if one is there.
    pub fn try_receive(&mut self) -> Option<&[u8]> {
        let length = self.rings.receive(&mut self.buffer[..])?;
        self.buffer.get(..length)
    }

    /// The next frame; `None` when the monotonic time `deadline_ns` passes first.
    pub fn receive(&mut self, deadline_ns: u64) -> Option<&[u8]> {
        loop {
            if let Some(length) = self.rings.receive(&mut self.buffer[..]) {
                return self.buffer.get(..length);
            }
            if clock::wait(deadline_ns).deadline() && !self.rings.pending() {
                return None;
            }
        }
    }

    /// Sends a frame. The guard may still refuse it: [`Binding::stats`] tells.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        self.rings.send(frame)
    }

    /// The binding.
    pub fn binding(&self) -> Binding {
        self.rings.binding()
    }
}
