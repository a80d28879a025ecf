//! The environments of the manifest: started, watched, ended.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use abi::limits::PAGE_BYTES;
use abi::start::{EnvironmentSpec, Manifest, Start, State};
use abi::{Handle, Rights, Status};
use libos::addresses::{AddressPage, Addresses, Six};
use libos::capability::{drop_handle, grant_handle, state_name};
use libos::clock::{now_ns, wait};
use libos::loader::{LoadError, Loaded, load};
use libos::revocation::{Kind, Progress};
use libos::slice::Vector;
use libos::sys::{Window, new_window};
use libos::{Env, Environment, Page, layout, println};

use crate::archive::Archive;
use crate::grants::Grants;

/// Instances that one `start` may ask for.
pub(crate) const INSTANCES_MAX: u64 = 64;
/// Lives that one `cycle` may ask for.
const CYCLES_MAX: u64 = 1000;

/// Who lives, and what it takes to start more.
#[derive(Debug)]
pub(crate) struct Cast {
    own: Env,
    debug: Handle,
    vector: Vector,
    mac: [u8; 6],
    archive: Archive,
    manifest: Manifest,
    grants: Grants,
    addresses: Page,
    errors: Page,
    /// Keeps the page's mapping here.
    _window: Window,
    alive: Vec<(String, Env)>,
}

impl Cast {
    /// Nobody yet; the page of addresses is made and filled.
    pub(crate) fn new(
        environment: &Environment,
        archive: Archive,
        manifest: Manifest,
        grants: Grants,
    ) -> Result<Cast, String> {
        let own = environment.own().map_err(|missing| format!("{missing}"))?;
        let debug = environment.handle("debug").map_err(|missing| format!("{missing}"))?;
        let vector = environment.handle("slices").map_err(|missing| format!("{missing}"))?;
        let vector = Vector(vector);
        let (window, addresses) = publish_addresses(own, environment, &manifest)
            .map_err(|status| format!("page of addresses: {status:?}"))?;
        if environment.mac() == [0; 6] {
            println!("there is no network card");
        }
        let errors = Page::alloc(own).map_err(|status| format!("page of errors: {status:?}"))?;
        let alive = Vec::new();
        let mac = environment.mac();
        Ok(Cast {
            own,
            debug,
            vector,
            mac,
            archive,
            manifest,
            grants,
            addresses,
            errors,
            _window: window,
            alive,
        })
    }

    /// Starts everybody whom the manifest wants at boot.
    pub(crate) fn start_at_boot(&mut self) {
        let specs: Vec<EnvironmentSpec> =
            self.manifest.environments.iter().filter(|spec| spec.at_boot).cloned().collect();
        for spec in &specs {
            if let Err(why) = self.start_one(spec, spec.name.clone()) {
                println!("{} not started: {why}", spec.name);
            }
        }
    }

    /// Starts `NAME`, or with a count so many more of `NAME.0`, `NAME.1` …, the first that are
    /// free: how many it started.
    pub(crate) fn start(&mut self, name: &str, count: Option<u64>) -> Result<u64, Status> {
        let spec = self.manifest.environments.iter().find(|spec| spec.name == name);
        let spec = spec.ok_or(Status::BadArgument)?.clone();
        let names: Vec<String> = match count {
            None => alloc::vec![spec.name.clone()],
            Some(count) if count <= INSTANCES_MAX => {
                let all = (0..2 * INSTANCES_MAX).map(|i| format!("{}.{i}", spec.name));
                all.filter(|name| !self.lives(name)).take(count as usize).collect()
            }
            Some(_) => return Err(Status::Limit),
        };
        let mut started = 0;
        for name in names {
            if let Err(why) = self.start_one(&spec, name.clone()) {
                println!("{name} not started: {why}");
                let status = if let LoadError::Call { status, .. } = why {
                    status
                } else {
                    Status::BadArgument
                };
                return if started == 0 { Err(status) } else { Ok(started) };
            }
            started += 1;
        }
        Ok(started)
    }

    /// Ends `NAME` and every `NAME.i`: how many that were.
    pub(crate) fn kill(&mut self, name: &str) -> u64 {
        let mut killed = 0;
        self.alive.retain(|(alive, env)| {
            let instance = alive.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            let hit = alive == name || instance;
            if hit {
                killed += u64::from(env.kill().is_ok());
                // Its name may be used again; the kernel has the rest.
                let _ = drop_handle(env.0);
                println!("killed {alive}");
            }
            !hit
        });
        killed
    }

    /// Says who has ended since the last look, and forgets them.
    pub(crate) fn bury(&mut self) {
        self.alive.retain(|(name, env)| {
            let Ok((state, detail)) = env.status() else { return false };
            let ended = matches!(state, State::Exited | State::Faulted | State::Killed);
            if ended {
                println!("{name} {}", state_name(state, detail));
                let _ = drop_handle(env.0);
            }
            !ended
        });
    }

    /// Asks `NAME` for so many of a kind until that time; the request's number.
    pub(crate) fn revoke(
        &self,
        name: &str,
        (kind, amount): (Kind, u64),
        deadline_ns: u64,
    ) -> Result<u64, Status> {
        self.find(name)?.revoke(kind, amount, deadline_ns)
    }

    /// What has become of that, as a register carries it.
    pub(crate) fn revoked(&self, name: &str) -> Result<u64, Status> {
        self.find(name)?.revoked().map(Progress::pack)
    }

    /// Calls a grant of the manifest's back until that time.
    pub(crate) fn recall(&self, grant: &str, deadline_ns: u64) -> Result<u64, Status> {
        self.grants.find(grant).ok_or(Status::BadArgument)?.recall(deadline_ns)
    }

    /// Makes and kills so many of `NAME`, one after the other; with `hold_ns` each lives, from its
    /// first long call on, for a part of that which is another one each time. How many that were
    /// in bits 0-15, of them ended while they proved in bits 16-31, while they waited in bits
    /// 32-47.
    pub(crate) fn cycle(&mut self, name: &str, count: u64, hold_ns: u64) -> Result<u64, Status> {
        let spec = self.manifest.environments.iter().find(|spec| spec.name == name);
        let spec = spec.ok_or(Status::BadArgument)?.clone();
        let mut done = 0;
        for round in 0..count.min(CYCLES_MAX) {
            let made = self.make(&spec, &format!("{name}.cycle"));
            let env = made.map_err(|why| {
                println!("{name}, cycle {round}: {why}");
                Status::NoMemory
            })?;
            if hold_ns > 0 {
                await_first_call(env)?;
                // Any part of the time, another one each time.
                let now = now_ns();
                let part = now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
                let until = now.saturating_add(hold_ns / 65_536 * part);
                while now_ns() < until {
                    wait(until);
                }
            }
            done += match env.status()?.0 {
                State::Proving => 1 | 1 << 16,
                State::Waiting => 1 | 1 << 32,
                _ => 1,
            };
            env.kill()?;
            drop_handle(env.0)?;
        }
        Ok(done)
    }

    fn find(&self, name: &str) -> Result<Env, Status> {
        let found = self.alive.iter().find(|(alive, _)| alive == name);
        found.map(|(_, env)| *env).ok_or(Status::BadArgument)
    }

    /// How many live.
    pub(crate) fn alive(&self) -> u64 {
        self.alive.len() as u64
    }

    fn lives(&self, name: &str) -> bool {
        self.alive.iter().any(|(alive, _)| alive == name)
    }

    fn start_one(&mut self, spec: &EnvironmentSpec, name: String) -> Result<(), LoadError> {
        if self.lives(&name) {
            return Err(LoadError::Call { doing: "taking the name", status: Status::Occupied });
        }
        let env = self.make(spec, &name)?;
        println!("started {name}");
        self.alive.push((name, env));
        Ok(())
    }

    /// Loads, endows and starts, and says nothing.
    fn make(&self, spec: &EnvironmentSpec, name: &str) -> Result<Env, LoadError> {
        let missing = LoadError::Call { doing: "finding the program", status: Status::BadArgument };
        let file = self.archive.file(&spec.program).ok_or(missing)?;
        let loaded = load(self.own, name, u64::from(spec.frames), file)?;
        let start = match self.endow(spec, name, &loaded) {
            Ok(start) => start,
            Err(status) => {
                loaded.abandon();
                return Err(LoadError::Call { doing: "passing capabilities on", status });
            }
        };
        loaded.start(self.own, &start)
    }

    /// Gives an environment what the manifest says: its start block.
    fn endow(&self, spec: &EnvironmentSpec, name: &str, loaded: &Loaded) -> Result<Start, Status> {
        let env = loaded.env;
        let own = grant_handle(env.0, env, Rights::CONTROL | Rights::GRANT)?;
        let debug = grant_handle(self.debug, env, Rights::WRITE)?;
        let mut handles = alloc::vec![("self".to_string(), own), ("debug".to_string(), debug)];
        for number in 0..spec.slices.max(1) {
            let slice = match self.vector.allocate(env, None) {
                // It runs in what the owners of positions leave.
                Err(Status::Limit) => break,
                slice => slice?,
            };
            let there = grant_handle(slice.0, env, Rights::CONTROL | Rights::GRANT)?;
            // The position is the environment's; its name here is not needed.
            drop_handle(slice.0)?;
            let name = if number == 0 { "slice".to_string() } else { format!("slice:{number}") };
            handles.push((name, there));
        }
        for wanted in &spec.grants {
            // A grant that was refused is missing from the start block, as its line above said.
            let Some(grant) = self.grants.find(wanted) else { continue };
            let handle = grant_handle(grant.0, env, Rights::BIND)?;
            handles.push((format!("grant:{wanted}"), handle));
        }
        self.addresses.map(env, layout::ADDRESSES, spec.owns_addresses)?;
        self.errors.map(env, layout::ERRORS, spec.owns_addresses)?;
        let region = |name: &str, at| (name.to_string(), at, PAGE_BYTES as u64);
        let regions =
            alloc::vec![region("addresses", layout::ADDRESSES), region("errors", layout::ERRORS)];
        Ok(Start {
            version: abi::VERSION,
            name: name.to_string(),
            arguments: spec.arguments.clone(),
            handles,
            regions,
            mac: self.mac,
        })
    }
}

/// Waits until a fresh environment has begun to prove or to wait, a second at most.
fn await_first_call(env: Env) -> Result<(), Status> {
    let until = now_ns().saturating_add(1_000_000_000);
    while env.status()?.0 == State::Runnable && now_ns() < until {
        wait(now_ns().saturating_add(50_000));
    }
    Ok(())
}

/// The page, filled with what is known at boot; `netd` keeps it from then on. With the word `dhcp`
/// on the command line the IPv4 address is not known: `netd` asks for it.
fn publish_addresses(
    own: Env,
    environment: &Environment,
    manifest: &Manifest,
) -> Result<(Window, Page), Status> {
    let (window, pages) = new_window(own, 1)?;
    let page = *pages.first().ok_or(Status::NoMemory)?;
    let mac = environment.mac();
    let ask = environment.arguments().split_whitespace().any(|word| word == "dhcp");
    let (ipv4, prefix, gateway) = if ask { ([0; 4], 0, [0; 4]) } else { manifest.ipv4 };
    let (address, prefix6, router) = manifest.ipv6;
    let six = Six { address, prefix: u32::from(prefix6), router, ..Six::link_local(mac) };
    let prefix = u32::from(prefix);
    let addresses = Addresses { mac, ipv4, prefix, gateway, neighbours: Vec::new(), six };
    AddressPage::new(window.clone()).ok_or(Status::NoMemory)?.publish(&addresses);
    Ok((window, page))
}
