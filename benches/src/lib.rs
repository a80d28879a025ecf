//! One bench per claim in the README.
