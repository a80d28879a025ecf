//! A rule as the index sees it: masked bytes that can be a key, and numbers in a range.
//!
//! What a rule tests becomes, byte by byte, either *keyed* (these bits have this value) or a part
//! of a *stretch*: a 16- or 32-bit number that lies between two ends, which is what prefixes and
//! ranges are. What is neither (a set with holes, the frame's length) is left out. So a form
//! over-approximates its rule: two rules whose forms contradict each other do not meet; of two
//! whose forms do not, nothing is said, and the rules themselves are compared.
//!
//! Which bytes make a number is a fixed grid that fits addresses and ports. It decides only how
//! many rules look alike, never what is true.

use alloc::vec::Vec;

use flow::{Base, ByteSet, Cell, HeaderBase, Rule};

/// A rule's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// In order of cells, no mask is 0.
    pub(super) keyed: Vec<Keyed>,
    /// In order of stretches.
    pub(super) runs: Vec<Run>,
}

/// A byte of which some bits are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) cell: Cell,
    pub(super) mask: u8,
    pub(super) value: u8,
}

/// Adjacent bytes that are one big-endian number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    /// 2 or 4 bytes. First, so that wider ones sort behind.
    pub(super) width: u16,
    pub(super) first: Cell,
}

/// A number between two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) stretch: Stretch,
    pub(super) low: u32,
    pub(super) high: u32,
}

/// Where IPv4 headers start: behind no, one or two VLAN tags.
const IPV4_STARTS: [u16; 3] = [14, 18, 22];

/// From here on, frames' addresses stand on a grid of four bytes, whatever tags come before them.
const ADDRESSES: u16 = 26;

impl Form {
    /// The form of a rule.
    pub(crate) fn of(rule: &Rule) -> Form {
        let mut cells: Vec<(Cell, ByteSet)> = rule.cells().collect();
        let respelled = respell(rule, &mut cells);
        let is_guard = |cell: Cell| {
            cell.base == Base::Frame
                && (respelled == Some(cell.offset)
                    || rule.guards().any(|(at, _)| at == cell.offset))
        };
        let mut form = Form { keyed: Vec::with_capacity(cells.len()), runs: Vec::new() };
        for group in cells.chunk_by(|a, b| match (stretch_of(a.0), stretch_of(b.0)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => false,
        }) {
            let Some(&(first, _)) = group.first() else { continue };
            let guarded = group.iter().any(|&(cell, _)| is_guard(cell));
            match stretch_of(first).filter(|_| !guarded).and_then(|it| run(it, group)) {
                Some(run) => form.runs.push(run),
                None => form.keyed.extend(group.iter().filter_map(|&(cell, set)| key(cell, set))),
            }
        }
        form.runs.sort_unstable_by_key(|run| run.stretch);
        form
    }
}

/// Spells cells behind an IPv4 header of a fixed length as cells behind a header of any length: a
/// rule that insists on 20 bytes and one that heeds the length then have the same cells. The place
/// of the header's first byte, if there was such a header.
fn respell(rule: &Rule, cells: &mut [(Cell, ByteSet)]) -> Option<u16> {
    let fixed = |start: u16| {
        let first = rule.set(Cell::frame(start)).single()?;
        (first >> 4 == 4 && first & 0x0f >= 5).then_some((start, u16::from(first & 0x0f) * 4))
    };
    let (start, length) = IPV4_STARTS.into_iter().find_map(fixed)?;
    let base = HeaderBase::ipv4_payload(start);
    for (cell, _) in cells.iter_mut().filter(|(cell, _)| cell.base == Base::Frame) {
        if let Some(offset) = cell.offset.checked_sub(start + length) {
            *cell = Cell::header(base, offset);
        }
    }
    cells.sort_unstable_by_key(|&(cell, _)| cell);
    Some(start)
}

/// The number that a byte belongs to, if bytes there form one.
fn stretch_of(cell: Cell) -> Option<Stretch> {
    let (width, first) = match cell.base {
        Base::Header(_) => (2, cell.offset & !1),
        Base::Frame => (4, ADDRESSES + (cell.offset.checked_sub(ADDRESSES)? & !3)),
    };
    Some(Stretch { width, first: Cell { offset: first, ..cell } })
}

/// The tests on a stretch's bytes as one range: some exact bytes, a range, and then any bytes.
/// `None` if they are no range, or all exact: then they are keyed.
fn run(stretch: Stretch, group: &[(Cell, ByteSet)]) -> Option<Run> {
    let (mut low, mut high) = (0, 0);
    let mut open = false;
    let mut cells = group.iter().peekable();
    for at in 0..stretch.width {
        let offset = stretch.first.offset.checked_add(at)?;
        let set = cells.next_if(|(cell, _)| cell.offset == offset).map(|&(_, set)| set);
        let (first, last) = match set.filter(|set| !set.is_all()) {
            None => (0, 0xff),
            // Behind a range nothing can be asked.
            Some(_) if open => return None,
            Some(set) => interval(set)?,
        };
        // A wide number whose first byte is a range is an address in nobody's net: a header's
        // first byte looks like that.
        if at == 0 && stretch.width == 4 && first != last {
            return None;
        }
        open |= first != last;
        (low, high) = (low << 8 | u32::from(first), high << 8 | u32::from(last));
    }
    open.then_some(Run { stretch, low, high })
}

fn interval(set: ByteSet) -> Option<(u8, u8)> {
    let (first, last) = (set.min()?, set.max()?);
    (set.len() == usize::from(last - first) + 1).then_some((first, last))
}

/// What is known of a byte's bits. Of a set that is no mask only the upper half counts, whole or
/// not at all: or each set would be a shape of its own.
fn key(cell: Cell, set: ByteSet) -> Option<Keyed> {
    let keyed =
        |mask: u8, value: u8| (mask != 0).then_some(Keyed { cell, mask, value: value & mask });
    if let Some(value) = set.single() {
        return keyed(0xff, value);
    }
    let (mut mask, value) = (0u8, set.min()?);
    for bit in 0..8 {
        let one = ByteSet::masked(0xff, 1 << bit);
        if set.is_subset_of(one) || set.is_subset_of(one.complement()) {
            mask |= 1 << bit;
        }
    }
    if set.len() == 1 << (8 - mask.count_ones()) {
        return keyed(mask, value);
    }
    keyed(if mask & 0xf0 == 0xf0 { 0xf0 } else { 0 }, value)
}

#[cfg(test)]
mod tests {
    use super::{Form, Keyed};
    use alloc::vec::Vec;
    use flow::{Rule, Space};

    fn forms(text: &str) -> Vec<Form> {
        let space = flow::expr::parse(text).unwrap().to_space().unwrap();
        Space::rules(&space).iter().map(Form::of).collect()
    }

    fn shape(form: &Form) -> Vec<(flow::Cell, u8)> {
        form.keyed.iter().map(|&Keyed { cell, mask, .. }| (cell, mask)).collect()
    }

    #[test]
    fn prefixes_and_ranges_have_one_form() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "10.1.16.0/20", "10.1.1.128/25"];
        let forms: Vec<Form> =
            nets.iter().flat_map(|net| forms(&alloc::format!("ip and dst net {net}"))).collect();
        assert_eq!(forms.len(), 4);
        for form in &forms {
            assert_eq!(shape(form), shape(&forms[0]));
            assert_eq!(form.runs.len(), 1);
            assert_eq!(form.runs[0].stretch, forms[0].runs[0].stretch);
        }
        assert_eq!((forms[2].runs[0].low, forms[2].runs[0].high), (0x0a01_1000, 0x0a01_1fff));
    }

    #[test]
    fn a_port_range_is_a_range_of_numbers() {
        let forms = forms("udp and dst portrange 1000-2000");
        let mut ends: Vec<(u32, u32)> =
            forms.iter().flat_map(|form| form.runs.iter().map(|run| (run.low, run.high))).collect();
        ends.sort_unstable();
        assert_eq!(ends, [(1000, 1023), (1024, 1791), (1792, 2000)]);
    }

    #[test]
    fn a_fixed_header_is_spelled_like_any_other() {
        let fixed = forms("ip[0] == 0x45 and udp dst port 53");
        let any = forms("udp dst port 53 and ip");
        let cells = |form: &Form| -> Vec<flow::Cell> {
            form.keyed.iter().map(|keyed| keyed.cell).collect()
        };
        assert_eq!(cells(&fixed[0]), cells(&any[0]));
    }

    #[test]
    fn nothing_asked_is_nothing_known() {
        assert_eq!(Form::of(&Rule::any()), Form::default());
    }
}
