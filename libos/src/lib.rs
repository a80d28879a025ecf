//! What any library OS can start from: call stubs, heap, start-up, loader.
