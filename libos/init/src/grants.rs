//! The grant tree of the manifest, derived from the root grant.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::start::{GrantSpec, Manifest};
use libos::{Environment, Grant, println};

/// Grants that exist, by name.
#[derive(Debug, Default)]
pub(crate) struct Grants(Vec<(String, Grant)>);

impl Grants {
    /// The grant of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Grant> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, grant)| *grant)
    }
}

/// Derives them all, in the manifest's order. One that is refused is said and left out.
pub(crate) fn derive(environment: &Environment, manifest: &Manifest) -> Result<Grants, String> {
    let root = environment.grant("root").map_err(|missing| format!("{missing}"))?;
    let mut grants = Grants::default();
    for spec in &manifest.grants {
        match derive_one(root, &grants, spec) {
            Ok(grant) => {
                println!("grant {}: {}", spec.name, spec.expression);
                grants.0.push((spec.name.clone(), grant));
            }
            Err(why) => println!("grant {} refused: {why}", spec.name),
        }
    }
    Ok(grants)
}

fn derive_one(root: Grant, grants: &Grants, spec: &GrantSpec) -> Result<Grant, String> {
    let parent = if spec.parent.is_empty() {
        root
    } else {
        grants.find(&spec.parent).ok_or_else(|| format!("no parent `{}`", spec.parent))?
    };
    let transmit = Some(&spec.transmit[..]).filter(|bytes| !bytes.is_empty());
    parent.derive(&spec.receive, transmit).map_err(|error| format!("{error}"))
}
