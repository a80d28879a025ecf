//! What kernel and library OS agree on: calls, handles, layouts, refusal records, limits.
#![no_std]
