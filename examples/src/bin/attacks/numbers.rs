//! Every call number, with arguments from a table of suspicious ones and from chance.

use alloc::format;
use alloc::vec::Vec;

use abi::Call;

use crate::attack::Attack;
use crate::child::{CODE, Child, NOTHING, SCRIPT, STACK, STACK_TOP, Step};

/// The last number of the row; a few huge ones follow.
const LAST: u64 = 200;
const HUGE: [u64; 9] = [
    1 << 16,
    (1 << 16) + 1,
    u32::MAX as u64,
    1 << 32,
    (1 << 32) + 50,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 1,
    u64::MAX,
];
/// Calls of one attack.
const CALLS: usize = 96;

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    let numbers = (0..=LAST).chain(HUGE);
    numbers
        .map(|number| {
            let known = Call::from_number(number);
            let name = match known {
                Some(call) => format!("call {number} ({call:?}) by chance"),
                None => format!("call {number} by chance"),
            };
            let quick = known.is_some() || number % 40 == 9 || number > LAST;
            let attack = Attack::script("number", name, move |_, child| steps(number, child));
            attack.only_if(quick)
        })
        .collect()
}

fn steps(number: u64, child: &Child) -> Vec<Step> {
    let mut chance = Chance(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let handle = |place: usize| [child.own, child.page, child.bare_own, child.bare_page][place];
    let table = [
        handle(0).0,
        handle(1).0,
        handle(2).0,
        handle(3).0,
        0,
        1,
        2,
        7,
        8,
        64,
        4096,
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        1 << 32,
        CODE,
        SCRIPT,
        SCRIPT + 0x1f80,
        SCRIPT + 0x1fff,
        STACK,
        STACK_TOP,
        NOTHING,
        0xffff_8000_0010_0000,
        0xffff_ffff_8010_0000,
        0x0123_4567_89ab_cdef,
        abi::limits::USER_END,
        abi::limits::USER_END - 4096,
        abi::exposed::SYSTEM,
        abi::exposed::TABLES,
        (1 << 47) - 1,
        0x7777_7777_0000_0fa0,
        0x7fff_ffff,
    ];
    let raw = matches!(Call::from_number(number), Some(Call::TransferSync | Call::TransferAsync));
    let one = |chance: &mut Chance| {
        let word = chance.next();
        let choice = table.get((word >> 8) as usize % table.len()).copied().unwrap_or_default();
        if word.is_multiple_of(8) { chance.next() >> (word >> 16 & 63) } else { choice }
    };
    let mut step = || {
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = one(&mut chance);
        }
        Step { number, args, expected: &[], raw }
    };
    (0..CALLS).map(|_| step()).collect()
}

/// Marsaglia's xorshift.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
