//! The packet path: poll, classify, run, deliver, count.
//!
//! A received packet ends in exactly one place: answered by its owner's ASH, in its owner's ring,
//! or dropped with a reason; [`Kernel::packet`] is that decision and the only place that counts it.
//! What every answer goes through is inlined here, into one straight line; what is rarer is not.
//! It runs whoever is scheduled, allocates nothing (records apart, which are only made while there
//! is room), and takes at most [`BATCH_MAX`] packets before it returns.

use abi::books::Reason;
use abi::record::{Record, Verdict};
use abi::ring::{EVENT_PACKET, EVENT_TRANSMITTED};
use alloc::vec::Vec;
use machine::{Nic, Received};
use verifier::{BindingId, GrantId};

use crate::Kernel;
use crate::binding::Binding;
use crate::charge::Till;
use crate::fragment::{self, Fragment};
use crate::grant::GrantRecord;
use crate::initiate::{Done, Outbox};
use crate::limits::{BATCH_MAX, HEAP_HEADROOM};
use crate::network::Network;
use crate::ring::{Rings, is_frame_length};
use crate::slots::Slots;
use crate::stages::{Marks, Stage, Stages};
use crate::transmit::let_out;

/// What is to be done with a packet that is not answered in its place.
enum Action {
    Deliver,
    /// No ASH saw it: its owner's allowance is spent.
    FallBack,
    Drop(Reason),
}

/// Where an ASH's reply goes, and what it has to pass.
struct Exit<'a> {
    binding: &'a mut Binding,
    grants: &'a Slots<GrantId, GrantRecord>,
    nic: &'a mut Option<Nic>,
}

impl Exit<'_> {
    /// Does what an ASH has said, if that is to answer: a reply is one that the grant's guard lets
    /// out.
    #[inline(always)]
    fn take(
        self,
        packet: Received,
        said: u64,
        marks: &mut impl Marks,
    ) -> Result<(), (Received, Action)> {
        match u32::try_from(said) {
            Ok(ebpf::context::TX) => {}
            Ok(ebpf::context::PASS) => return Err((packet, Action::Deliver)),
            Ok(ebpf::context::DROP) => return Err((packet, Action::Drop(Reason::AshDrop))),
            _ => return Err((packet, Action::Drop(Reason::AshAborted))),
        }
        let Some(grant) = self.grants.get(&self.binding.grant) else {
            return Err((packet, Action::Drop(Reason::Guard)));
        };
        if let Err(reason) = let_out(grant, packet.frame()) {
            return Err((packet, Action::Drop(reason)));
        }
        marks.mark(Stage::Handler);
        let Some(nic) = self.nic else {
            return Err((packet, Action::Drop(Reason::CardFull)));
        };
        match nic.reply(packet) {
            Ok(()) => {
                self.binding.stats.answered += 1;
                Ok(())
            }
            Err(packet) => Err((packet, Action::Drop(Reason::CardFull))),
        }
    }
}

impl Kernel {
    /// Takes a batch of what the card has received and completes what it has sent.
    pub(crate) fn poll_card(&mut self) {
        self.looks();
        if !self.network.is_pending() {
            return self.network.quiet();
        }
        if self.options.latency {
            self.take_batch_by_stages();
        } else {
            self.take_batch(&mut ());
        }
    }

    #[inline(never)]
    fn take_batch_by_stages(&mut self) {
        let picked_up = self.network.pick_up();
        let mut stages = Stages::new(picked_up);
        self.take_batch(&mut stages);
        self.report_stages(&stages);
    }

    #[inline(always)]
    fn take_batch(&mut self, marks: &mut impl Marks) {
        self.network.tick(machine::time::now_ns());
        for _ in 0..BATCH_MAX {
            let received = self.network.nic.as_mut().and_then(|nic| nic.receive());
            let Some(packet) = received else { break };
            marks.mark(Stage::Driver);
            self.packet(packet, marks);
        }
        // Answers first; what was sent before and which buffers the card can have is for later.
        if let Some(nic) = &mut self.network.nic {
            nic.kick_transmit();
        }
        marks.mark(Stage::Reply);
        if self.network.nic.as_mut().is_some_and(|nic| nic.finish()) {
            self.complete_transmissions();
        }
        if !self.network.held_back.is_empty() {
            self.tell_of_room();
        }
        // Dropped and delivered packets gave buffers back as well: a card that ran out of them
        // waits to be told, and would wait for ever.
        self.kick();
    }

    /// One packet's way, and its place in the books.
    #[inline(always)]
    fn packet(&mut self, packet: Received, marks: &mut impl Marks) {
        self.counters.rx.received += 1;
        let trace = if self.options.trace { self.copy_for_trace(packet.frame()) } else { None };
        let owner = self.classify(packet.frame());
        marks.mark(Stage::Classify);
        let verdict = match owner {
            Ok(owner) => match self.run_ash(owner, packet, marks) {
                Ok(()) => Ok(Verdict::Answered(owner.to_raw())),
                Err((packet, action)) => {
                    marks.mark(Stage::Handler);
                    Err(self.keep(owner, packet, action, marks.picked_up()))
                }
            },
            Err(Reason::Fragment) => Err(self.take_fragment(packet, marks.picked_up())),
            Err(reason) => Err(self.drop_packet(packet, None, reason)),
        };
        let verdict = match verdict {
            Ok(answered) => {
                self.counters.rx.answered += 1;
                answered
            }
            Err(kept) => self.count(kept),
        };
        if self.options.trace {
            self.trace(verdict, trace);
        }
        marks.ended(verdict);
    }

    /// The place in the books of a packet that was not answered.
    #[inline(never)]
    fn count(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Delivered(_) => self.counters.rx.delivered += 1,
            Verdict::Dropped(reason, _) => self.counters.dropped(reason),
            Verdict::Answered(_) | Verdict::Sent(_) | Verdict::Refused(..) => {}
        }
        verdict
    }

    /// What is not answered in its place.
    #[inline(never)]
    fn keep(
        &mut self,
        owner: BindingId,
        packet: Received,
        action: Action,
        picked_up: Option<u64>,
    ) -> Verdict {
        match action {
            Action::Drop(reason) => self.drop_packet(packet, Some(owner), reason),
            Action::FallBack => self.fall_back(owner, packet, picked_up),
            Action::Deliver => self.deliver(owner, packet, picked_up),
        }
    }

    /// Whose packet it is, if it is one.
    #[inline(always)]
    fn classify(&mut self, frame: &[u8]) -> Result<BindingId, Reason> {
        if !is_frame_length(frame.len()) {
            return Err(Reason::Length);
        }
        let fragment = fragment::of(frame);
        if fragment == Fragment::Later {
            return Err(Reason::Fragment);
        }
        let dpf::Verdict::Bound(id) = self.network.engine.classify(frame) else {
            return Err(Reason::Unbound);
        };
        if fragment == Fragment::First {
            self.begin_datagram(id, frame)?;
        }
        Ok(id)
    }

    /// Remembers whose a datagram is, by its first fragment.
    #[cold]
    fn begin_datagram(&mut self, id: BindingId, frame: &[u8]) -> Result<(), Reason> {
        let network = &mut self.network;
        let owner = network.bindings.get(&id).ok_or(Reason::Unbound)?.owner;
        let piece = network.pieces.read(frame)?;
        network.pieces.begin(piece, (id, owner), machine::time::now_ns())
    }

    /// A later fragment: into the ring of whoever has the first, past the ASH, which would read
    /// ports where there are none.
    #[cold]
    fn take_fragment(&mut self, packet: Received, picked_up: Option<u64>) -> Verdict {
        let pieces = &mut self.network.pieces;
        let piece = pieces.read(packet.frame());
        let whose = piece.and_then(|piece| pieces.next(piece, machine::time::now_ns()));
        match whose {
            Err(reason) => self.drop_packet(packet, None, reason),
            Ok(id) => {
                if let Some(binding) = self.network.bindings.get_mut(&id) {
                    binding.stats.received += 1;
                }
                self.deliver(id, packet, picked_up)
            }
        }
    }

    /// Runs the owner's ASH in place, whether or not the owner is running, if the owner can pay,
    /// and sends its answer, if that is what it says.
    #[inline(always)]
    fn run_ash(
        &mut self,
        owner: BindingId,
        mut packet: Received,
        marks: &mut impl Marks,
    ) -> Result<(), (Received, Action)> {
        let Network { bindings, grants, nic, period, .. } = &mut self.network;
        let Some(binding) = bindings.get_mut(&owner) else {
            return Err((packet, Action::Drop(Reason::Unbound)));
        };
        binding.stats.received += 1;
        let Some(ash) = &binding.ash else { return Err((packet, Action::Deliver)) };
        let mut till = Till {
            environments: &mut self.environments,
            scheduler: &mut self.scheduler,
            fixed: self.options.allowance,
            period: *period,
        };
        if !till.charge(binding.owner, binding.ash_cost) {
            return Err((packet, Action::FallBack));
        }
        binding.stats.charged += u64::from(binding.ash_cost);
        if binding.ash_calls {
            return self.run_caller(owner, packet, marks);
        }
        let said = ash.run_frame(packet.frame_mut());
        Exit { binding, grants, nic }.take(packet, said, marks)
    }

    /// The same for an ASH that calls helpers, once it is paid for.
    #[inline(never)]
    fn run_caller(
        &mut self,
        owner: BindingId,
        mut packet: Received,
        marks: &mut impl Marks,
    ) -> Result<(), (Received, Action)> {
        let said = self.run_outgoing(owner, &mut packet);
        let Network { bindings, grants, nic, .. } = &mut self.network;
        match bindings.get_mut(&owner) {
            Some(binding) => Exit { binding, grants, nic }.take(packet, said, marks),
            None => Err((packet, Action::Drop(Reason::Unbound))),
        }
    }

    /// Runs an ASH that may send, wake, print, or move the packet's ends: what it returned.
    fn run_outgoing(&mut self, owner: BindingId, packet: &mut Received) -> u64 {
        let network = &mut self.network;
        let aborted = u64::from(ebpf::context::ABORTED);
        let Some(binding) = network.bindings.get(&owner) else { return aborted };
        let Some(ash) = &binding.ash else { return aborted };
        let payer = self.environments.get_mut(binding.owner);
        let mut outbox = Outbox {
            nic: network.nic.as_mut(),
            staging: &mut network.staging,
            grant: network.grants.get(&binding.grant),
            payer: payer.map(|it| &mut it.downloads),
            keep: self.options.trace && machine::heap::free_bytes() > HEAP_HEADROOM,
            done: Done::default(),
        };
        let mut buffer = packet.buffer();
        let result = ash.run_with(&mut buffer, &mut outbox);
        let (start, len) = (buffer.start(), buffer.len());
        packet.adopt(start, len);
        let (done, payer) = (outbox.done, binding.owner);
        if done.is_something() {
            self.settle(owner, payer, done);
        }
        result
    }

    /// Copies the packet into the owner's ring and tells it.
    fn deliver(&mut self, id: BindingId, packet: Received, picked_up: Option<u64>) -> Verdict {
        let delivered = match self.network.bindings.get_mut(&id) {
            Some(binding) => match &mut binding.rings {
                Some(rings) => {
                    let before = binding.pipe.as_ref().map(|_| machine::time::cycles());
                    let delivered = rings.deliver(packet.frame(), binding.pipe.as_ref());
                    if let Some(before) = before.filter(|_| delivered.is_ok()) {
                        let after = machine::time::cycles();
                        binding.stats.piped += 1;
                        binding.stats.pipe_cycles += after.saturating_sub(before);
                    }
                    delivered.map(|()| binding)
                }
                None => Err(Reason::NoRing),
            },
            None => Err(Reason::Unbound),
        };
        let owner = match delivered {
            Err(reason) => return self.drop_packet(packet, Some(id), reason),
            Ok(binding) => {
                binding.stats.delivered += 1;
                binding.picked_up = picked_up;
                binding.owner
            }
        };
        self.recycle(packet);
        self.post(owner, EVENT_PACKET);
        Verdict::Delivered(id.to_raw())
    }

    /// The owner is broke: its ring takes the packet, as if there were no ASH.
    fn fall_back(&mut self, id: BindingId, packet: Received, picked_up: Option<u64>) -> Verdict {
        self.counters.rx.fell_back += 1;
        let ring = self.network.bindings.get_mut(&id).is_some_and(|binding| {
            binding.stats.fell_back += 1;
            binding.rings.as_ref().is_some_and(Rings::receives)
        });
        if ring {
            self.deliver(id, packet, picked_up)
        } else {
            self.drop_packet(packet, Some(id), Reason::OwnerBroke)
        }
    }

    #[inline(never)]
    fn drop_packet(
        &mut self,
        packet: Received,
        owner: Option<BindingId>,
        reason: Reason,
    ) -> Verdict {
        if let Some(binding) = owner.and_then(|id| self.network.bindings.get_mut(&id)) {
            binding.stats.dropped += 1;
        }
        self.recycle(packet);
        Verdict::Dropped(reason, owner.map(BindingId::to_raw))
    }

    fn recycle(&mut self, packet: Received) {
        if let Some(nic) = &mut self.network.nic {
            nic.recycle(packet);
        }
    }

    /// Advances the rings of whatever the card has finished sending.
    #[inline(never)]
    fn complete_transmissions(&mut self) {
        while let Some(id) = self.network.nic.as_mut().and_then(|nic| nic.completed()) {
            if self.network.staging.complete(id) {
                continue;
            }
            let known = self.network.sending.iter().position(|sending| sending.id == id);
            let Some(at) = known else { continue };
            let sending = self.network.sending.swap_remove(at);
            if let Some(frame) = sending.frame
                && !self.network.is_in_flight(frame)
            {
                self.memory.bury(frame);
            }
            let Some(binding) = self.network.bindings.get_mut(&sending.binding) else { continue };
            let tell = binding.rings.as_mut().is_some_and(|rings| rings.complete(sending.index));
            let owner = binding.owner;
            if tell {
                self.post(owner, EVENT_TRANSMITTED);
            }
        }
    }

    /// Tells the card about what was queued for it.
    #[inline(always)]
    pub(crate) fn kick(&mut self) {
        if let Some(nic) = &mut self.network.nic {
            nic.kick();
        }
    }

    /// A copy of a frame for the channel, if it is asked for and there is room.
    pub(crate) fn copy_for_trace(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let keep = self.options.trace && machine::heap::free_bytes() > HEAP_HEADROOM;
        keep.then(|| frame.to_vec())
    }

    /// Says what became of a frame, if that is asked for.
    pub(crate) fn trace(&mut self, verdict: Verdict, frame: Option<Vec<u8>>) {
        match frame {
            Some(frame) => {
                let at_ns = machine::time::now_ns();
                self.channel.emit(frame.len() + 32, || Record::Packet { at_ns, verdict, frame });
            }
            None if self.options.trace => self.channel.lose(),
            None => {}
        }
    }
}
