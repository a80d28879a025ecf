//! A refusal in lines that a person can act on.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use libos::println;

use crate::net::SocketError;

/// Prints what happened; the status of a program that ends because of it.
pub fn failed(error: &SocketError) -> i32 {
    lines(error).iter().for_each(|line| println!("{line}"));
    1
}

/// What happened, line by line; the last lines are the witness, if there is one.
pub fn lines(error: &SocketError) -> Vec<String> {
    let mut lines = alloc::vec![format!("{error}")];
    let SocketError::Bind { error } = error else { return lines };
    let Some(record) = &error.refusal else { return lines };
    if let Some(other) = record.other {
        // As the kernel's log writes an id: slot and generation.
        lines.push(format!("the other is {}.{}", other & u64::from(u32::MAX), other >> 32));
    }
    if let Some(witness) = &record.witness {
        lines.push(format!("witness: {}", flow::witness::render(witness)));
    }
    lines
}
