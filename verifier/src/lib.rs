//! Every proof: safety, claim, inside the grant, disjoint from all others.
#![no_std]
