//! Maps: forged names, lies about sizes, as many as one can get, bound after they are gone, gone
//! while they are bound, and handlers that leave their values.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::refusal::Code;
use abi::{Call, Handle, Status};
use ebpf::Kind;
use libos::capability::RingPages;
use libos::map::{self, Map};
use libos::program::assemble;
use libos::sys::hostile;
use libos_net::filter;

use crate::attack::{Attack, Outcome};
use crate::lab::Lab;

/// A port of the shared grant.
const PORT: u16 = 7912;
/// More maps than one environment may have.
const MANY: usize = 200;

/// Handlers that leave a map of one 8-byte value, or take it for what it is not.
const HANDLERS: &[(&str, &str)] = &[
    (
        "no test for null",
        "call helper 7\nstxw [%r10-4], %r0\nlddw %r1, map_fd 0\nmov %r2, %r10\n\
         add %r2, -4\ncall helper 1\nldxdw %r0, [%r0+0]\nmov %r0, 1\nexit",
    ),
    (
        "a null moved before the test",
        "call helper 7\nstxw [%r10-4], %r0\nlddw %r1, map_fd 0\nmov %r2, %r10\n\
         add %r2, -4\ncall helper 1\nadd %r0, 4\njeq %r0, 0, out\n\
         ldxb %r0, [%r0+0]\nout: mov %r0, 1\nexit",
    ),
    ("one byte behind the value", "lddw %r1, map_value 0 0\nldxb %r0, [%r1+8]\nmov %r0, 1\nexit"),
    ("one byte before the value", "lddw %r1, map_value 0 0\nldxb %r0, [%r1-1]\nmov %r0, 1\nexit"),
    ("an address behind the value", "lddw %r1, map_value 0 8\nmov %r0, 1\nexit"),
    ("a map that it does not have", "lddw %r1, map_fd 1\nmov %r0, 1\nexit"),
    ("the map itself read", "lddw %r1, map_fd 0\nldxdw %r0, [%r1+0]\nmov %r0, 1\nexit"),
    (
        "a pointer stored in the map",
        "lddw %r1, map_value 0 0\nstxdw [%r1+0], %r10\nmov %r0, 1\nexit",
    ),
    (
        "a key that nothing wrote",
        "lddw %r1, map_fd 0\nmov %r2, %r10\nadd %r2, -4\ncall helper 1\nmov %r0, 1\nexit",
    ),
    (
        "a key over the top of the stack",
        "stw [%r10-4], 0\nlddw %r1, map_fd 0\nmov %r2, %r10\nadd %r2, -2\ncall helper 1\n\
         mov %r0, 1\nexit",
    ),
    (
        "the packet through a pointer from before it moved",
        "mov %r6, %r1\nldxw %r7, [%r1+0]\nldxw %r8, [%r1+4]\nmov %r2, %r7\nadd %r2, 60\n\
         jgt %r2, %r8, out\nmov %r2, 40\ncall helper 44\nldxb %r0, [%r7+0]\nout: mov %r0, 1\nexit",
    ),
];

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = alloc::vec![
        Attack::custom("map", "forged names", forged),
        Attack::custom("map", "a name after it was dropped", dropped),
        Attack::custom("map", "lies about sizes", lies),
        Attack::custom("map", "hostile addresses", addresses),
        Attack::custom("map", "maps until refused", bomb),
        Attack::custom("map", "maps larger than the machine", giants),
        Attack::custom("map", "bound after it is gone", bound_late),
        Attack::custom("map", "gone while it is bound", gone_early),
    ];
    for &(name, text) in HANDLERS {
        let attack = move |lab: &mut Lab| handler(lab, text);
        attacks.push(Attack::custom("map", &format!("a handler with {name}"), attack));
    }
    attacks
}

type Numbers = Map<u32, u64>;

fn array() -> Result<Numbers, String> {
    Map::new(map::Kind::Array, 1, "victim").map_err(|status| format!("no map: {status:?}"))
}

/// Calls with handles that nobody gave out.
fn forged(lab: &mut Lab) -> Outcome {
    let map = array()?;
    let real = map.handle().0;
    let outcome = [0, u64::MAX, real ^ 1 << 32, real ^ 1 << 63, real + 1, lab.own.0.0]
        .into_iter()
        .try_for_each(|handle| {
            for call in [Call::MapLookup, Call::MapUpdate, Call::MapDelete, Call::MapNext] {
                let (status, _) = hostile::call(call, [handle, 0, 0, 0, 0, 0]);
                if !matches!(status, Some(Status::BadHandle | Status::WrongKind)) {
                    return Err(format!("{call:?} of {handle:#x}: {status:?}"));
                }
            }
            Ok(())
        });
    let _ = map.drop_name();
    outcome.map(|()| String::from("none names a map"))
}

fn dropped(_: &mut Lab) -> Outcome {
    let map = array()?;
    let _ = map.drop_name();
    match map.load(&0) {
        Err(Status::BadHandle) => Ok(String::from("BadHandle")),
        other => Err(format!("{other:?}")),
    }
}

/// Who takes the value for longer or shorter than it is has nothing read or written.
fn lies(_: &mut Lab) -> Outcome {
    let map = array()?;
    let long: Map<u32, [u64; 64]> = Map::adopt(map.handle());
    let short: Map<u32, u32> = Map::adopt(map.handle());
    let wide: Map<u64, u64> = Map::adopt(map.handle());
    let said = [
        long.load(&0).map(drop),
        long.store(&0, &[7; 64]),
        short.load(&0).map(drop),
        wide.load(&0).map(drop),
        wide.next(None).map(drop),
    ];
    let value = map.load(&0);
    let _ = map.drop_name();
    let refused = said.iter().all(|said| *said == Err(Status::BadArgument));
    match value {
        Ok(0) if refused => Ok(String::from("BadArgument")),
        _ => Err(format!("{said:?}, {value:?}")),
    }
}

fn addresses(_: &mut Lab) -> Outcome {
    let map = array()?;
    let sizes = abi::map::sizes(4, 8);
    let mut outcome = Ok(String::from("BadAddress"));
    for address in [1, 1 << 47, u64::MAX - 2, 0xffff_8000_0010_0000] {
        for call in [Call::MapLookup, Call::MapUpdate] {
            let (status, _) = hostile::call(call, [map.handle().0, address, address, 0, sizes, 0]);
            if status != Some(Status::BadAddress) {
                outcome = Err(format!("{call:?} at {address:#x}: {status:?}"));
            }
        }
    }
    let _ = map.drop_name();
    outcome
}

fn bomb(_: &mut Lab) -> Outcome {
    let mut maps: Vec<Numbers> = Vec::new();
    let end = loop {
        match Map::new(map::Kind::Hash, 256, "bomb") {
            Ok(map) => maps.push(map),
            Err(status) => break status,
        }
        if maps.len() > MANY {
            break Status::Ok;
        }
    };
    let count = maps.len();
    for map in maps {
        let _ = map.drop_name();
    }
    match end {
        Status::Limit | Status::NoMemory => Ok(format!("{end:?} after {count}")),
        _ => Err(format!("{count} maps, {end:?}")),
    }
}

fn giants(_: &mut Lab) -> Outcome {
    type Page = [u64; 512];
    for entries in [0, 1 << 12, 1 << 20, u32::MAX] {
        match Map::<u32, Page>::new(map::Kind::Hash, entries, "giant") {
            Err(Status::BadArgument | Status::Limit | Status::NoMemory) => {}
            Ok(map) => {
                let _ = map.drop_name();
                return Err(format!("{entries} entries were made"));
            }
            Err(status) => return Err(format!("{status:?}")),
        }
    }
    Ok(String::from("all refused"))
}

/// Binds a handler with these names as its maps.
fn bind(lab: &Lab, text: &str, maps: &[Handle]) -> Result<libos::Binding, libos::BindError> {
    let expression = filter::udp_expression(lab.net.addresses().ipv4, PORT);
    let filter = filter::from_expression(&expression).map_err(|_| no_program())?;
    let ash = assemble(Kind::Ash, text, &[]).map_err(|_| no_program())?;
    let pages = RingPages { maps, ..RingPages::default() };
    lab.grant.bind_pages(&filter, Some(&ash), &pages)
}

fn no_program() -> libos::BindError {
    libos::BindError { status: Status::BadArgument, refusal: None }
}

const USE: &str =
    "lddw %r1, map_value 0 0\nmov %r2, 1\nlock fetch add [%r1+0], %r2\nmov %r0, 1\nexit";

fn bound_late(lab: &mut Lab) -> Outcome {
    let map = array()?;
    let _ = map.drop_name();
    for names in [[map.handle()], [lab.own.0], [Handle(u64::MAX)]] {
        match bind(lab, USE, &names) {
            Err(error) if matches!(error.status, Status::BadHandle | Status::WrongKind) => {}
            Err(error) => return Err(format!("{error}")),
            Ok(binding) => {
                let _ = binding.unbind();
                return Err(String::from("it was bound"));
            }
        }
    }
    Ok(String::from("refused"))
}

/// The binding keeps the map; with the binding its frames go back, which the books tell.
fn gone_early(lab: &mut Lab) -> Outcome {
    let map = array()?;
    let binding = bind(lab, USE, &[map.handle()]).map_err(|error| format!("{error}"));
    let _ = map.drop_name();
    let binding = binding?;
    let gone = map.load(&0);
    binding.unbind().map_err(|status| format!("{status:?}"))?;
    match gone {
        Err(Status::BadHandle) => Ok(String::from("kept for the handler alone")),
        other => Err(format!("{other:?}")),
    }
}

fn handler(lab: &mut Lab, text: &str) -> Outcome {
    let map = array()?;
    let bound = bind(lab, text, &[map.handle()]);
    let _ = map.drop_name();
    match bound {
        Err(error) => match error.refusal {
            Some(record) if record.code == Code::Unsafe => Ok(record.explanation),
            _ => Err(format!("{error}")),
        },
        Ok(binding) => {
            let _ = binding.unbind();
            Err(String::from("it was bound"))
        }
    }
}
