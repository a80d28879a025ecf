//! A 150 × 150 integer matrix multiplication (SOSP '95, table 9): memory and arithmetic, no calls.
//!
//! The Linux program that the table stands beside compiles this same file. The matrices are
//! allocated in here, so that what first touches their pages is part of it.

extern crate alloc;

use alloc::vec::Vec;

/// Rows and columns.
const ORDER: usize = 150;

/// Fills two matrices, multiplies them, and gives the sum of the result's elements.
#[inline(never)]
pub(crate) fn multiply_once() -> u64 {
    let fill = |seed: u32| -> Vec<u32> {
        (0..(ORDER * ORDER) as u32).map(|at| at.wrapping_mul(seed) % 17).collect()
    };
    let (a, b) = (core::hint::black_box(fill(3)), core::hint::black_box(fill(7)));
    let mut product = Vec::with_capacity(ORDER * ORDER);
    for row in a.chunks_exact(ORDER) {
        for column in 0..ORDER {
            product.push(dot(row, &b, column));
        }
    }
    product.iter().map(|&element| u64::from(element)).sum()
}

/// A row times a column. Not inlined: the compiler has one loop to look at on either side.
#[inline(never)]
fn dot(row: &[u32], b: &[u32], column: usize) -> u32 {
    let down = b.iter().skip(column).step_by(ORDER);
    row.iter().zip(down).map(|(&left, &right)| left * right).sum()
}
