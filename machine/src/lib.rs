//! The hardware behind safe types: boot, traps, paging, devices; and its double on the host.
