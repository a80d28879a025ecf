//! Hand-made dispatch code and tables: what joins, what grows, what is refused.

use alloc::vec;

use super::{Bank, Dispatch, Dispatcher, Geometry, Layout, MARK, Mismatch, Table};
use crate::native::{Checked, Code, HostPages};
use crate::pages::CodeError;

/// `mov rax, [rcx]; mov rax, [rax + 8]; mov [rdx], rax; lea rdx, [rdx + 8]; mov eax, 5; ret`
const FIRST_VALUE: [u8; 20] = [
    0x48, 0x8b, 0x01, 0x48, 0x8b, 0x40, 0x08, 0x48, 0x89, 0x02, 0x48, 0x8d, 0x52, 0x08, 0xb8, 5, 0,
    0, 0, 0xc3,
];

fn code(tables: &[Layout], pages: &mut HostPages) -> Code<Dispatch> {
    let geometry = Geometry { tables: tables.to_vec(), full: 0, prefetch: 0 };
    let checked: Checked<Dispatch> = Checked::vouch(FIRST_VALUE.to_vec(), geometry);
    Code::seal(checked, pages).unwrap()
}

fn table(layout: Layout) -> Table {
    Table::new(layout, 1, 0).unwrap()
}

#[test]
fn a_dispatcher_only_joins_code_and_tables_of_one_geometry() {
    let mut pages = HostPages::default();
    let plain = code(&[Layout::Plain], &mut pages);
    let Mismatch { error, code: plain, tables } =
        Dispatcher::new(plain, vec![table(Layout::Wide { words: 2 })]).unwrap_err();
    assert_eq!((error, tables.len()), (CodeError::WrongTables { table: 0 }, 1));
    let Mismatch { error, code: plain, .. } = Dispatcher::new(plain, vec![]).unwrap_err();
    assert_eq!(error, CodeError::WrongTables { table: 0 });

    let mut dispatcher = Dispatcher::new(plain, vec![table(Layout::Plain)]).unwrap();
    dispatcher.tables()[0].current().set_key(0, 0x1234, &[]);
    dispatcher.tables()[0].current().set_value(0, 0x75);
    let run = |dispatcher: &Dispatcher| {
        let mut hits = vec![];
        let best = dispatcher.run_full(&[0; 14], |best, hit| {
            hits.push(hit);
            best + 1
        });
        (best, hits)
    };
    assert_eq!(run(&dispatcher), (6, vec![0x75]));

    assert!(dispatcher.grow(1, Bank::new(Layout::Plain, 2, 0).unwrap()).is_err());
    assert!(dispatcher.grow(0, Bank::new(Layout::Single, 1, 0).unwrap()).is_err());
    let larger = Bank::new(Layout::Plain, 2, 0).unwrap();
    larger.set_value(0, 0x99);
    dispatcher.grow(0, larger).unwrap();
    assert_eq!(run(&dispatcher), (6, vec![0x99]));
    assert!(dispatcher.grow(0, Bank::new(Layout::Plain, 4, 0).unwrap()).is_err());
    assert_eq!(dispatcher.settle(0).unwrap().value(0), 0x75);
    assert!(dispatcher.settle(0).is_none());
}

#[test]
fn an_exchange_keeps_what_it_names_or_changes_nothing() {
    let mut pages = HostPages::default();
    let layouts = [Layout::Plain, Layout::Single, Layout::Direct];
    let first = code(&layouts, &mut pages);
    let mut dispatcher = Dispatcher::new(first, layouts.map(table).into()).unwrap();
    dispatcher.tables()[2].current().set_value(0, 0x44);

    let wrong = code(&[Layout::Plain], &mut pages);
    let Mismatch { code: wrong, .. } = dispatcher.exchange(wrong, &[1], vec![]).unwrap_err();
    assert!(dispatcher.exchange(wrong, &[0, 7], vec![]).is_err());
    let order = code(&[Layout::Direct, Layout::Plain], &mut pages);
    assert!(dispatcher.exchange(order, &[2, 0], vec![]).is_err());
    assert_eq!(dispatcher.tables().len(), 3);

    let next = code(&[Layout::Plain, Layout::Direct, Layout::Single], &mut pages);
    let (old, gone) = dispatcher.exchange(next, &[0, 2], vec![table(Layout::Single)]).unwrap();
    old.release(&mut pages);
    assert_eq!((gone.len(), gone[0].layout()), (1, Layout::Single));
    assert_eq!(dispatcher.tables()[1].current().value(0), 0x44);
}

#[test]
fn banks_have_limits_and_keep_marks() {
    assert!(Bank::new(Layout::Plain, usize::MAX, 0).is_err());
    assert!(Bank::new(Layout::Wide { words: 7 }, 1, 0).is_err());
    assert!(Bank::new(Layout::Direct, 2, 0xffff).is_err());
    let bank = Bank::new(Layout::Wide { words: 3 }, 5, 0).unwrap();
    assert_eq!((bank.places(), bank.slots(), bank.bytes()), (8, 32, 8 * 256));
    assert_eq!(bank.buckets_of(0x0000_0b00_0000_0900), [1, 3]);
    bank.set_key(5, 9, &[1, 2, 3, 4]);
    bank.set_value(5, 0x70);
    let key = [0, 1, 2, 3].map(|word| bank.key_word(5, word));
    assert_eq!((bank.digest(5), bank.value(5), key), (9, 0x70, [1, 2, 3, 0]));
    bank.set_mark(1, true);
    bank.set_value(4, 0xf0);
    assert_eq!((bank.value(4), bank.is_marked(1)), (0xf0 | MARK, true));
    bank.set_mark(1, false);
    assert_eq!((bank.value(4), bank.value(999_999)), (0xf0, 0));
    let window = Bank::new(Layout::Direct, 16, 1000).unwrap();
    assert_eq!([999, 1000, 1015, 1016].map(|n| window.slot_of(n)), [None, Some(0), Some(15), None]);
}
