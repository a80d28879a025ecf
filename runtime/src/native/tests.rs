//! Hand-made code through the whole shell: vouch, seal, call, release.
//!
//! These tests vouch for bytes themselves, which only `dpf::check` may do in the product.

use alloc::borrow::ToOwned;
use alloc::vec;

use super::{Checked, Code, Convention, Filter, HostPages, Memory, Packet};
use crate::pages::{CodeError, CodePages};
use crate::{PacketBuffer, helpers};

/// `mov rax, [rdi + 8]; sub rax, [rdi]; ret`: data_end - data.
const LENGTH: [u8; 8] = [0x48, 0x8b, 0x47, 0x08, 0x48, 0x2b, 0x07, 0xc3];
/// `mov rax, [rdi]; mov byte [rax], 7; mov eax, 3; ret`.
const STAMP: [u8; 12] = [0x48, 0x8b, 0x07, 0xc6, 0x00, 0x07, 0xb8, 3, 0, 0, 0, 0xc3];
/// `mov byte [rdi + rsi - 1], 9; mov rax, rsi; ret`.
const MEMORY: [u8; 9] = [0xc6, 0x44, 0x37, 0xff, 0x09, 0x48, 0x89, 0xf0, 0xc3];

fn seal<C: Convention<Geometry: Default>>(bytes: &[u8], pages: &mut HostPages) -> Code<C> {
    Code::seal(Checked::vouch(bytes.to_vec(), C::Geometry::default()), pages).unwrap()
}

#[test]
fn each_convention_passes_its_arguments() {
    let mut pages = HostPages::default();
    let filter: Code<Filter> = seal(&LENGTH, &mut pages);
    assert_eq!(filter.run_filter(&[0; 61]), 61);
    assert_eq!(filter.bytes(), LENGTH);

    let handler: Code<Packet> = seal(&STAMP, &mut pages);
    let mut buffer = [0_u8; 32];
    let mut packet = PacketBuffer::new(&mut buffer, 16, 8).unwrap();
    assert_eq!(handler.run_packet(&mut packet), 3);
    assert_eq!((buffer[15], buffer[16], buffer[17]), (0, 7, 0));

    let memory: Code<Memory> = seal(&MEMORY, &mut pages);
    assert_eq!(memory.run_memory(&mut buffer), 32);
    assert_eq!(buffer[31], 9);

    assert_eq!(pages.used(), 3 * 4096);
    filter.release(&mut pages);
    handler.release(&mut pages);
    memory.release(&mut pages);
    assert_eq!(pages.used(), 0);
}

#[test]
fn a_frame_longer_than_the_proof_allows_is_not_run() {
    let longest = ebpf::limits::PACKET_MAX;
    let mut pages = HostPages::default();
    let filter: Code<Filter> = seal(&LENGTH, &mut pages);
    assert_eq!(filter.run_filter(&vec![0; longest]), longest as u64);
    assert_eq!(filter.run_filter(&vec![0; longest + 1]), 0);

    let handler: Code<Packet> = seal(&STAMP, &mut pages);
    let mut buffer = vec![0; longest + 1];
    assert_eq!(handler.run_packet(&mut PacketBuffer::whole(&mut buffer)), 0);
    assert_eq!(buffer[0], 0);
    let mut packet = PacketBuffer::new(&mut buffer, 1, longest).unwrap();
    assert_eq!(handler.run_packet(&mut packet), 3);
    assert_eq!(buffer[1], 7);
}

#[test]
fn a_helper_can_be_called_by_address() {
    // mov rax, imm64; sub rsp, 8; call rax; add rsp, 8; ret
    let mut bytes = vec![0x48, 0xb8];
    bytes.extend_from_slice(&helpers::address(8).unwrap().to_le_bytes());
    bytes.extend_from_slice(&[0x48, 0x83, 0xec, 8, 0xff, 0xd0, 0x48, 0x83, 0xc4, 8, 0xc3]);
    let mut pages = HostPages::default();
    let code: Code<Filter> = seal(&bytes, &mut pages);
    assert_eq!(code.run_filter(&[]), 0);
    assert!(helpers::address(9_999).is_none());
}

#[test]
fn code_outlives_the_pages_it_came_from() {
    let mut pages = HostPages::default();
    let filter: Code<Filter> = seal(&LENGTH, &mut pages);
    drop(pages);
    assert_eq!(filter.run_filter(&[0; 14]), 14);
    let mut others = HostPages::default();
    filter.release(&mut others);
    assert_eq!(others.used(), 0, "a foreign region is ignored");
}

#[test]
fn pages_refuse_what_does_not_fit() {
    let mut pages = HostPages::new(8192);
    let error = pages.reserve(8193).unwrap_err();
    assert_eq!(error, CodeError::NoMemory { bytes: 8193, limit: 8192 });
    let region = pages.reserve(8192).unwrap();
    assert!(matches!(pages.reserve(1), Err(CodeError::NoMemory { .. })));
    let error = pages.write(&region, 8190, &[0; 3]).unwrap_err();
    assert_eq!(error, CodeError::OutsideRegion { offset: 8190, bytes: 3, len: 8192 });
    assert!(pages.write(&region, usize::MAX, &[0; 3]).is_err());
    pages.abandon(region);
    assert_eq!(pages.used(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn sealed_pages_are_executable_and_not_writable() {
    let permissions = |address: usize| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| {
            let (from, rest) = line.split_once('-').unwrap();
            let (to, _) = rest.split_once(' ').unwrap();
            let from = usize::from_str_radix(from, 16).unwrap();
            let to = usize::from_str_radix(to, 16).unwrap();
            (from..to).contains(&address)
        });
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let mut pages = HostPages::default();
    let region = pages.reserve(16).unwrap();
    assert_eq!(permissions(region.base()), "rw-p");
    let sealed = pages.seal(region).unwrap();
    assert_eq!(permissions(sealed.base()), "r-xp");
    pages.free(sealed);
}
