//! What does a handler cost in native code, interpreted, and elsewhere?
//!
//! The echo handler that the demo uploads, answering one frame in place again and again: the answer
//! to an answer is a request.

use ebpf::interp::{NoHelpers, run_packet};
use ebpf::{Kind, asm};
use runtime::PacketBuffer;
use runtime::native::HostPages;
use sluice_benches::clock::criterion;
use sluice_benches::frames::{Frame, udp};
use sluice_benches::peers::Rbpf;
use sluice_benches::world::{ADDRESS, safe};

const ECHO: &str = include_str!("../../examples/ash/echo.s");
const XDP_TX: u64 = 3;

fn main() {
    let program = asm::program(Kind::Ash, ECHO).unwrap_or_else(|error| panic!("{error}"));
    let peer = Rbpf::new(&ebpf::encode(&program));
    let mut pages = HostPages::default();
    let verified = safe(program.clone());
    let native = dpf::load(&verified, &mut pages).unwrap_or_else(|error| panic!("{error}"));
    let budget = verified.worst_case().into();

    let mut criterion = criterion();
    let mut group = criterion.benchmark_group(format!("native/echo, {} slots", program.len()));
    let mut bench = |name: &str, run: &mut dyn FnMut(&mut Frame) -> u64| {
        let mut frame = udp(ADDRESS, 7);
        let before = frame;
        assert_eq!(run(&mut frame), XDP_TX, "{name}");
        assert_eq!((&frame[26..30], &frame[34..36]), (&before[30..34], &before[36..38]), "{name}");
        assert_eq!(run(&mut frame), XDP_TX, "{name}");
        assert_eq!(frame, before, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| run(&mut frame)));
    };
    bench("engine", &mut |frame| native.run(&mut PacketBuffer::whole(frame)));
    bench("rbpf, compiled", &mut |frame| peer.run(frame));
    bench("reference interpreter", &mut |frame| {
        run_packet(&program, frame, &mut NoHelpers, budget).unwrap_or_else(|trap| panic!("{trap}"))
    });
    bench("rbpf, interpreted", &mut |frame| peer.interpret(frame));
    group.finish();
    criterion.final_summary();
    native.free(&mut pages);
}
