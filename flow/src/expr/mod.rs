//! Spaces as text, in the language of tcpdump: `udp and dst port 53`.
//!
//! [`parse`] reads an expression, [`Expr::to_space`] says which frames it means, [`describe`]
//! writes an expression for a space. What is spelled as in pcap-filter(7) means what it means
//! there, down to its traps: `and` and `or` bind alike, from the left; `host` is IPv4 or ARP;
//! `vlan` shifts whatever is written after it; `!=` needs the bytes to exist, `not .. ==` does
//! not.
//!
//! Where this language differs:
//! - a test on a transport header (`port`, `tcp[..]`, `icmp[..]`) also requires IP version 4 and a
//!   valid header length, or IP version 6 with the transport header at once behind it. tcpdump
//!   believes headers that are shorter than a header; a port is no port there;
//! - a test on bytes that a frame does not have is false, and `not` of it true; libpcap's program
//!   ends there, so that the frame is not accepted whatever else was asked;
//! - addresses, ports and protocols are numbers, never looked-up names;
//! - added: `any`, `none`, `.. in 0x00-0x13,0x20`, and `ether[2 + ((ether[14] & 0x0f) << 2)]` for a
//!   byte behind a header of variable length.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::error::FlowError;
use crate::limits::{INTERIM_RULES_MAX, PIECES_MAX};
use crate::space::Space;
use cursor::Cursor;
pub use describe::describe;
use test::Test;

mod cursor;
mod describe;
mod meaning;
mod primitive;
mod test;
mod value;

/// An expression that can be read. Its names are resolved; only its meaning is not yet computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr(Node);

/// Text that is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// Where, in bytes from the start of the text, the first byte being 1.
    pub column: usize,
    /// What could have stood there.
    pub expected: &'static str,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)
    }
}

impl core::error::Error for ExprError {}

/// Reads an expression.
///
/// # Errors
/// The first place where the text stops being one, and what could have stood there.
pub fn parse(text: &str) -> Result<Expr, ExprError> {
    let mut cursor = Cursor::new(text)?;
    let node = chain(&mut cursor, 0)?;
    if !cursor.at_end() {
        return cursor.fail("`and`, `or` or the end");
    }
    Ok(Expr(node))
}

impl Expr {
    /// The frames that the expression means, simplified.
    ///
    /// # Errors
    /// [`FlowError::Budget`]: `INTERIM_RULES_MAX` or `PIECES_MAX` on the way, or one of the limits
    /// of [`Space::check`] in the end.
    pub fn to_space(&self) -> Result<Space, FlowError> {
        let space = self.0.space()?;
        space.check()?;
        Ok(space)
    }
}

/// How two parts of a chain are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

/// The shape of an expression. As deep as the text's parentheses, which are bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Test(Test),
    Not(Box<Node>),
    Chain(Box<Node>, Vec<(Join, Node)>),
}

impl Node {
    fn space(&self) -> Result<Space, FlowError> {
        match self {
            Node::Test(test) => bounded(test.space()),
            Node::Not(inner) => bounded(inner.space()?.complement()?),
            Node::Chain(first, rest) => rest
                .iter()
                .try_fold(first.space()?, |left, (join, right)| joined(&left, *join, right)),
        }
    }
}

fn joined(left: &Space, join: Join, right: &Node) -> Result<Space, FlowError> {
    match (join, right) {
        (Join::Or, right) => bounded(left.union(&right.space()?)),
        // Much smaller than the complement on its own.
        (Join::And, Node::Not(inner)) => bounded(left.subtract(&inner.space()?, PIECES_MAX)?),
        (Join::And, right) => bounded(left.intersect(&right.space()?)?),
    }
}

fn bounded(space: Space) -> Result<Space, FlowError> {
    let space = space.simplify();
    if space.rules().len() > INTERIM_RULES_MAX {
        return Err(FlowError::Budget { limit: "INTERIM_RULES_MAX" });
    }
    Ok(space)
}

/// `unary { (and|or) unary }`
fn chain(cursor: &mut Cursor<'_>, depth: usize) -> Result<Node, ExprError> {
    let first = unary(cursor, depth)?;
    let mut rest = Vec::new();
    while let Some(join) = join(cursor) {
        rest.push((join, unary(cursor, depth)?));
    }
    Ok(if rest.is_empty() { first } else { Node::Chain(Box::new(first), rest) })
}

fn join(cursor: &mut Cursor<'_>) -> Option<Join> {
    if cursor.take_word("and") || cursor.take_symbol("&&") {
        return Some(Join::And);
    }
    (cursor.take_word("or") || cursor.take_symbol("||")).then_some(Join::Or)
}

/// `{ not } ( "(" chain ")" | test )`
fn unary(cursor: &mut Cursor<'_>, depth: usize) -> Result<Node, ExprError> {
    let mut negated = false;
    while cursor.take_word("not") || cursor.take_symbol("!") {
        negated = !negated;
    }
    let inner = if cursor.peek_symbol("(") {
        cursor.enter(depth)?;
        let inner = chain(cursor, depth + 1)?;
        cursor.expect_symbol(")", "`)`, `and` or `or`")?;
        inner
    } else {
        Node::Test(primitive::test(cursor)?)
    };
    Ok(if negated { Node::Not(Box::new(inner)) } else { inner })
}
