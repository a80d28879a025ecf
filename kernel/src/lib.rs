//! Protects and multiplexes the machine; decides nothing a library OS could decide.
