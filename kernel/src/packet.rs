//! The packet path: poll, classify, run, deliver, count.
//!
//! A received packet ends in exactly one place: answered by its owner's ASH, in its owner's ring,
//! or dropped with a reason; [`Kernel::packet`] is that decision and the only place that counts it.
//! It runs whoever is scheduled, allocates nothing (records apart, which are only made while there
//! is room), and takes at most [`BATCH_MAX`] packets before it returns.

use abi::books::Reason;
use abi::record::{Record, Verdict};
use abi::ring::{EVENT_PACKET, EVENT_TRANSMITTED};
use alloc::vec::Vec;
use machine::Received;
use verifier::BindingId;

use crate::Kernel;
use crate::charge;
use crate::environment::EnvironmentId;
use crate::fragment::{self, Fragment};
use crate::initiate::{Done, Outbox};
use crate::limits::{BATCH_MAX, HEAP_HEADROOM};
use crate::ring::{Rings, is_frame_length};
use crate::stages::{Marks, Stage, Stages};

/// What a binding's ASH, or its absence, says about a packet.
enum Action {
    Reply,
    Deliver,
    /// No ASH saw it: its owner's allowance is spent.
    FallBack,
    Drop(Reason),
}

impl Kernel {
    /// Takes a batch of what the card has received and completes what it has sent.
    pub(crate) fn poll_card(&mut self) {
        if !self.network.is_pending() {
            return self.network.quiet();
        }
        let picked_up = self.network.pick_up();
        if self.options.latency {
            let mut stages = Stages::new(picked_up);
            self.take_batch(&mut stages);
            self.report_stages(&stages);
        } else {
            self.take_batch(&mut ());
        }
    }

    fn take_batch(&mut self, marks: &mut impl Marks) {
        self.network.period = charge::period_of(machine::time::now_ns());
        for _ in 0..BATCH_MAX {
            let received = self.network.nic.as_mut().and_then(|nic| nic.receive());
            let Some(packet) = received else { break };
            marks.mark(Stage::Driver);
            let verdict = self.packet(packet, marks);
            marks.ended(verdict);
        }
        // Answers first; what was sent before and which buffers the card can have is for later.
        if let Some(nic) = &mut self.network.nic {
            nic.kick_transmit();
        }
        marks.mark(Stage::Reply);
        self.complete_transmissions();
        // Dropped and delivered packets gave buffers back as well: a card that ran out of them
        // waits to be told, and would wait for ever.
        self.kick();
    }

    /// One packet's way, and its place in the books.
    fn packet(&mut self, mut packet: Received, marks: &mut impl Marks) -> Verdict {
        self.counters.rx.received += 1;
        let trace = self.copy_for_trace(packet.frame());
        let owner = self.classify(packet.frame());
        marks.mark(Stage::Classify);
        let verdict = match owner {
            Err(Reason::Fragment) => self.take_fragment(packet, marks.picked_up()),
            Err(reason) => self.drop_packet(packet, None, reason),
            Ok(owner) => {
                let action = self.run_ash(owner, &mut packet);
                marks.mark(Stage::Handler);
                match action {
                    Action::Reply => self.reply(owner, packet),
                    Action::Deliver => self.deliver(owner, packet, marks.picked_up()),
                    Action::FallBack => self.fall_back(owner, packet, marks.picked_up()),
                    Action::Drop(reason) => self.drop_packet(packet, Some(owner), reason),
                }
            }
        };
        match verdict {
            Verdict::Answered(_) => self.counters.rx.answered += 1,
            Verdict::Delivered(_) => self.counters.rx.delivered += 1,
            Verdict::Dropped(reason, _) => self.counters.dropped(reason),
            Verdict::Sent(_) | Verdict::Refused(..) => {}
        }
        self.trace(verdict, trace);
        verdict
    }

    /// Whose packet it is, if it is one.
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
        let binding = self.network.bindings.get_mut(&id).ok_or(Reason::Unbound)?;
        binding.stats.received += 1;
        if fragment == Fragment::First {
            let owner = binding.owner;
            self.begin_datagram(id, owner, frame)?;
        }
        Ok(id)
    }

    /// Remembers whose a datagram is, by its first fragment.
    #[cold]
    fn begin_datagram(
        &mut self,
        id: BindingId,
        owner: EnvironmentId,
        frame: &[u8],
    ) -> Result<(), Reason> {
        let piece = self.network.pieces.read(frame)?;
        self.network.pieces.begin(piece, (id, owner), machine::time::now_ns())
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

    /// Runs the owner's ASH in place, whether or not the owner is running, if the owner can pay.
    fn run_ash(&mut self, owner: BindingId, packet: &mut Received) -> Action {
        let binding = self.network.bindings.get(&owner);
        let Some(payer) = binding.filter(|it| it.ash.is_some()).map(|it| (it.owner, it.ash_cost))
        else {
            return Action::Deliver;
        };
        if !self.charge(payer.0, payer.1) {
            return Action::FallBack;
        }
        let keep = self.options.trace && machine::heap::free_bytes() > HEAP_HEADROOM;
        let network = &mut self.network;
        let Some(binding) = network.bindings.get_mut(&owner) else { return Action::Deliver };
        binding.stats.charged += u64::from(binding.ash_cost);
        let Some(ash) = &binding.ash else { return Action::Deliver };
        let payer = self.environments.get_mut(payer.0);
        let mut outbox = Outbox {
            nic: network.nic.as_mut(),
            staging: &mut network.staging,
            grant: network.grants.get(&binding.grant),
            payer: payer.map(|it| &mut it.downloads),
            keep,
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
        match u32::try_from(result) {
            Ok(ebpf::context::TX) => Action::Reply,
            Ok(ebpf::context::PASS) => Action::Deliver,
            Ok(ebpf::context::DROP) => Action::Drop(Reason::AshDrop),
            _ => Action::Drop(Reason::AshAborted),
        }
    }

    /// Sends the packet back in its own buffer, if its grant's guard lets it out.
    fn reply(&mut self, owner: BindingId, packet: Received) -> Verdict {
        if let Err(reason) = self.guard(owner, packet.frame()) {
            return self.drop_packet(packet, Some(owner), reason);
        }
        let sent = match &mut self.network.nic {
            Some(nic) => nic.reply(packet),
            None => Err(packet),
        };
        match sent {
            Ok(()) => {
                if let Some(binding) = self.network.bindings.get_mut(&owner) {
                    binding.stats.answered += 1;
                }
                Verdict::Answered(owner.to_raw())
            }
            Err(packet) => self.drop_packet(packet, Some(owner), Reason::CardFull),
        }
    }

    /// Copies the packet into the owner's ring and tells it.
    fn deliver(&mut self, id: BindingId, packet: Received, picked_up: Option<u64>) -> Verdict {
        let delivered = match self.network.bindings.get_mut(&id) {
            Some(binding) => match &mut binding.rings {
                Some(rings) => {
                    let before = binding.pipe.as_ref().map(|_| machine::time::cycles());
                    let delivered =
                        rings.deliver(&self.memory, packet.frame(), binding.pipe.as_ref());
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
            if let Some(rings) = &mut binding.rings {
                rings.complete(&self.memory, sending.index);
            }
            let owner = binding.owner;
            self.post(owner, EVENT_TRANSMITTED);
        }
    }

    /// Tells the card about what was queued for it.
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
