//! The objects of `testdata/objects`, judged: what the command and the table must say of them.

use std::path::{Path, PathBuf};

use super::corpus::{Corpus, Peers};
use super::{Outcome, Row, judge, table};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/objects")
}

fn rows(name: &str) -> Vec<Row> {
    judge(&fixtures().join(name), None).unwrap()
}

fn row(name: &str, program: &str) -> Row {
    rows(name).into_iter().find(|row| row.program == program).unwrap()
}

#[test]
fn what_is_safe_is_accepted_with_maps_functions_and_globals() {
    let names = ["pass", "drop", "flow", "digit", "route"];
    for name in names {
        let row = row("several.o", name);
        assert!(row.is_accepted(), "{}\n{}", row.line(), row.whole().unwrap_or_default());
        let Outcome::Accepted { worst_case, effort } = row.outcome else { unreachable!() };
        // Time and heap are the whole process's, in which other tests run beside this one.
        assert!(worst_case > 0 && effort.work > 0 && effort.instructions > 0);
    }
    assert_eq!(rows("several.o").len(), names.len());
    assert!(row("legacy.o", "count").is_accepted());
}

#[test]
fn a_refusal_shows_its_line_of_source() {
    let row = row("unsafe.o", "unchecked");
    let text = row.whole().unwrap();
    assert!(text.contains("return eth->h_proto ? XDP_PASS : XDP_DROP;"), "{text}");
    assert!(text.contains("unsafe.c:10"), "{text}");
    assert!(row.line().contains("refused: 1: "), "{}", row.line());
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["refusal"]["source"]["line"], 10);
    assert!(json["instructions"].as_u64().unwrap() > 0);
}

#[test]
fn what_does_not_link_is_a_line_of_its_own() {
    let rows = rows("unsupported.o");
    let accepted: Vec<_> = rows.iter().filter(|row| row.is_accepted()).collect();
    assert_eq!(accepted.len(), 1);
    for row in rows.iter().filter(|row| row.program != "plain") {
        assert!(row.line().contains("not linked: "), "{}", row.line());
        assert_eq!(serde_json::to_value(row).unwrap()["verdict"], "not-linked");
    }
}

#[test]
fn files_that_are_none_are_said() {
    assert!(judge(Path::new("/nonexistent.o"), None).is_err());
    let error = judge(&fixtures().join("README.md"), None).unwrap_err();
    assert!(error.to_string().contains("no ELF file"), "{error}");
}

#[test]
fn the_table_counts_what_is_here_and_names_who_was_not_asked() {
    let mut peers = Peers { linux: Err("not in this test".to_owned()), prevail: None };
    let corpus = Corpus::judge(&fixtures(), &mut peers, &|_| {}).unwrap();
    assert_eq!((corpus.objects, corpus.unreadable.len()), (5, 0));
    // The filter, the memory program and the classifier of `kinds.o`.
    assert_eq!(corpus.others, 3);
    let inside = corpus.programs.iter().filter(|program| program.is_inside()).count();
    assert_eq!((corpus.programs.len(), inside), (19, 9));
    assert_eq!(table::share(&corpus), (0, 0));
    let text = table::report(&corpus, &peers);
    for wanted in [
        "Linux was not asked: not in this test",
        "PREVAIL was not asked",
        "| maps of kind devmap (14) do not exist here | 1 |",
        "### packet-out-of-bounds: 1",
    ] {
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
}
