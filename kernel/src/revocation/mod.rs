//! Visible revocation and the abort protocol.
//!
//! ```text
//! ask      a request is noted, the environment is told (event and upcall)
//! give     it relinquishes what it chooses; each thing is counted where it goes
//! force    the deadline has passed: what is missing is taken, a batch at each serving
//! tell     entries in the repossession vector, the upcall, an event to who asked
//! ```
//!
//! A page that is given back or taken takes a frame of quota with it, back to the lender, so that
//! what was returned can be used and nothing is gained by allocating it again. Taken are the pages
//! that were allocated last, never a vital one: those that the environment named, its save areas,
//! its vector. A page under a ring is taken after the ring's binding was. The kernel never ends an
//! environment here; what cannot be had is reported to who asked.
//!
//! Requests are in one table of fixed size, a few for each environment that asks, and go when the
//! one that asked or the one that was asked ends.

mod flows;
mod force;
mod vector;

use abi::revocation::{Kind, Progress, REQUESTS_MAX};
use abi::ring::{EVENT_REVOKE, EVENT_REVOKED};
use abi::{Status, upcall};
use alloc::vec::Vec;
use verifier::GrantId;

use crate::Kernel;
use crate::environment::EnvironmentId;
use crate::upcall::Cause;

pub(crate) use vector::Repossession;

/// Requests at most: so many for each environment.
const TABLE_MAX: usize = abi::limits::ENVIRONMENTS_MAX * REQUESTS_MAX;

/// Who or what a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An environment is to give back so many of a kind.
    Environment(EnvironmentId, Kind),
    /// Whoever uses the grant is to stop using it.
    Grant(GrantId),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) number: u32,
    pub(crate) by: EnvironmentId,
    pub(crate) subject: Subject,
    pub(crate) deadline: u64,
    pub(crate) progress: Progress,
}

impl Request {
    /// The environment that is asked, if it is one.
    fn asked(&self) -> Option<EnvironmentId> {
        match self.subject {
            Subject::Environment(id, _) => Some(id),
            Subject::Grant(_) => None,
        }
    }

    fn is_open_for(&self, id: EnvironmentId, kind: Kind) -> bool {
        self.subject == Subject::Environment(id, kind) && !self.progress.over
    }
}

/// All requests.
pub(crate) struct Revocations {
    requests: Vec<Request>,
    last: u32,
    /// What goes now is taken, not given: the request's number.
    forcing: Option<u32>,
    /// A binding went: a grant that was called back may be free of others now.
    stirred: bool,
}

impl Revocations {
    pub(crate) fn new() -> Revocations {
        let requests = Vec::with_capacity(TABLE_MAX);
        Revocations { requests, last: 0, forcing: None, stirred: false }
    }

    /// Whether something is to be done now.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.stirred || self.next_deadline() <= now
    }

    /// Whether there is something to be done now.
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// When the next thing is to be done, in nanoseconds since boot.
    pub(crate) fn next_deadline(&self) -> u64 {
        let open = self.requests.iter().filter(|it| !it.progress.over);
        open.map(|it| it.deadline).min().unwrap_or(u64::MAX)
    }

    fn get(&self, number: u32) -> Option<&Request> {
        self.requests.iter().find(|it| it.number == number)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|it| it.number == number)
    }

    /// Notes a request, in the place of an earlier one by the same about the same that is over.
    fn add(
        &mut self,
        by: EnvironmentId,
        subject: Subject,
        deadline: u64,
        amount: u16,
    ) -> Result<u32, Status> {
        let same = |it: &Request| match (it.asked(), subject) {
            (Some(asked), Subject::Environment(id, _)) => it.by == by && asked == id,
            _ => it.by == by && it.subject == subject,
        };
        if self.requests.iter().any(|it| same(it) && !it.progress.over) {
            return Err(Status::WrongState);
        }
        self.requests.retain(|it| !same(it));
        if self.requests.iter().filter(|it| it.by == by).count() >= REQUESTS_MAX {
            // The oldest that is over makes room: its outcome was not asked for.
            let over = self.requests.iter().position(|it| it.by == by && it.progress.over);
            self.requests.remove(over.ok_or(Status::Limit)?);
        }
        self.last = self.last.wrapping_add(1).max(1);
        let number = self.last;
        let progress = Progress { short: amount, ..Progress::default() };
        self.requests.push(Request { number, by, subject, deadline, progress });
        Ok(number)
    }
}

impl Kernel {
    /// Asks an environment for `amount` of a kind until `deadline`; the request's number.
    ///
    /// # Errors
    /// [`Status::WrongState`] while a request of the caller's to it is open, [`Status::Limit`].
    pub(crate) fn ask(
        &mut self,
        by: EnvironmentId,
        (asked, kind): (EnvironmentId, Kind),
        amount: u16,
        deadline: u64,
    ) -> Result<u32, Status> {
        let subject = Subject::Environment(asked, kind);
        let number = self.revocations.add(by, subject, deadline, amount)?;
        self.scheduler.next_deadline = self.scheduler.next_deadline.min(deadline);
        log::debug!("environment {} asks {} for {amount} {kind:?}", by.0, asked.0);
        self.tell(asked, (kind, number), u64::from(amount), deadline);
        Ok(number)
    }

    /// Tells an environment what it is asked for.
    fn tell(
        &mut self,
        asked: EnvironmentId,
        (kind, number): (Kind, u32),
        argument: u64,
        deadline: u64,
    ) {
        self.post(asked, EVENT_REVOKE);
        let (detail, error) = (kind as u64, u64::from(number));
        let cause = Cause { detail, error, address: deadline, argument };
        self.raise(asked, upcall::Kind::Revoke, cause);
    }

    /// Something of `owner`'s went: it counts for the oldest open request, and a page takes its
    /// frame of quota back to the lender.
    pub(crate) fn returned(&mut self, owner: EnvironmentId, kind: Kind) {
        let forcing = self.revocations.forcing;
        if kind == Kind::Bindings {
            self.revocations.stirred = true;
        }
        let requests = &mut self.revocations.requests;
        let counts = |it: &&mut Request| {
            it.is_open_for(owner, kind) && forcing.is_none_or(|number| number == it.number)
        };
        let Some(request) = requests.iter_mut().find(counts) else { return };
        if forcing.is_some() {
            request.progress.taken += 1;
        } else {
            request.progress.given += 1;
        }
        request.progress.short = request.progress.short.saturating_sub(1);
        let (number, done) = (request.number, request.progress.short == 0);
        if kind == Kind::Pages {
            self.return_quota(owner);
        }
        if done {
            self.conclude(number);
        }
    }

    /// A frame of quota goes back to the lender. The page that was given back has made room.
    fn return_quota(&mut self, borrower: EnvironmentId) {
        let Some(environment) = self.environments.get_mut(borrower) else { return };
        let Some(lender) = environment.parent else { return };
        if environment.account.available() == 0 {
            return;
        }
        environment.account.quota -= 1;
        if let Some(lender) = self.environments.get_mut(lender) {
            lender.account.quota += 1;
        }
    }

    /// The request is over, whatever was had; who asked is told.
    fn conclude(&mut self, number: u32) {
        let Some(request) = self.revocations.get_mut(number) else { return };
        request.progress.over = true;
        let Request { by, progress, .. } = *request;
        log::debug!("request {number} of environment {}: {progress:?}", by.0);
        self.post(by, EVENT_REVOKED);
    }

    /// What has become of a request; one that is over is forgotten.
    pub(crate) fn progress_of(
        &mut self,
        by: EnvironmentId,
        asked: EnvironmentId,
    ) -> Option<Progress> {
        let requests = &mut self.revocations.requests;
        let at = requests.iter().position(|it| it.by == by && it.asked() == Some(asked))?;
        let progress = requests.get(at)?.progress;
        if progress.over {
            requests.remove(at);
        }
        Some(progress)
    }

    /// Requests that an environment has to see to, oldest first.
    pub(crate) fn pending_for(
        &self,
        asked: EnvironmentId,
    ) -> impl Iterator<Item = abi::revocation::Pending> + '_ {
        let open = self.revocations.requests.iter().filter(|it| !it.progress.over);
        open.filter_map(move |it| {
            let (kind, left, name) = match it.subject {
                Subject::Environment(id, kind) if id == asked => {
                    (kind, u64::from(it.progress.short), 0)
                }
                Subject::Grant(grant) if it.by != asked => {
                    let left = self.bindings_under(grant, asked);
                    (Kind::Grants, left, grant.to_raw())
                }
                _ => return None,
            };
            let request = u64::from(it.number);
            let pending = abi::revocation::Pending {
                request,
                kind: kind as u64,
                left,
                name,
                deadline: it.deadline,
            };
            (left > 0).then_some(pending)
        })
    }

    /// Does what is due: bounded work for each request, more of it at the next serving.
    pub(crate) fn keep_deadlines(&mut self, now: u64) {
        if core::mem::take(&mut self.revocations.stirred) {
            self.settle_recalls();
        }
        if self.revocations.next_deadline() > now {
            return;
        }
        let due = |it: &Request| !it.progress.over && it.deadline <= now;
        let numbers = self.revocations.requests.iter().filter(|it| due(it)).map(|it| it.number);
        let numbers: Vec<u32> = numbers.collect();
        for number in numbers {
            self.revocations.forcing = Some(number);
            self.force(number);
            self.revocations.forcing = None;
            self.poll_card();
        }
        self.raise_repossessions();
    }

    /// One batch of what a request is owed.
    fn force(&mut self, number: u32) {
        let Some(&Request { subject, by, progress, .. }) = self.revocations.get(number) else {
            return;
        };
        let more = match subject {
            Subject::Environment(id, Kind::Pages) => self.take_pages(id, progress.short),
            Subject::Environment(id, Kind::Bindings) => self.take_newest_binding(id),
            Subject::Environment(id, Kind::Grants) => self.take_newest_grant(id),
            Subject::Environment(id, Kind::Slices) => self.take_last_slice(id),
            Subject::Grant(grant) => {
                self.revoke_grant(grant, Some(by));
                false
            }
        };
        let over = self.revocations.get(number).is_none_or(|it| it.progress.over);
        if !more && !over {
            self.conclude(number);
        }
    }

    /// An environment ends: what it asked for is dropped, what it was asked for is over.
    pub(crate) fn forget_revocations(&mut self, id: EnvironmentId) {
        self.revocations.requests.retain(|it| it.by != id);
        let asked = self.revocations.requests.iter().filter(|it| it.asked() == Some(id));
        let numbers: Vec<u32> = asked.map(|it| it.number).collect();
        for number in numbers {
            self.conclude(number);
        }
        self.forget_repossession(id);
    }

    /// The request whose force this is; 0 outside of one.
    fn forcing(&self) -> u32 {
        self.revocations.forcing.unwrap_or(0)
    }
}
