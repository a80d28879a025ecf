//! The control-flow graph of a loop-free program.
