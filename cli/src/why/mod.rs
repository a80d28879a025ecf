//! `sluice why`: whose a packet is, by which grants, which rule, and which of its tests.
//!
//! Grants and bindings are the demo's cast, or are given as expressions, or are read from a machine
//! that is booted for it. All go through the same proofs as in the kernel, so what could not be
//! bound there is refused here too; then the registry is asked ([`verifier::Registry::why`]).

mod packet;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::task::Poll;

use abi::record::Record;
use ebpf::Kind;
use flow::Space;
use verifier::registry::{Asked, Tested, Why};
use verifier::{
    BindingId, Claim, ClaimProof, Derivation, Fuel, GrantId, Ownership, Party, Placement, Refusal,
    Registry, SafetyProof, Step, Transmit,
};

use crate::build::{self, cast};
use crate::demo;
use crate::machine::{Machine, Options};
use crate::roster::Roster;

pub use packet::PacketError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// What was given is not of the form that was asked for.
    #[error("`{text}`: write {form}")]
    Form {
        /// What was given.
        text: String,
        /// What it must look like.
        form: &'static str,
    },
    /// An expression or a program is none.
    #[error("{name}: {reason}")]
    Program {
        /// Whose it is.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The proofs refuse a grant or a binding: it could not be there.
    #[error("{name} is refused: {reason}")]
    Refused {
        /// Whose it is.
        name: String,
        /// The refusal.
        reason: String,
    },
    /// No grant has that name.
    #[error("{name}: there is no grant `{grant}`")]
    NoGrant {
        /// Who names it.
        name: String,
        /// The name.
        grant: String,
    },
}

/// Who is asked about.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Parties {
    /// A grant; `PARENT` is one given before it, or the root.
    #[arg(long, value_name = "NAME[@PARENT]=EXPRESSION")]
    grant: Vec<String>,
    /// A binding; without `GRANT` it is under the root.
    #[arg(long, value_name = "OWNER[@GRANT]=EXPRESSION")]
    bind: Vec<String>,
    /// Boots the demo's machine and asks about what is bound there.
    #[arg(long, conflicts_with_all = ["grant", "bind"])]
    live: bool,
}

/// What the demo's programs bind once they run: owner and grant, and the port that a service asks
/// for; none is all of the grant.
const CAST: [(&str, Option<u16>); 4] = [
    ("netd", None),
    ("echo", Some(cast::ECHO_PORT)),
    ("bare", Some(cast::BARE_PORT)),
    ("talk", Some(cast::TALK_PORT)),
];

const GRANT_FORM: &str = "NAME[@PARENT]=EXPRESSION";
const BIND_FORM: &str = "OWNER[@GRANT]=EXPRESSION";

/// Answers and prints. True if the packet is somebody's.
///
/// # Errors
/// [`PacketError`], [`WhyError`]; the machine's with `--live`.
pub fn run(
    what: &str,
    parties: &Parties,
    machine: &Options,
) -> Result<bool, Box<dyn std::error::Error>> {
    let frame = packet::read(what)?;
    let world = if parties.live {
        live(machine)?
    } else if parties.grant.is_empty() && parties.bind.is_empty() {
        World::of_cast()?
    } else {
        World::given(&parties.grant, &parties.bind)?
    };
    let why = world.registry.why(&frame);
    print!("{}", world.text(&frame, &why));
    Ok(matches!(why.ownership, Ownership::Bound(_)))
}

/// Boots the demo's machine and reads who is there.
fn live(options: &Options) -> Result<World, Box<dyn std::error::Error>> {
    let image = build::image()?;
    let machine = Machine::boot(&image, options)?;
    machine.wait_ready()?;
    demo::wait_bound(&machine, &image.manifest)?;
    let roster = Roster::read(machine.journal(), &image.manifest);
    let gone: Vec<u64> = machine
        .journal()
        .since(0)
        .into_iter()
        .filter_map(|entry| match entry.record {
            Record::Unbound { binding } => Some(binding),
            _ => None,
        })
        .collect();
    machine.halt(0)?;
    Ok(World::of_roster(&roster, &gone)?)
}

/// A registry, and what people call what is in it.
#[derive(Debug)]
pub struct World {
    registry: Registry,
    grants: BTreeMap<String, GrantId>,
    owners: BTreeMap<BindingId, String>,
}

impl World {
    fn empty() -> World {
        let grants = BTreeMap::from([("root".to_owned(), GrantId::ROOT)]);
        World { registry: Registry::new(), grants, owners: BTreeMap::new() }
    }

    /// The demo's grants, and what its programs bind.
    ///
    /// # Errors
    /// [`WhyError`].
    pub fn of_cast() -> Result<World, WhyError> {
        let mut world = World::empty();
        let manifest = cast::manifest().map_err(|error| WhyError::Program {
            name: "the manifest".to_owned(),
            reason: error.to_string(),
        })?;
        for grant in &manifest.grants {
            world.derive(&grant.name, "root", &grant.receive)?;
        }
        for (owner, port) in CAST {
            let held = manifest.environments.iter().find(|it| it.name == owner);
            let grant = held.and_then(|it| it.grants.first()).map_or("root", String::as_str);
            let whole = manifest.grants.iter().find(|it| it.name == grant);
            let filter = match (port, whole) {
                (None, Some(whole)) => whole.receive.clone(),
                (port, _) => service(port.unwrap_or_default())?,
            };
            world.bind(owner, grant, &filter)?;
        }
        Ok(world)
    }

    /// Grants and bindings as the command line has them.
    ///
    /// # Errors
    /// [`WhyError`].
    pub fn given(grants: &[String], bindings: &[String]) -> Result<World, WhyError> {
        let mut world = World::empty();
        for text in grants {
            let (name, parent, expression) = split(text, GRANT_FORM)?;
            world.derive(name, parent, &lowered(name, expression)?)?;
        }
        for text in bindings {
            let (owner, grant, expression) = split(text, BIND_FORM)?;
            world.bind(owner, grant, &lowered(owner, expression)?)?;
        }
        Ok(world)
    }

    /// What a machine's records say; `gone` are bindings that have left.
    ///
    /// # Errors
    /// [`WhyError`].
    pub fn of_roster(roster: &Roster, gone: &[u64]) -> Result<World, WhyError> {
        let mut world = World::empty();
        let mut numbers = BTreeMap::from([(GrantId::ROOT.to_raw(), "root".to_owned())]);
        for grant in &roster.grants {
            let parent = numbers.get(&grant.parent).cloned().unwrap_or_else(|| "root".to_owned());
            world.derive(&grant.name, &parent, &grant.receive)?;
            numbers.insert(grant.id, grant.name.clone());
        }
        for bound in roster.bindings.iter().filter(|it| !gone.contains(&it.id)) {
            let grant = numbers.get(&bound.grant).cloned().unwrap_or_else(|| "root".to_owned());
            world.bind(&bound.owner, &grant, &bound.filter)?;
        }
        Ok(world)
    }

    fn grant(&self, name: &str, grant: &str) -> Result<GrantId, WhyError> {
        let known = self.grants.get(grant).copied();
        known.ok_or_else(|| WhyError::NoGrant { name: name.to_owned(), grant: grant.to_owned() })
    }

    fn derive(&mut self, name: &str, parent: &str, program: &[u8]) -> Result<(), WhyError> {
        let parent = self.grant(name, parent)?;
        let receive = claim(name, program)?;
        // Whoever asks why asks about what is received.
        let transmit = Transmit::Space(Space::all());
        let registry = &mut self.registry;
        let adopted = Derivation::new(registry, parent, receive, transmit)
            .and_then(|mut proof| finish(|fuel| proof.step(registry, fuel)))
            .and_then(|placed| registry.adopt(placed));
        let id = adopted.map_err(|refusal| refused(name, &refusal))?;
        self.grants.insert(name.to_owned(), id);
        Ok(())
    }

    fn bind(&mut self, owner: &str, grant: &str, program: &[u8]) -> Result<(), WhyError> {
        let grant = self.grant(owner, grant)?;
        let claim = claim(owner, program)?;
        let registry = &mut self.registry;
        let placed = Placement::bind(registry, grant, claim)
            .and_then(|mut proof| finish(|fuel| proof.step(registry, fuel)));
        let owned = placed.and_then(|placed| Ok(registry.own(placed)?.commit()));
        let id = owned.map_err(|refusal| refused(owner, &refusal))?;
        self.owners.insert(id, owner.to_owned());
        Ok(())
    }

    /// The answer for people.
    pub fn text(&self, frame: &[u8], why: &Why) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a string never fails.
            let _ = writeln!(text, "{words}");
        };
        line(format!("packet: {}", flow::witness::render(frame)));
        line(match why.ownership {
            Ownership::Bound(id) => format!("owner:  {}", self.owner(id)),
            Ownership::Unbound(id) => format!("owner:  nobody, under grant {}", self.name(id)),
        });
        let chain: Vec<String> = why.grants.iter().map(|asked| self.party(asked.party)).collect();
        let chain = [&["root".to_owned()][..], chain.as_slice()].concat();
        line(format!("grants: {}", chain.join(" > ")));
        for asked in &why.grants {
            self.asked(&format!("grant {}", self.party(asked.party)), asked, &mut line);
        }
        if let Some(asked) = &why.binding {
            let closest = matches!(why.ownership, Ownership::Unbound(_));
            let what = if closest { "closest: binding of" } else { "binding of" };
            self.asked(&format!("{what} {}", self.party(asked.party)), asked, &mut line);
        }
        text
    }

    fn asked(&self, who: &str, asked: &Asked, line: &mut impl FnMut(String)) {
        line(format!("{who}: rule {}: {}", asked.rule, asked.expression));
        let (range, passed) = asked.length;
        let sign = |passed: bool| if passed { "passed" } else { "FAILED" };
        line(format!("  {}  length is {} to {}", sign(passed), range.min, range.max));
        for test in &asked.tests {
            line(format!("  {}  {}", sign(test.passed), tested(test)));
        }
        if asked.failures() == 0 && !asked.accepted {
            line("  FAILED  the program itself says no".to_owned());
        }
    }

    fn party(&self, party: Party) -> String {
        match party {
            Party::Binding(id) => self.owner(id),
            Party::Grant(id) => self.name(id),
        }
    }

    fn owner(&self, id: BindingId) -> String {
        self.owners.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn name(&self, id: GrantId) -> String {
        let found = self.grants.iter().find(|(_, known)| **known == id);
        found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }
}

fn tested(test: &Tested) -> String {
    match test.found {
        Some((at, value)) => format!("byte {at} is {value:#04x}, of {:?}", test.allowed),
        None => format!("the packet ends before a byte of {:?}", test.allowed),
    }
}

/// `NAME[@PLACE]=EXPRESSION`; without a place it is the root.
fn split<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, &'a str, &'a str), WhyError> {
    let wrong = || WhyError::Form { text: text.to_owned(), form };
    let (names, expression) = text.split_once('=').ok_or_else(wrong)?;
    let (name, place) = names.split_once('@').unwrap_or((names, "root"));
    if name.is_empty() || place.is_empty() { Err(wrong()) } else { Ok((name, place, expression)) }
}

fn lowered(name: &str, expression: &str) -> Result<Vec<u8>, WhyError> {
    cast::filter(expression).map_err(|reason| WhyError::Program { name: name.to_owned(), reason })
}

/// A service's filter, as `libos-net` makes it.
fn service(port: u16) -> Result<Vec<u8>, WhyError> {
    let [a, b, c, d] = crate::wire::frames::GUEST_IP;
    lowered("a service", &format!("udp and dst host {a}.{b}.{c}.{d} and dst port {port}"))
}

/// As the kernel claims bindings: what cannot be told is claimed around.
fn claim(name: &str, program: &[u8]) -> Result<Claim, WhyError> {
    let program = ebpf::decode(program, Kind::Filter, ebpf::limits::HOST_SLOTS)
        .map_err(|error| WhyError::Program { name: name.to_owned(), reason: error.to_string() })?;
    let mut safety = SafetyProof::new(program);
    let verified = finish(|fuel| safety.step(fuel)).map_err(|it| refused(name, &it))?;
    let mut proof = ClaimProof::guarding(verified, verifier::HashKey::PUBLIC);
    finish(|fuel| proof.step(fuel)).map_err(|it| refused(name, &it))
}

fn refused(name: &str, refusal: &Refusal) -> WhyError {
    let mut reason = refusal.to_string();
    if let Some(witness) = &refusal.witness {
        reason.push_str(&format!("; witness: {}", flow::witness::render(witness)));
    }
    WhyError::Refused { name: name.to_owned(), reason }
}

/// On the host nobody waits for the processor: step until there is an answer.
fn finish<T>(mut step: impl FnMut(&mut Fuel) -> Step<T>) -> Result<T, Refusal> {
    loop {
        let mut fuel = Fuel::UNLIMITED;
        if let Poll::Ready(answer) = step(&mut fuel) {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WhyError, World};
    use crate::wire::frames;
    use verifier::Ownership;

    fn ask(world: &World, frame: &[u8]) -> (bool, String) {
        let why = world.registry.why(frame);
        (matches!(why.ownership, Ownership::Bound(_)), world.text(frame, &why))
    }

    #[test]
    fn the_cast_owns_what_it_owns() {
        let world = World::of_cast().unwrap();
        let (bound, text) = ask(&world, &frames::udp(5, 7777, b"hello"));
        assert!(bound && text.contains("owner:  talk\n"), "{text}");
        assert!(text.contains("grants: root > public\n"), "{text}");
        assert!(text.contains("binding of talk: rule "), "{text}");
        assert!(!text.contains("FAILED") && text.contains("passed  byte 23 is 0x11"), "{text}");
        let (bound, text) = ask(&world, &frames::udp(5, 7778, b"hello"));
        assert!(!bound && text.contains("owner:  nobody, under grant public\n"), "{text}");
        assert!(text.contains("closest: binding of talk"), "{text}");
        assert_eq!(text.matches("FAILED").count(), 1, "{text}");
        for (frame, owner) in [
            (frames::udp(5, 7, b""), "echo"),
            (frames::udp(5, 9, b""), "bare"),
            (frames::ping(1, 2, b""), "netd"),
            (frames::udp_with_options(2, 5, 7, b""), "echo"),
        ] {
            let (bound, text) = ask(&world, &frame);
            assert!(bound && text.contains(&format!("owner:  {owner}\n")), "{text}");
        }
        let (bound, text) = ask(&world, &frames::udp(5, 80, b""));
        assert!(!bound && text.contains("nobody, under grant root"), "{text}");
    }

    #[test]
    fn grants_and_bindings_may_be_given() {
        let texts = |texts: &[&str]| texts.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let grants = texts(&["net=udp", "low@net=udp and dst portrange 0-99"]);
        let bindings = texts(&["dns@low=udp and dst port 53", "rest@net=udp and dst port 5353"]);
        let world = World::given(&grants, &bindings).unwrap();
        let (bound, text) = ask(&world, &frames::udp(5, 53, b""));
        assert!(bound && text.contains("grants: root > net > low"), "{text}");
        let refuse = |grants: &[&str], bindings: &[&str]| {
            World::given(&texts(grants), &texts(bindings)).unwrap_err()
        };
        let twice = refuse(&["net=udp"], &["a@net=udp", "b@net=udp and dst port 1"]);
        assert!(matches!(&twice, WhyError::Refused { name, .. } if name == "b"), "{twice}");
        assert!(matches!(refuse(&["net=udp and"], &[]), WhyError::Program { .. }));
        assert!(matches!(refuse(&[], &["a@nowhere=udp"]), WhyError::NoGrant { .. }));
        for wrong in ["udp", "=udp", "a@=udp"] {
            assert!(matches!(refuse(&[], &[wrong]), WhyError::Form { .. }), "{wrong}");
        }
    }
}
