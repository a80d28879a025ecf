//! The instruction table: counts, not times.

use sluice::demo;
use sluice::limits;
use sluice::machine::{Board, Machine, Options};

use super::boots::{image, turn};

#[test]
fn an_ashs_cost_does_not_depend_on_who_else_is_runnable() {
    let _turn = turn();
    let options = Options { board: Board::Microvm, ..Options::default() };
    let options = demo::counting_options(&options, "info");
    let machine = Machine::boot(image(), &options).unwrap();
    machine.wait_ready().unwrap();
    let rows = demo::table(&machine, &image().manifest, |_| {}).unwrap();
    let text = demo::print(&rows).join("\n");
    println!("{text}");
    let runnable: Vec<u32> = rows.iter().map(|row| row.runnable).collect();
    assert_eq!(runnable, limits::RUNNABLE, "{text}");
    let spread = demo::spread_per_mille(&rows);
    assert!((1..=limits::FLAT_PER_MILLE).contains(&spread), "max/min {spread} per mille\n{text}");
    assert!(rows.iter().all(|row| row.ash < row.library), "{text}");
    assert!(rows[2].library > rows[0].library, "a library OS waits for its turn\n{text}");
    assert_eq!(machine.audit().unwrap(), None);
}
