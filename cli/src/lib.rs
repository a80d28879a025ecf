//! The host tool: builds, boots, drives and checks the machine.
