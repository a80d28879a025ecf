//! The checker against the compiler, and against mutations of what it emitted.
