//! Flow-space algebra: fields, value sets, rules, spaces, witnesses, mirrors, expressions.
#![no_std]
