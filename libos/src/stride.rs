//! A stride scheduler in ring 3, on nothing but the kernel's yield to a named environment.
//!
//! Waldspurger and Weihl, "Stride Scheduling" (MIT/LCS/TM-528, 1995): each client has tickets and
//! with them a stride, inversely proportional; whoever has the smallest pass runs next and its
//! pass advances by its stride. The scheduler owns the positions of the vector; its clients own
//! none and run for the rest of each slice that it gives them.

use abi::Status;
use alloc::vec::Vec;

use crate::capability::Env;
use crate::slice::yield_to;

/// What one ticket's stride is.
const STRIDE: u64 = 1 << 20;

/// Somebody who is scheduled.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    env: Env,
    stride: u64,
    pass: u64,
    /// Quanta that it was given.
    pub quanta: u64,
}

/// The clients.
#[derive(Clone, Debug, Default)]
pub struct Stride {
    clients: Vec<Client>,
}

impl Stride {
    /// Takes a client in; it begins where the one that runs next stands.
    pub fn join(&mut self, env: Env, tickets: u64) {
        let pass = self.clients.iter().map(|client| client.pass).min().unwrap_or(0);
        self.clients.push(Client { env, stride: STRIDE / tickets.max(1), pass, quanta: 0 });
    }

    /// Who is scheduled, in the order in which they joined.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Gives one quantum to whoever is next. A client that has ended is dropped.
    ///
    /// # Errors
    /// `BadArgument` when no client is left.
    pub fn run(&mut self) -> Result<(), Status> {
        loop {
            let next = self.clients.iter().enumerate().min_by_key(|(_, client)| client.pass);
            let at = next.map(|(at, _)| at).ok_or(Status::BadArgument)?;
            let Some(client) = self.clients.get_mut(at) else { continue };
            client.pass += client.stride;
            client.quanta += 1;
            match yield_to(client.env) {
                Ok(()) => return Ok(()),
                Err(_) => drop(self.clients.remove(at)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stride;
    use crate::capability::Env;
    use crate::sys::{Request, host};
    use abi::{Call, Handle, Status};

    #[test]
    fn quanta_are_in_the_ratio_of_the_tickets() {
        let _guard = host::script(|request| match request {
            Request::Plain { call: Call::Yield, args: [9, ..] } => (Status::WrongState as u64, 0),
            Request::Plain { call: Call::Yield, .. } => (0, 0),
            other => panic!("{other:?}"),
        });
        let mut stride = Stride::default();
        assert_eq!(stride.run(), Err(Status::BadArgument));
        for (handle, tickets) in [(1, 3), (2, 2), (9, 5), (3, 1)] {
            stride.join(Env(Handle(handle)), tickets);
        }
        for _ in 0..600 {
            stride.run().unwrap();
        }
        let quanta: std::vec::Vec<u64> = stride.clients().iter().map(|it| it.quanta).collect();
        assert_eq!(quanta, [300, 200, 100]);
    }
}
