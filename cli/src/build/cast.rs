//! The cast of the demo: who exists, who may receive and send what.
//!
//! Flow spaces are written as expressions and cross to the machine as filter programs, the only
//! language that it accepts. Two library OSes hold the grant `public` together: between them,
//! disjointness is the only fence.

use std::net::Ipv6Addr;

use abi::start::{EnvironmentSpec, GrantSpec, Manifest};

use super::BuildError;
use crate::wire::frames::{
    GATEWAY_IP, GUEST_IP, GUEST_IP6, GUEST_MAC, Mac, PREFIX, PREFIX6, link_local,
};

/// Port that an ASH alone answers.
pub const ECHO_PORT: u16 = 7;
/// Port of the program that links neither library.
pub const BARE_PORT: u16 = 9;
/// Port of the name server.
pub const DNS_PORT: u16 = 53;
/// Port of the time server.
pub const NTP_PORT: u16 = 123;
/// Port of the key-value server.
pub const KV_PORT: u16 = 11_211;
/// TCP port of the web server.
pub const HTTP_PORT: u16 = 80;
/// Port of the listener behind a guard.
pub const GUARDED_PORT: u16 = 7080;
/// TCP port of the program that takes and gives as many bytes as somebody wants.
pub const BULK_PORT: u16 = 5201;
/// Port that a library OS answers in ring 3.
pub const TALK_PORT: u16 = 7777;
/// Port whose binding becomes two.
pub const PARTS_PORT: u16 = 7950;

/// One line of the table of grants: name, receive expression, transmit expression (or the mirror).
struct Grant {
    name: &'static str,
    receive: String,
    transmit: Option<String>,
}

/// One line of the table of environments.
struct Role {
    name: &'static str,
    frames: u32,
    grants: &'static [&'static str],
    at_boot: bool,
}

/// Frames of a library OS with sockets, rings, a heap, and room for a proof (4 MiB while it runs).
const WITH_STACK: u32 = 3072;
/// Frames of one that keeps values besides, in its own memory and in a map.
const WITH_STORE: u32 = 6144;
/// Frames of one with many connections, each with its buffers.
const WITH_CONNECTIONS: u32 = 8192;
/// Frames of one that only loops, or only faults.
const TINY: u32 = 128;

/// Frames of one that holds pages which it can be asked for.
const ROOMY: u32 = 320;

const ROLES: &[Role] = &[
    Role { name: "netd", frames: WITH_STACK, grants: &["netd"], at_boot: true },
    Role { name: "echo", frames: WITH_STACK, grants: &["echo"], at_boot: true },
    Role { name: "talk", frames: WITH_STACK, grants: &["public"], at_boot: true },
    Role { name: "bare", frames: WITH_STACK, grants: &["bare"], at_boot: true },
    Role { name: "squatter", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "downloads", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "limiter", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "download-attacks", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "spin", frames: TINY, grants: &[], at_boot: false },
    Role { name: "faulter", frames: TINY, grants: &[], at_boot: false },
    Role { name: "sse", frames: TINY, grants: &[], at_boot: false },
    Role { name: "cache", frames: ROOMY, grants: &[], at_boot: false },
    Role { name: "stubborn", frames: ROOMY, grants: &[], at_boot: false },
    Role { name: "xdp", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "dns", frames: WITH_STACK, grants: &["dns"], at_boot: false },
    Role { name: "kv", frames: WITH_STORE, grants: &["kv"], at_boot: false },
    Role { name: "ntp", frames: WITH_STACK, grants: &["ntp"], at_boot: false },
    Role { name: "http", frames: WITH_CONNECTIONS, grants: &["http"], at_boot: false },
    Role { name: "ping", frames: WITH_STACK, grants: &["ping"], at_boot: false },
    Role { name: "guarded", frames: WITH_CONNECTIONS, grants: &["guarded"], at_boot: false },
    Role { name: "bulk", frames: WITH_CONNECTIONS, grants: &["bulk"], at_boot: false },
    Role { name: "caller", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "parts", frames: WITH_STACK, grants: &["public"], at_boot: false },
    Role { name: "prover", frames: WITH_STACK, grants: &["public"], at_boot: false },
];

/// One line of the table of programs that are started when somebody asks, and hold no grant.
struct Extra {
    name: &'static str,
    program: &'static str,
    arguments: &'static str,
    frames: u32,
}

/// Those that get more than one position of the vector of slices.
const SLICES: &[(&str, u32)] =
    &[("ipc", 2), ("time-attacks", 3), ("dns", 8), ("kv", 8), ("ntp", 2), ("http", 8), ("bulk", 8)];

const EXTRAS: &[Extra] = &[
    Extra { name: "stride", program: "stride", arguments: "", frames: 1024 },
    Extra { name: "ipc", program: "ipc", arguments: "", frames: 1024 },
    Extra { name: "time-attacks", program: "time-attacks", arguments: "", frames: 2048 },
    Extra { name: "pager", program: "pager", arguments: "", frames: 512 },
    Extra { name: "mem-attacks", program: "mem-attacks", arguments: "", frames: 512 },
    Extra { name: "mem-nested", program: "mem-attacks", arguments: "nested", frames: 256 },
];

fn grants() -> Vec<Grant> {
    let [a, b, c, d] = GUEST_IP;
    let ours = format!("{a}.{b}.{c}.{d}");
    let service = |test: String| format!("udp and dst host {ours} and {test}");
    let six = [Ipv6Addr::from(link_local(GUEST_MAC)), Ipv6Addr::from(GUEST_IP6)];
    let [near, far] = six.map(|ip| ip.to_string());
    let stream = |port: u16| {
        let hosts = format!("(dst host {ours} or dst host {near} or dst host {far})");
        format!("tcp and {hosts} and dst port {port}")
    };
    // Whoever has an address listens to the group of those that end like it.
    let groups = six.map(|ip| {
        let [.., x, y, z] = ip.octets();
        format!("dst host ff02::1:ff{x:02x}:{:x}", u16::from_be_bytes([y, z]))
    });
    // All nodes hear of routers.
    let discovery = format!(
        "icmp6 and (dst host {near} or dst host {far} or {} or {} or dst host ff02::1)",
        groups[0], groups[1]
    );
    vec![
        Grant {
            name: "netd",
            receive: format!(
                "arp or (icmp and dst host {ours} and icmp[0] != 0) or ({discovery}) or \
                 (udp and src port 67 and dst port 68)"
            ),
            transmit: Some(format!(
                "ether src {} and (arp or (icmp and src host {ours}) or \
                 (icmp6 and (src host {near} or src host {far})) or \
                 (udp and (src host 0.0.0.0 or src host {ours}) and \
                 src port 68 and dst port 67))",
                Mac(GUEST_MAC)
            )),
        },
        Grant {
            name: "ping",
            receive: format!("icmp and dst host {ours} and icmp[0] = 0"),
            transmit: Some(format!(
                "ether src {} and icmp and src host {ours} and icmp[0] = 8",
                Mac(GUEST_MAC)
            )),
        },
        Grant { name: "echo", receive: service(format!("dst port {ECHO_PORT}")), transmit: None },
        Grant {
            name: "public",
            receive: service("dst portrange 7000-7999".into()),
            transmit: None,
        },
        Grant { name: "http", receive: stream(HTTP_PORT), transmit: None },
        Grant {
            name: "guarded",
            receive: format!("tcp and dst host {ours} and dst port {GUARDED_PORT}"),
            transmit: None,
        },
        Grant { name: "bulk", receive: stream(BULK_PORT), transmit: None },
        Grant { name: "bare", receive: service(format!("dst port {BARE_PORT}")), transmit: None },
        Grant {
            name: "crowd",
            receive: service("dst portrange 20000-39999".into()),
            transmit: None,
        },
        Grant { name: "dns", receive: service(format!("dst port {DNS_PORT}")), transmit: None },
        Grant { name: "kv", receive: service(format!("dst port {KV_PORT}")), transmit: None },
        Grant { name: "ntp", receive: service(format!("dst port {NTP_PORT}")), transmit: None },
    ]
}

/// The manifest that `init` works through.
///
/// # Errors
/// [`BuildError::Grant`] when an expression makes no program.
pub fn manifest() -> Result<Manifest, BuildError> {
    let mut manifest = Manifest {
        ipv4: (GUEST_IP, PREFIX, GATEWAY_IP),
        ipv6: (GUEST_IP6, PREFIX6, [0; 16]),
        ..Manifest::default()
    };
    for Grant { name, receive, transmit } in grants() {
        let failed = |reason| BuildError::Grant { grant: name.to_owned(), reason };
        manifest.grants.push(GrantSpec {
            name: name.to_owned(),
            parent: String::new(),
            receive: filter(&receive).map_err(failed)?,
            transmit: transmit.map_or(Ok(Vec::new()), |text| filter(&text)).map_err(failed)?,
            expression: receive,
        });
    }
    manifest.environments = ROLES.iter().map(environment).chain(EXTRAS.iter().map(extra)).collect();
    manifest.environments.extend(["all", "quick"].map(attacker));
    manifest.environments.extend([("crowd", 225), ("crowd-90", 90), ("crowd-10", 10)].map(crowd));
    Ok(manifest)
}

fn environment(role: &Role) -> EnvironmentSpec {
    EnvironmentSpec {
        name: role.name.to_owned(),
        program: format!("bin/{}", role.name),
        frames: role.frames,
        arguments: String::new(),
        grants: role.grants.iter().map(|&name| name.to_owned()).collect(),
        at_boot: role.at_boot,
        owns_addresses: role.name == "netd",
        slices: slices_of(role.name),
    }
}

/// One that binds so many filters and sleeps.
fn crowd((name, filters): (&str, u32)) -> EnvironmentSpec {
    let role = Role { name: "crowd", frames: WITH_STACK, grants: &["crowd"], at_boot: false };
    EnvironmentSpec { name: name.to_owned(), arguments: filters.to_string(), ..environment(&role) }
}

/// The hostile library OS, which shares a grant with its victim.
fn attacker(selection: &str) -> EnvironmentSpec {
    let name = if selection == "all" { "attacks".into() } else { format!("attacks-{selection}") };
    let role =
        Role { name: "attacks", frames: 2 * WITH_STACK, grants: &["public"], at_boot: false };
    EnvironmentSpec { name, arguments: format!("{selection} paced"), ..environment(&role) }
}

fn extra(extra: &Extra) -> EnvironmentSpec {
    EnvironmentSpec {
        name: extra.name.to_owned(),
        program: format!("bin/{}", extra.program),
        frames: extra.frames,
        arguments: extra.arguments.to_owned(),
        slices: slices_of(extra.name),
        ..EnvironmentSpec::default()
    }
}

fn slices_of(name: &str) -> u32 {
    SLICES.iter().find(|(known, _)| *known == name).map_or(1, |(_, count)| *count)
}

/// An expression as filter bytes.
///
/// # Errors
/// What the parser, the algebra or the lowering says, as text.
pub fn filter(expression: &str) -> Result<Vec<u8>, String> {
    let parsed = flow::expr::parse(expression).map_err(|error| error.to_string())?;
    let space = parsed.to_space().map_err(|error| error.to_string())?;
    let program = flow::lower::lower(&space).map_err(|error| error.to_string())?;
    Ok(ebpf::encode(&program))
}

#[cfg(test)]
mod tests {
    use super::{ECHO_PORT, TALK_PORT, filter, grants, manifest};
    use crate::wire::frames;

    fn accepts(program: &[u8], frame: &[u8]) -> bool {
        let program = ebpf::decode(program, ebpf::Kind::Filter, 4096).unwrap();
        ebpf::interp::accepts(&program, frame).unwrap()
    }

    #[test]
    fn each_request_belongs_to_one_grant() {
        let manifest = manifest().unwrap();
        let owner = |frame: &[u8]| -> Vec<&str> {
            let holders = manifest.grants.iter().filter(|g| accepts(&g.receive, frame));
            holders.map(|g| g.name.as_str()).collect()
        };
        assert_eq!(owner(&frames::udp(4000, ECHO_PORT, b"x")), ["echo"]);
        assert_eq!(owner(&frames::udp(4000, TALK_PORT, b"x")), ["public"]);
        assert_eq!(owner(&frames::udp(4000, 9, b"x")), ["bare"]);
        assert_eq!(owner(&frames::ping(1, 1, b"x")), ["netd"]);
        assert_eq!(owner(&frames::arp_request(frames::GUEST_IP)), ["netd"]);
        for (port, name) in [(53, "dns"), (11_211, "kv"), (123, "ntp")] {
            assert_eq!(owner(&frames::udp(4000, port, b"x")), [name]);
        }
        assert!(owner(&frames::udp(4000, 54, b"x")).is_empty());
        assert!(owner(&frames::later_fragment(1, b"x")).is_empty());
        assert!(owner(&frames::control("audit")).is_empty());
    }

    #[test]
    fn grants_are_pairwise_disjoint() {
        let spaces: Vec<flow::Space> = grants()
            .iter()
            .map(|g| flow::expr::parse(&g.receive).unwrap().to_space().unwrap())
            .collect();
        for (i, a) in spaces.iter().enumerate() {
            for b in &spaces[i + 1..] {
                assert!(a.disjoint_from(b).is_ok());
            }
        }
    }

    #[test]
    fn netd_may_not_speak_for_another_card() {
        let manifest = manifest().unwrap();
        let transmit = &manifest.grants[0].transmit;
        assert!(!accepts(transmit, &frames::arp_request(frames::GUEST_IP)));
        let mut own = frames::arp_request(frames::GUEST_IP);
        own[6..12].copy_from_slice(&frames::GUEST_MAC);
        assert!(accepts(transmit, &own));
    }

    #[test]
    fn a_bad_expression_is_refused_with_its_place() {
        assert!(filter("udp and dst prot 7").unwrap_err().contains("column"));
    }
}
