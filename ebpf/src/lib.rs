//! The program language: RFC 9669 instructions, decoder, encoder, text, reference interpreter.
#![no_std]
