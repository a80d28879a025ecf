//! The round-trip figure as Markdown and as two plots.

use std::fmt::Write as _;

use super::{ALL, Series, Steady, Timed, Who, plot};
use crate::attacks::commit;
use crate::demo::{self, Row};
use crate::limits;

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Instructions per echo.
    pub steady: Vec<Steady>,
    /// Instructions from interrupt to kick.
    pub counted: Vec<Row>,
    /// Round trips in time.
    pub timed: Vec<Timed>,
}

/// A demand: whose instructions, at most one of so many parts of whose.
const DEMANDS: [(Who, u64, Who); 3] =
    [(Who::Ash, 6, Who::Xdp), (Who::Ash, 20, Who::Socket), (Who::Library, 4, Who::Socket)];

/// The document, and the plots with their file names.
#[must_use]
pub fn report(all: &Measured, made: &str) -> (String, [(&'static str, String); 2]) {
    let mut text = String::from("# What a UDP echo costs\n\n");
    // Writing to a string never fails.
    let _ =
        writeln!(text, "Made by `cargo run -- evidence roundtrip`, commit {}. {made}\n", commit());
    steady(&mut text, &all.steady);
    counted(&mut text, &all.counted);
    timed(&mut text, &all.timed);
    (text, plots(all))
}

fn steady(text: &mut String, all: &[Steady]) {
    let _ = writeln!(
        text,
        "## Guest instructions per echo, all that the guest ran\n\nCounted from the outside by a \
         plugin of QEMU, over {} requests of 32 bytes, with one and with {} on their way; \
         interrupts, timers and idling included, halted time not. Both Linux echoes ran with \
         mitigations and hardening off. The XDP program is the ASH, byte for byte.\n\n\
         | who | one at a time | of it ring 3 | {} at a time | of it ring 3 |\n\
         |---|---|---|---|---|",
        limits::AVERAGED,
        limits::WINDOW,
        limits::WINDOW
    );
    for Steady { who, alone, window } in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            who.name(),
            alone.0 + alone.1,
            alone.0,
            window.0 + window.1,
            window.0
        );
    }
    text.push_str("\n| target | one at a time | | with a window | |\n|---|---|---|---|---|\n");
    for (who, parts, whose) in DEMANDS {
        let [alone, window] = [0, 1].map(|at| demand(all, (who, parts, whose), at));
        let (who, whose) = (who.name(), whose.name());
        let _ = writeln!(text, "| {who}: at most 1/{parts} of {whose} | {alone} | {window} |");
    }
}

fn total(all: &[Steady], who: Who, which: usize) -> Option<u64> {
    let found = all.iter().find(|it| it.who == who)?;
    let (ring3, kernel) = if which == 0 { found.alone } else { found.window };
    Some(ring3 + kernel)
}

/// The quotient and whether it is enough.
fn demand(all: &[Steady], (who, parts, whose): (Who, u64, Who), which: usize) -> String {
    match (total(all, who, which), total(all, whose, which)) {
        (Some(ours), Some(theirs)) => {
            let tenths = theirs * 10 / ours.max(1);
            let verdict = if ours * parts <= theirs { "met" } else { "**missed**" };
            format!("1/{}.{} | {verdict}", tenths / 10, tenths % 10)
        }
        _ => "- | not measured".to_owned(),
    }
}

fn counted(text: &mut String, rows: &[Row]) {
    text.push_str(
        "\n## Guest instructions from receive interrupt to transmit kick, by runnable others\n\n\
         Sluice under `-icount shift=0,sleep=off`, medians; other environments' slices \
         included.\n\n\
         | runnable | ASH | library OS |\n|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(text, "| {} | {} | {} |", row.runnable, row.ash, row.library);
    }
    let spread = demo::spread_per_mille(rows);
    let flat = if (1..=limits::FLAT_PER_MILLE).contains(&spread) { "met" } else { "**missed**" };
    let (whole, rest) = (spread / 1000, spread % 1000);
    let _ = writeln!(text, "\nTarget, flat with the ASH: max/min {whole}.{rest:03}, {flat}.");
    text.push_str("\n![instructions](roundtrip-instructions.svg)\n");
}

fn timed(text: &mut String, all: &[Timed]) {
    let _ = writeln!(
        text,
        "\n## Round trips in microseconds, by runnable others\n\nPlain emulation, one after the \
         other, {} each, as the host sees them: median (nine in ten at most). The host was busy \
         with other work; only what differs by a multiple means something.\n",
        limits::TIMED
    );
    let names: Vec<&str> = ALL.iter().map(|who| who.name()).collect();
    let _ = writeln!(text, "| runnable | {} |\n|---|---|---|---|---|", names.join(" | "));
    for runnable in limits::LOADED {
        let cell = |who: &Who| {
            let found = all.iter().find(|it| (it.who, it.runnable) == (*who, runnable));
            found.map_or_else(
                || "-".to_owned(),
                |it| format!("{} ({})", it.trips.median.as_micros(), it.trips.most.as_micros()),
            )
        };
        let cells: Vec<String> = ALL.iter().map(cell).collect();
        let _ = writeln!(text, "| {runnable} | {} |", cells.join(" | "));
    }
    text.push_str("\n![microseconds](roundtrip-time.svg)\n");
}

fn plots(all: &Measured) -> [(&'static str, String); 2] {
    let series = |name: &str, value: fn(&Row) -> u64| Series {
        name: name.to_owned(),
        points: all.counted.iter().map(|row| (row.runnable, value(row))).collect(),
    };
    let counted =
        [series(Who::Ash.name(), |row| row.ash), series(Who::Library.name(), |row| row.library)];
    let title = "UDP echo, receive interrupt to transmit kick";
    let beside = "runnable beside it";
    let instructions = plot(title, (beside, "guest instructions"), &counted);
    let times: Vec<Series> = ALL.iter().map(|who| times(*who, &all.timed)).collect();
    let unit = (beside, "microseconds, median");
    let time = plot("UDP echo, round trip as the host sees it", unit, &times);
    [("roundtrip-instructions.svg", instructions), ("roundtrip-time.svg", time)]
}

fn times(who: Who, all: &[Timed]) -> Series {
    let own = all.iter().filter(|it| it.who == who);
    let points = own.map(|it| (it.runnable, it.trips.median.as_micros() as u64)).collect();
    Series { name: who.name().to_owned(), points }
}

#[cfg(test)]
mod tests {
    use super::{Measured, report};
    use crate::demo::Row;
    use crate::roundtrip::{Steady, Timed, Trips, Who};
    use std::time::Duration;

    #[test]
    fn targets_are_held_against_the_figures_and_gaps_are_named() {
        let steady = |who, all| Steady { who, alone: (0, all), window: (10, all - 10) };
        let timed = |who, us| {
            let time = Duration::from_micros(us);
            Timed { who, runnable: 4, trips: Trips { least: time, median: time, most: time * 2 } }
        };
        let all = Measured {
            steady: vec![steady(Who::Ash, 1000), steady(Who::Xdp, 5999)],
            counted: vec![Row { runnable: 4, ash: 700, library: 5000, samples: 3 }],
            timed: vec![timed(Who::Ash, 50), timed(Who::Socket, 300)],
        };
        let (text, plots) = report(&all, "On q35.");
        assert!(text.contains("| Sluice, ASH | 1000 | 0 | 1000 | 10 |"), "{text}");
        assert!(text.contains("at most 1/6 of Linux, XDP_TX | 1/5.9 | **missed**"), "{text}");
        assert!(text.contains("at most 1/20 of Linux, socket | - | not measured"), "{text}");
        assert!(text.contains("| 4 | 700 | 5000 |") && text.contains("max/min 1.000, met"));
        assert!(text.contains("| 4 | 50 (100) | - | - | 300 (600) |"), "{text}");
        assert!(plots.iter().all(|(_, svg)| svg.contains("<circle")));
    }
}
