//! Asking a machine for something and waiting for what comes of it.
//!
//! An *exchange* is a raw frame and its answer on the wire; a *command* is an exchange with `init`;
//! a *record* is what the kernel says on the framed channel. All of them end when the machine does.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use abi::books::Books;
use abi::record::Record;

use super::{Machine, MachineError};
use crate::limits;
use crate::wire::frames;

impl Machine {
    /// Puts a raw frame on the wire.
    ///
    /// # Errors
    /// [`MachineError::Died`], or [`MachineError::Setup`] when QEMU lives but takes no frame.
    pub fn send(&self, frame: &[u8]) -> Result<(), MachineError> {
        let Err(source) = self.wire().send(frame) else { return Ok(()) };
        // A machine that has just died is not always known to have; it is, a moment later.
        let gone = self.wait("sending a raw frame", limits::SILENCE, || None::<()>);
        match gone {
            Err(died @ MachineError::Died { .. }) => Err(died),
            _ => Err(MachineError::Setup { what: "sending a raw frame".to_owned(), source }),
        }
    }

    /// Sends a frame and waits for a frame in which `look` finds an answer.
    ///
    /// # Errors
    /// As [`Machine::send`] and [`Machine::wait`].
    pub fn exchange<T>(
        &self,
        during: &str,
        frame: &[u8],
        within: Duration,
        mut look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, MachineError> {
        let mark = self.wire().mark();
        self.send(frame)?;
        self.wait(during, within, || self.wire().find(mark, &mut look))
    }

    /// Sends a frame to which `look` must find no answer; returns what it did find.
    ///
    /// # Errors
    /// As [`Machine::send`] and [`Machine::wait`], but silence is success.
    pub fn silence<T>(
        &self,
        during: &str,
        frame: &[u8],
        look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, MachineError> {
        match self.exchange(during, frame, limits::SILENCE, look) {
            Ok(found) => Ok(Some(found)),
            Err(MachineError::Hung { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Gives `init` a command; returns what stands behind `ok`.
    ///
    /// # Errors
    /// [`MachineError::Command`] when `init` says anything but `ok`; otherwise as
    /// [`Machine::exchange`].
    pub fn command(&self, text: &str) -> Result<String, MachineError> {
        let during = format!("waiting for init's answer to `{text}`");
        let frame = self.sealed(text);
        let answer =
            self.exchange(&during, &frame, limits::CONTROL, |f| frames::control_answer(f, text))?;
        match answer.strip_prefix("ok") {
            Some(value) => Ok(value.trim().to_owned()),
            None => Err(MachineError::Command { command: text.to_owned(), answer }),
        }
    }

    /// Waits for a record, from a mark of the journal on.
    ///
    /// # Errors
    /// As [`Machine::wait`].
    pub fn record<T>(
        &self,
        mark: usize,
        during: &str,
        mut look: impl FnMut(&Record) -> Option<T>,
    ) -> Result<T, MachineError> {
        self.wait(during, limits::RECORD, || self.journal().find(mark, &mut look))
    }

    /// The kernel's books, now.
    ///
    /// # Errors
    /// As [`Machine::command`] and [`Machine::record`].
    pub fn books(&self) -> Result<Books, MachineError> {
        let (mark, mut asked) = (self.journal().mark(), 0);
        loop {
            self.command("books")?;
            asked += 1;
            let books = self.wait("waiting for the books", limits::BOOKS, || {
                self.journal().find(mark, |record| match record {
                    Record::Books(books) => Some(*books),
                    _ => None,
                })
            });
            match books {
                // Where the channel is full of other records (`trace`), this one may be lost.
                Err(MachineError::Hung { .. }) if asked < limits::BOOKS_ASKED => {}
                answer => return answer,
            }
        }
    }

    /// Has the kernel audit itself; `None` if everything adds up, otherwise what it says.
    ///
    /// # Errors
    /// As [`Machine::command`].
    pub fn audit(&self) -> Result<Option<String>, MachineError> {
        let value = self.command("audit")?;
        Ok((value != "0").then_some(value))
    }

    /// Stops the machine through `init`; returns QEMU's status.
    ///
    /// # Errors
    /// [`MachineError::Hung`] when it does not stop.
    pub fn halt(&self, code: u8) -> Result<ExitStatus, MachineError> {
        let deadline = Instant::now() + limits::HALT;
        self.send(&self.sealed(&format!("halt {code}")))?;
        self.wait_end(deadline.saturating_duration_since(Instant::now()))
    }
}
