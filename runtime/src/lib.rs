//! What a running program touches: executable pages, map kinds, helper bodies.
#![no_std]
