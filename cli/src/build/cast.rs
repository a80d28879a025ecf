//! Placeholder
use super::BuildError;
use abi::start::Manifest;
/// x
pub fn manifest() -> Result<Manifest, BuildError> {
    Ok(Manifest::default())
}
