//! As much as one can get of everything, and names that lie.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::{Call, Rights, Status};
use libos::sys::stubs::Stub;
use libos::{Env, Page};

use crate::attack::{Attack, Outcome, script};
use crate::child::{Child, End, FRAMES, SCRIPT, Step};
use crate::handles::step;
use crate::lab::Lab;
use crate::tricks::verdict;

/// Environments that a bomb asks for: more than may live.
const SPAWNS: usize = 100;

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut attacks = alloc::vec![
        Attack::custom("bomb", "spawn until refused", spawn),
        Attack::custom("bomb", "spawn and start until refused", spawn_spinning),
        Attack::custom("bomb", "take every frame of the quota", frames),
        Attack::custom("bomb", "fill the table of capabilities", capabilities),
        Attack::custom("bomb", "derive until memory ends in a child", small_table),
        Attack::custom("bomb", "map one page everywhere", tables),
        Attack::custom("bomb", "a hundred short lives", lives),
    ];
    for (name, bytes) in names() {
        attacks.push(Attack::script("name", format!("a name {name}"), move |lab, _| {
            let at = 0x1800;
            lab.window.write(at, &bytes[..bytes.len().min(64)]);
            let length = if name == "of all bytes" { u64::MAX } else { bytes.len() as u64 };
            let args = [8, SCRIPT + at as u64, length, 0];
            let refused = &[Status::BadArgument, Status::Limit];
            alloc::vec![step(Call::EnvCreate, args, refused)]
        }));
    }
    for (name, frames) in [
        ("no frames", 0u64),
        ("seven frames", 7),
        ("more frames than there are", 1 << 40),
        ("all frames that a number can count", u64::MAX),
        ("frames that overflow in bytes", 1 << 52),
    ] {
        let name = format!("an environment with {name}");
        attacks.push(Attack::script("bomb", name, move |lab, _| {
            lab.window.write(0x1800, b"child");
            let refused = &[Status::BadArgument, Status::NoMemory];
            alloc::vec![step(Call::EnvCreate, [frames, SCRIPT + 0x1800, 5, 0], refused)]
        }));
    }
    for (name, call, args) in upcalls() {
        attacks.push(Attack::script("upcall", name.into(), move |_, _| {
            let refused = &[Status::BadArgument, Status::BadAddress, Status::MissingRight];
            alloc::vec![step(call, args, refused)]
        }));
    }
    attacks.push(Attack::custom("upcall", "a handler that faults", |lab| {
        faulting(lab, crate::child::CODE + Stub::Ud2.offset())
    }));
    attacks.push(Attack::custom("upcall", "a handler where nothing is", |lab| {
        faulting(lab, crate::child::NOTHING)
    }));
    attacks
}

fn names() -> [(&'static str, Vec<u8>); 8] {
    [
        ("of nothing", Vec::new()),
        ("of 33 bytes", alloc::vec![b'a'; 33]),
        ("of all bytes", alloc::vec![b'a'; 8]),
        ("with a blank", b"ec ho".to_vec()),
        ("with a line break", b"echo\n".to_vec()),
        ("with a zero", b"echo\0".to_vec()),
        ("with an escape", b"\x1b[2J".to_vec()),
        ("that is no utf-8", alloc::vec![0xff, 0xfe, 0x80]),
    ]
}

type Upcall = (&'static str, Call, [u64; 4]);

fn upcalls() -> [Upcall; 7] {
    use crate::child::{CODE, NOTHING, STACK, STACK_TOP};
    let kernel = 0xffff_8000_0010_0000;
    [
        ("a kind that there is not", Call::UpcallSet, [8, CODE, STACK_TOP, STACK]),
        ("a kind beyond all numbers", Call::UpcallSet, [u64::MAX, CODE, STACK_TOP, STACK]),
        ("an entry in the kernel", Call::UpcallSet, [0, kernel, STACK_TOP, STACK]),
        ("a stack in the kernel", Call::UpcallSet, [0, CODE, kernel, STACK]),
        ("an odd stack", Call::UpcallSet, [0, CODE, STACK_TOP - 8, STACK]),
        ("a save area in own code", Call::UpcallSet, [0, CODE, STACK_TOP, CODE]),
        ("a save area in nothing", Call::UpcallSet, [0, CODE, STACK_TOP, NOTHING]),
    ]
}

/// Registers a fault handler that is none, and faults: the child ends, and nobody else.
fn faulting(lab: &mut Lab, entry: u64) -> Outcome {
    use crate::child::{STACK, STACK_TOP};
    let child = Child::new(lab, FRAMES)?;
    let register = step(Call::UpcallSet, [0, entry, STACK_TOP, STACK], &[Status::Ok]);
    child.write(lab, &[register]);
    let tail = crate::child::CODE + Stub::Divide.offset();
    lab.window.write(libos::sys::stubs::script::TAIL, &tail.to_le_bytes());
    let end = child.run(lab, Stub::Script, SCRIPT)?;
    verdict(matches!(end, End::Faulted(_)), format!("{end:?}"))
}

fn spawn(_: &mut Lab) -> Outcome {
    bomb(|_| Ok(()))
}

fn spawn_spinning(lab: &mut Lab) -> Outcome {
    let (code, own) = (lab.code, lab.own);
    let _ = own;
    bomb(|env| {
        code.map_with(env, crate::child::CODE, Rights::READ | Rights::EXECUTE)?;
        let entry = crate::child::CODE + Stub::Spin.offset();
        env.start(entry, crate::child::STACK_TOP, 0)
    })
}

fn bomb(each: impl Fn(Env) -> Result<(), Status>) -> Outcome {
    let mut alive = Vec::new();
    let mut refusal = None;
    for _ in 0..SPAWNS {
        let made = Env::create(16, "bomb");
        match made {
            Ok(env) => {
                alive.push(env);
                if let Err(status) = each(env) {
                    refusal = Some(status);
                }
            }
            Err(status) => {
                refusal = Some(status);
                break;
            }
        }
    }
    let count = alive.len();
    for env in alive {
        let _ = env.kill();
        let _ = libos::capability::drop_handle(env.0);
    }
    let fine = matches!(refusal, Some(Status::Limit | Status::NoMemory)) && count < SPAWNS;
    verdict(fine, format!("{count} made, then {refusal:?}"))
}

fn frames(lab: &mut Lab) -> Outcome {
    let mut pages = Vec::with_capacity(8192);
    let end = loop {
        match Page::alloc(lab.own) {
            Ok(page) if pages.len() < 8192 => pages.push(page),
            Ok(_) => break None,
            Err(status) => break Some(status),
        }
    };
    let count = pages.len();
    let freed = pages.into_iter().all(|page| page.free().is_ok());
    verdict(end == Some(Status::NoMemory) && freed, format!("{count} pages, then {end:?}"))
}

fn capabilities(lab: &mut Lab) -> Outcome {
    let mut names = Vec::with_capacity(abi::limits::CAPABILITIES_MAX + 1);
    let page = Page::alloc(lab.own).map_err(|status| format!("{status:?}"))?;
    let end = loop {
        match page.derive(Rights::READ) {
            Ok(name) if names.len() < abi::limits::CAPABILITIES_MAX => names.push(name),
            Ok(_) => break None,
            Err(status) => break Some(status),
        }
    };
    let count = names.len();
    for name in names {
        let _ = name.forget();
    }
    let freed = page.free().is_ok();
    let fine = matches!(end, Some(Status::Limit | Status::NoMemory)) && freed;
    verdict(fine, format!("{count} capabilities, then {end:?}"))
}

fn small_table(lab: &mut Lab) -> Outcome {
    let child = Child::new(lab, FRAMES)?;
    let page = child.page.0;
    let steps: Vec<Step> = alloc::vec![step(Call::CapDerive, [page, 1, 0, 0], &[]); 96];
    script(lab, child, &steps)
}

/// Each mapping lies where it needs page tables of its own.
fn tables(lab: &mut Lab) -> Outcome {
    let child = Child::new(lab, FRAMES)?;
    let steps: Vec<Step> = (0..90u64)
        .map(|n| {
            let at = 0x10_0000_0000 + n * 0x80_0000_0000;
            step(Call::PageMap, [child.own.0, child.page.0, at, 1], &[])
        })
        .collect();
    child.write(lab, &steps);
    let end = child.run(lab, Stub::Script, SCRIPT)?;
    let answers = lab.answers(steps.len());
    let refused = answers.iter().filter(|it| it.0 == Status::NoMemory as u64).count();
    verdict(end == End::Exited(0) && refused > 40, format!("{end:?}, {refused} refused"))
}

fn lives(lab: &mut Lab) -> Outcome {
    for life in 0..100 {
        let child = Child::new(lab, FRAMES)?;
        if life % 2 == 0 {
            child.start(Stub::SpinCalls, 0)?;
            child.kill();
        } else {
            let end = child.run(lab, Stub::Leave, 0)?;
            if end != End::Exited(0) {
                return Err(format!("life {life}: {end:?}"));
            }
        }
    }
    Ok(String::from("100 lives"))
}
