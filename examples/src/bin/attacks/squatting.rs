//! Taking what is somebody else's by other ways than asking for it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::refusal::Code;
use abi::{Call, Rights, Status};
use libos::capability::{BindError, RingPages, grant_handle};
use libos::clock::{now_ns, wait};
use libos::sys::stubs::Stub;
use libos::{Binding, Env};
use libos_net::filter;

use crate::attack::{Attack, Outcome};
use crate::child::{Child, SCRIPT, said};
use crate::handles::step;
use crate::lab::Lab;
use crate::tricks::verdict;

/// Ports of the shared grant: the attacker's listener, and where fragments are to get in.
const LISTENER: u16 = 7920;
const DECOY: u16 = 7921;
/// The victim's.
const VICTIM: u16 = 7777;
/// Frames of a child that proves something: a proof's memory and a little more.
const FRAMES: u64 = 2_500;
/// Where a child's request lies, and the filter behind it.
const REQUEST: usize = 0x1800;
const FILTER: usize = 0x1900;
/// How long a child's proof may take, and between two looks, in nanoseconds.
const PATIENCE_NS: u64 = 20_000_000_000;
const LOOK_NS: u64 = 1_000_000;

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let custom =
        |name: &str, body: fn(&mut Lab) -> Outcome| Attack::custom("squatting", name, body);
    alloc::vec![
        custom("a connection of somebody else's listener", |lab| {
            listening(lab, |lab, listener| {
                let theirs = connection(lab, VICTIM)?;
                refused(carve(listener, &theirs), Code::OutsideGrant)
            })
        }),
        custom("a part of somebody else's binding", |lab| {
            listening(lab, |lab, listener| {
                let (ours, theirs) = (port(lab, LISTENER)?, port(lab, VICTIM)?);
                let handed = listener.hand_over(&ours, &theirs, None, &RingPages::default());
                refused(handed, Code::OutsideGrant)
            })
        }),
        custom("both halves of one's own, and a frame twice", |lab| {
            listening(lab, |lab, listener| {
                let (whole, part) = (port(lab, LISTENER)?, connection(lab, LISTENER)?);
                let handed = listener.hand_over(&whole, &part, None, &RingPages::default());
                refused(handed, Code::Overlap)
            })
        }),
        custom("the same connection twice", |lab| {
            listening(lab, |lab, listener| {
                let filter = connection(lab, LISTENER)?;
                let first = carve(listener, &filter).map_err(|error| format!("{error}"))?;
                let again = refused(carve(listener, &filter), Code::Overlap);
                first.unbind().map_err(said("unbind"))?;
                again
            })
        }),
        custom("two uploads of one connection at once", |lab| listening(lab, race)),
        custom("a connection whose owner lives, and dies", |lab| listening(lab, inherit)),
        custom("fragments that pretend to have ports", fragments),
    ]
}

/// Does something with a listener of one's own, which goes again.
fn listening(lab: &mut Lab, body: fn(&mut Lab, Binding) -> Outcome) -> Outcome {
    let filter = port(lab, LISTENER)?;
    let listener = lab.grant.bind(&filter, None).map_err(|error| format!("{error}"))?;
    let outcome = body(lab, listener);
    listener.unbind().map_err(said("unbind"))?;
    outcome
}

/// Two environments, each with a right to the listener, ask for the same at the same time.
fn race(lab: &mut Lab, listener: Binding) -> Outcome {
    let filter = connection(lab, LISTENER)?;
    let child = uploading(lab, listener, &filter)?;
    let ours = carve(listener, &filter);
    let theirs = answer(lab);
    child.kill();
    let text = format!("child {theirs:?}, attacker {}", status(&ours));
    let one = ours.is_ok() != (theirs == Some(Status::Ok));
    let taken = match ours {
        Ok(binding) => {
            binding.unbind().map_err(said("unbind"))?;
            theirs == Some(Status::Refused)
        }
        Err(error) => error.refusal.is_some_and(|record| record.code == Code::Overlap),
    };
    verdict(one && taken, text)
}

/// While its owner lives a connection is nobody else's; then it is the listener's to give again.
fn inherit(lab: &mut Lab, listener: Binding) -> Outcome {
    let filter = connection(lab, LISTENER)?;
    let child = uploading(lab, listener, &filter)?;
    let theirs = answer(lab);
    let alive = carve(listener, &filter);
    child.kill();
    let dead = carve(listener, &filter);
    let text = format!("child {theirs:?}, alive {}, dead {}", status(&alive), status(&dead));
    let fine = theirs == Some(Status::Ok)
        && alive.is_err_and(|it| it.refusal.is_some_and(|it| it.code == Code::Overlap));
    let given = dead.map_err(|error| format!("{text}: {error}"))?;
    given.unbind().map_err(said("unbind"))?;
    verdict(fine, text)
}

/// Later fragments of the victim's datagrams, and of none, in which the attacker's port stands.
fn fragments(lab: &mut Lab) -> Outcome {
    let filter = port(lab, DECOY)?;
    let binding = lab.grant.bind(&filter, None).map_err(|error| format!("{error}"))?;
    // The last that is sent is an honest datagram.
    lab.poke("fragments", DECOY, || binding.stats().is_ok_and(|stats| stats.received > 0));
    let stats = binding.stats().unwrap_or_default();
    binding.unbind().map_err(said("unbind"))?;
    let honest = u64::from(lab.is_paced());
    verdict(stats.received == honest, format!("{} received", stats.received))
}

/// A child that carves a connection from the listener and stays.
fn uploading(lab: &mut Lab, listener: Binding, filter: &[u8]) -> Result<Child, String> {
    let child = Child::new(lab, FRAMES)?;
    let prepared = prepare(lab, &child, (listener, filter));
    match prepared.and_then(|()| child.start(Stub::Script, SCRIPT)) {
        Ok(()) => Ok(child),
        Err(why) => {
            child.kill();
            Err(why)
        }
    }
}

fn prepare(lab: &Lab, child: &Child, (listener, filter): (Binding, &[u8])) -> Result<(), String> {
    let env: Env = child.env;
    let rights = Rights::REVOKE | Rights::TRANSMIT;
    let theirs = grant_handle(listener.0, env, rights).map_err(said("passing it on"))?;
    let at = SCRIPT + FILTER as u64;
    // `CarveRequest`: no transmit filter, then filter and length; the rest is zero.
    let words = [0, 0, at, filter.len() as u64];
    let block: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let rest = alloc::vec![0; size_of::<abi::bind::CarveRequest>() - block.len()];
    lab.window.write(REQUEST, &[block, rest].concat());
    lab.window.write(FILTER, filter);
    let carve = step(Call::Carve, [theirs.0, SCRIPT + REQUEST as u64, 0, 0], &[]);
    let stay = step(Call::Wait, [u64::MAX, 0, 0, 0], &[]);
    child.write(lab, &[carve, stay]);
    Ok(())
}

/// What the child was answered, once it is.
fn answer(lab: &Lab) -> Option<Status> {
    let deadline = now_ns().saturating_add(PATIENCE_NS);
    loop {
        let answered = lab.answers(1).first().map(|answer| answer.0).filter(|&it| it != u64::MAX);
        if answered.is_some() || now_ns() > deadline {
            return answered.and_then(Status::from_number);
        }
        wait(now_ns().saturating_add(LOOK_NS));
    }
}

fn carve(listener: Binding, filter: &[u8]) -> Result<Binding, BindError> {
    listener.carve((filter, None), None, &RingPages::default())
}

fn refused(answer: Result<Binding, BindError>, code: Code) -> Outcome {
    match answer {
        Ok(binding) => {
            let _ = binding.unbind();
            Err(String::from("it was bound"))
        }
        Err(error) => {
            let fine = error.refusal.as_ref().is_some_and(|record| record.code == code);
            verdict(fine, format!("{error}"))
        }
    }
}

fn status(answer: &Result<Binding, BindError>) -> String {
    match answer {
        Ok(_) => String::from("Ok"),
        Err(error) => format!("{:?}", error.refusal.as_ref().map(|record| record.code)),
    }
}

fn port(lab: &Lab, port: u16) -> Result<Vec<u8>, String> {
    let text = filter::udp_expression(lab.net.addresses().ipv4, port);
    filter::from_expression(&text).map_err(|error| format!("{error}"))
}

fn connection(lab: &Lab, port: u16) -> Result<Vec<u8>, String> {
    let listener = filter::udp_expression(lab.net.addresses().ipv4, port);
    let text = format!("{listener} and src host 10.0.2.99 and src port 5000");
    filter::from_expression(&text).map_err(|error| format!("{error}"))
}
