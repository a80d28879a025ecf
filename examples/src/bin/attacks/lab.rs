//! What all attacks share: the page of stubs, the pages shared with children, the grant, the pace.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use libos::capability::report;
use libos::clock::{now_ns, wait};
use libos::sys::stubs::{code, script};
use libos::sys::{Window, new_window, with_scratch};
use libos::{Env, Environment, Grant, Page};
use libos_net::{Net, UdpSocket};

use crate::PORT;
use crate::child::SCRIPT_PAGES;

/// How long the word to go on may take before the attack goes on by itself.
const PATIENCE_NS: u64 = 120_000_000_000;

/// After so long a line is repeated.
const REPEAT_NS: u64 = 500_000_000;
/// How long a frame that was asked for may take, and the time between two looks.
const POKE_NS: u64 = 10_000_000_000;
const LOOK_NS: u64 = 1_000_000;

/// What all attacks share.
pub(crate) struct Lab {
    pub(crate) own: Env,
    pub(crate) net: Net,
    pub(crate) grant: Grant,
    /// The stubs' page.
    pub(crate) code: Page,
    /// The pages that every child shares with the attacker, and where the attacker sees them.
    pub(crate) shared: Vec<Page>,
    pub(crate) window: Window,
    socket: Option<UdpSocket>,
}

impl Lab {
    /// Makes it.
    pub(crate) fn new(environment: &Environment) -> Result<Lab, String> {
        let text = |doing: &'static str| move |status| format!("{doing}: {status:?}");
        let own = environment.own().map_err(|missing| format!("{missing}"))?;
        let grant = environment.grant("public").map_err(|missing| format!("{missing}"))?;
        let net = Net::new(environment).map_err(|error| format!("{error}"))?;
        let page = Page::alloc(own).map_err(text("a page for the stubs"))?;
        with_scratch(own, page, |window| window.write(0, code())).map_err(text("the stubs"))?;
        let (window, shared) = new_window(own, SCRIPT_PAGES).map_err(text("shared pages"))?;
        let paced = environment.arguments().split_whitespace().any(|word| word == "paced");
        let socket = paced.then(|| UdpSocket::bind(&net, grant, PORT)).transpose();
        let socket = socket.map_err(|error| format!("{error}"))?;
        // The heap takes its pages now, so that none seem lost later.
        drop(alloc::vec![1u8; 512 * 1024]);
        Ok(Lab { own, net, grant, code: page, shared, window, socket })
    }

    /// What the script's calls were answered: status and value.
    pub(crate) fn answers(&self, count: usize) -> Vec<(u64, u64)> {
        let word = |at: usize| self.window.load_u64(at);
        let entry = |place: usize| script::ENTRIES + place * script::ENTRY;
        (0..count)
            .map(|place| (word(entry(place) + script::STATUS), word(entry(place) + script::VALUE)))
            .collect()
    }

    /// Whether somebody outside follows.
    pub(crate) fn is_paced(&self) -> bool {
        self.socket.is_some()
    }

    /// Asks whoever follows for a frame of that kind to that port, and waits until it is there.
    pub(crate) fn poke(&self, kind: &str, port: u16, there: impl Fn() -> bool) {
        if !self.is_paced() {
            return;
        }
        let _ = report(format!("poke {kind} {port}").as_bytes());
        let deadline = now_ns().saturating_add(POKE_NS);
        while !there() && now_ns() < deadline {
            wait(now_ns().saturating_add(LOOK_NS));
        }
    }

    /// Waits for the word to go on after that attack; repeats the line that asks for it, since a
    /// burst of records may have left no room for it.
    pub(crate) fn pace(&mut self, number: usize, line: &str) {
        let Some(socket) = &mut self.socket else { return };
        let word = format!("go {number}");
        let deadline = now_ns().saturating_add(PATIENCE_NS);
        let mut buffer = [0; 64];
        while now_ns() < deadline {
            let again = now_ns().saturating_add(REPEAT_NS);
            let Some((length, _)) = socket.recv_from(&mut buffer, again) else {
                let _ = report(line.as_bytes());
                continue;
            };
            if buffer.get(..length) == Some(word.as_bytes()) {
                return;
            }
        }
    }
}
