//! An attack as data: a name, a family, what is done, and what must come of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::{Call, Status};
use libos::sys::stubs::Stub;

use crate::child::{Child, End, Step};
use crate::lab::Lab;

/// What came of an attack: in words, and whether that is what must come of it.
pub(crate) type Outcome = Result<String, String>;

/// One attack.
pub(crate) struct Attack {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    /// Whether the quick selection has it.
    pub(crate) quick: bool,
    body: Body,
}

/// The calls that a child is to make.
type Calls = dyn Fn(&mut Lab, &Child) -> Vec<Step>;

enum Body {
    /// A child begins at a stub with an argument and must end so.
    Stub { stub: Stub, argument: u64, expected: Vec<End> },
    /// A child makes these calls; `Some` is what a call must answer, one of them.
    Script(Box<Calls>),
    /// Anything else.
    Custom(Box<dyn Fn(&mut Lab) -> Outcome>),
}

impl Attack {
    /// A child that begins at a stub.
    pub(crate) fn stub(
        (family, name): (&'static str, String),
        stub: Stub,
        argument: u64,
        expected: &[End],
    ) -> Attack {
        let body = Body::Stub { stub, argument, expected: expected.to_vec() };
        Attack { family, name, quick: true, body }
    }

    /// A child that makes calls.
    pub(crate) fn script(
        family: &'static str,
        name: String,
        steps: impl Fn(&mut Lab, &Child) -> Vec<Step> + 'static,
    ) -> Attack {
        Attack { family, name, quick: true, body: Body::Script(Box::new(steps)) }
    }

    /// Anything else.
    pub(crate) fn custom(
        family: &'static str,
        name: &str,
        body: impl Fn(&mut Lab) -> Outcome + 'static,
    ) -> Attack {
        Attack { family, name: String::from(name), quick: true, body: Body::Custom(Box::new(body)) }
    }

    /// The same, left out of the quick selection unless `quick`.
    pub(crate) fn only_if(self, quick: bool) -> Attack {
        Attack { quick, ..self }
    }

    /// Whether the program's arguments mean it.
    pub(crate) fn is_meant(&self, words: &[&str]) -> bool {
        words.iter().any(|&word| {
            word == "all"
                || (word == "quick" && self.quick)
                || word == self.family
                || word == self.name.replace(' ', "-")
        })
    }

    /// Does it.
    pub(crate) fn run(&self, lab: &mut Lab) -> Outcome {
        match &self.body {
            Body::Stub { stub, argument, expected } => {
                let child = Child::new(lab, crate::child::FRAMES)?;
                let end = child.run(lab, *stub, *argument)?;
                let text = format!("{end:?}");
                if expected.contains(&end) { Ok(text) } else { Err(text) }
            }
            Body::Script(steps) => {
                let child = Child::new(lab, crate::child::FRAMES_OF_SCRIPT)?;
                let steps = steps(lab, &child);
                script(lab, child, &steps)
            }
            Body::Custom(body) => body(lab),
        }
    }
}

/// Has a child make the calls and compares the answers.
pub(crate) fn script(lab: &mut Lab, child: Child, steps: &[Step]) -> Outcome {
    child.write(lab, steps);
    let end = child.run(lab, Stub::Script, crate::child::SCRIPT)?;
    let mut said = String::new();
    for (step, (status, _)) in steps.iter().zip(lab.answers(steps.len())) {
        // A transfer's answer is not a status; a failed one is its negative.
        let status = match step.raw {
            true => Some(abi::transfer::failure(status).unwrap_or(Status::Ok)),
            false => Status::from_number(status),
        };
        let known = status.is_some() || step.number == Call::Exit as u64;
        let wanted = step.expected.is_empty() || status.is_some_and(|s| step.expected.contains(&s));
        if !step.expected.is_empty() {
            said = format!("{said}{}{status:?}", if said.is_empty() { "" } else { ", " });
        }
        if end == End::Exited(0) && !(known && wanted) {
            return Err(format!("call {} answered {status:?}", step.number));
        }
    }
    let must_return = steps.iter().any(|step| !step.expected.is_empty());
    if must_return && end != End::Exited(0) {
        return Err(format!("{end:?}; {said}"));
    }
    Ok(if said.is_empty() { format!("{end:?}") } else { said })
}
