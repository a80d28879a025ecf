//! `docs/evidence/http.md`.

use std::fmt::Write as _;

use super::{FILES, Row, WAYS, Who};
use crate::attacks::commit;

/// Requests per instruction beside nginx that are asked for.
const TARGET: f64 = 3.0;

/// The document; `skipped` says why there is no nginx beside it.
#[must_use]
pub fn report(rows: &[Row], made: &str, skipped: Option<&str>) -> String {
    let mut text = String::from("# What an HTTP request costs\n\n");
    // Writing to a string never fails.
    let _ = writeln!(text, "Made by `cargo run -- evidence http`, commit {}. {made}\n", commit());
    let _ = writeln!(
        text,
        "Guest instructions per request, counted from the outside by a plugin of QEMU: everything \
         that the guest ran while\nit was asked, interrupts, timers, acknowledgements and idling \
         included, halted time not. One client for both, on the\nhost, through the same card; \
         connections stay, every byte is checked. nginx has one worker, `sendfile`,\n\
         `tcp_nopush`, an `open_file_cache` and no log, and Linux runs with mitigations and \
         hardening off.\n"
    );
    if let Some(skipped) = skipped {
        let _ = writeln!(text, "nginx was skipped: {skipped}\n");
    }
    let _ = writeln!(
        text,
        "| file | asked for | Sluice | of it ring 3 | nginx | of it ring 3 | requests per \
         instruction | target {TARGET}x |\n|---|---|---:|---:|---:|---:|---:|---|"
    );
    for file in FILES {
        for way in WAYS {
            let of = |who| rows.iter().find(|it| (it.who, it.file, it.way) == (who, file, way));
            let (ours, theirs) = (of(Who::Sluice), of(Who::Nginx));
            let cells = |row: Option<&Row>| match row {
                Some(row) => format!("{} | {}", row.all(), row.user),
                None => "- | -".to_owned(),
            };
            let ratio = ours.zip(theirs).map(|(a, b)| b.all() as f64 / a.all().max(1) as f64);
            let verdict = match ratio {
                Some(ratio) if ratio >= TARGET => format!("{ratio:.2}x | met"),
                Some(ratio) => format!("{ratio:.2}x | **missed**"),
                None => "- | -".to_owned(),
            };
            let (bytes, way) = (file.bytes, way.name());
            let (ours, theirs) = (cells(ours), cells(theirs));
            let _ = writeln!(text, "| {bytes} bytes | {way} | {ours} | {theirs} | {verdict} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::http::{FILES, Row, WAYS, Who};

    #[test]
    fn the_ratio_decides() {
        let row = |who, kernel| Row { who, file: FILES[0], way: WAYS[0], user: 10, kernel };
        let text = report(&[row(Who::Sluice, 90), row(Who::Nginx, 290)], "Board.", None);
        assert!(text.contains("| 1024 bytes | one connection, one request at a time | 100 | 10 |"));
        assert!(text.contains("300 | 10 | 3.00x | met |"), "{text}");
        let text = report(&[row(Who::Sluice, 91), row(Who::Nginx, 290)], "Board.", None);
        assert!(text.contains("2.97x | **missed** |"), "{text}");
        let text = report(&[row(Who::Sluice, 90)], "Board.", Some("install it"));
        assert!(text.contains("skipped: install it") && text.contains("| - | - | - | - |"));
    }
}
