//! The shortest way from a program's entry to an instruction, where the proof names none.

use std::collections::VecDeque;

use ebpf::{CallTarget, Insn, Program};

/// Slots from the entry to `goal` along the graph, both included; empty if no edges lead there.
pub(super) fn shortest(program: &Program, goal: u32) -> Vec<u32> {
    let mut from: Vec<Option<u32>> = vec![None; program.len()];
    let mut queue = VecDeque::from([0]);
    let mark = |from: &mut Vec<Option<u32>>, to: u32, by: u32| match from.get_mut(to as usize) {
        Some(seat @ None) => {
            *seat = Some(by);
            true
        }
        _ => false,
    };
    mark(&mut from, 0, 0);
    while let Some(pc) = queue.pop_front() {
        if pc == goal {
            return walk(&from, goal);
        }
        let Some(insn) = program.get(pc) else { continue };
        for next in successors(insn, pc).into_iter().flatten() {
            if mark(&mut from, next, pc) {
                queue.push_back(next);
            }
        }
    }
    Vec::new()
}

/// Where control may go; into a local function and past its call.
fn successors(insn: &Insn, pc: u32) -> [Option<u32>; 2] {
    let next = insn.falls_through().then_some(pc + 1);
    match *insn {
        Insn::LoadImm64 { .. } => [Some(pc + 2), None],
        Insn::Call { target: CallTarget::Local(slot) } => [Some(slot), next],
        _ => [next, insn.jump_target()],
    }
}

fn walk(from: &[Option<u32>], goal: u32) -> Vec<u32> {
    let (mut path, mut at) = (vec![goal], goal);
    while at != 0 {
        let Some(Some(before)) = from.get(at as usize) else { return Vec::new() };
        at = *before;
        path.push(at);
    }
    path.reverse();
    path
}

/// `0-5, 8-10`: runs of consecutive slots, at most `most` of them; a gap is `..`.
pub(super) fn runs(path: &[u32], most: usize) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &pc in path {
        match runs.last_mut() {
            // The second slot of a 64-bit load is not run.
            Some((_, last)) if pc == *last + 1 || pc == *last + 2 => *last = pc,
            _ => runs.push((pc, pc)),
        }
    }
    let text = |&(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let shown: Vec<String> = if runs.len() <= most {
        runs.iter().map(text).collect()
    } else {
        let (head, tail) = (most / 2, most - most / 2);
        let start = runs.iter().take(head).map(text);
        let end = runs.iter().skip(runs.len() - tail).map(text);
        start.chain(["..".to_owned()]).chain(end).collect()
    };
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{runs, shortest};
    use ebpf::Kind;

    #[test]
    fn the_shortest_way_is_found_through_branches_and_calls() {
        let text = "mov %r0, 0\njeq %r0, 0, far\nmov %r0, 1\nmov %r0, 2\nfar: exit";
        let program = ebpf::asm::program(Kind::Memory, text).unwrap();
        assert_eq!(shortest(&program, 4), [0, 1, 4]);
        assert_eq!(shortest(&program, 3), [0, 1, 2, 3]);
        assert!(shortest(&program, 99).is_empty());
        let text = "call local f\nexit\nf: mov %r0, 1\nexit";
        let program = ebpf::asm::program(Kind::Memory, text).unwrap();
        assert_eq!(shortest(&program, 2), [0, 2]);
    }

    #[test]
    fn a_path_is_shown_in_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 6, 9], 8), "0-2, 5-6, 9");
        assert_eq!(runs(&[0, 3, 6, 9, 12, 15], 4), "0, 3, .., 12, 15");
        assert_eq!(runs(&[], 4), "");
    }
}
