//! The initrd: a tar archive with the manifest and the programs.

use alloc::format;
use alloc::string::String;

use abi::start::{MANIFEST, Manifest};
use libos::Environment;
use tar_no_std::TarArchiveRef;

/// The archive, mapped read-only for init's whole life.
#[derive(Debug)]
pub(crate) struct Archive {
    bytes: &'static [u8],
}

impl Archive {
    /// From the start block's region.
    pub(crate) fn open(environment: &Environment) -> Result<Archive, String> {
        let bytes = environment.region("initrd").map_err(|missing| format!("{missing}"))?;
        Ok(Archive { bytes })
    }

    /// The content of the entry of that name.
    pub(crate) fn file(&self, name: &str) -> Option<&'static [u8]> {
        let archive = TarArchiveRef::new(self.bytes).ok()?;
        let entry = archive.entries().find(|e| e.filename().as_str() == Ok(name))?;
        Some(entry.data())
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> Result<Manifest, String> {
        let bytes = self.file(MANIFEST).ok_or("the initrd has no manifest")?;
        postcard::from_bytes(bytes).map_err(|error| format!("the manifest is garbled: {error}"))
    }
}
