//! The kernel's symbols as text, for its own backtraces.
//!
//! Lines of `hexaddress name`, sorted by address, one line per address. The kernel looks a return
//! address up in them; it needs no unwinder and no debug information.

use std::collections::BTreeMap;
use std::path::Path;

use object::{Object, ObjectSymbol, SymbolKind};

use super::BuildError;

/// Reads the functions of a kernel file.
///
/// # Errors
/// [`BuildError::File`] when it cannot be read, [`BuildError::NotElf`] when it is no ELF file.
pub fn table(kernel: &Path) -> Result<String, BuildError> {
    let bytes = std::fs::read(kernel)
        .map_err(|source| BuildError::File { path: kernel.to_owned(), source })?;
    let file = object::File::parse(bytes.as_slice()).map_err(|error| BuildError::NotElf {
        path: kernel.to_owned(),
        reason: error.to_string(),
    })?;
    let mut names = BTreeMap::new();
    for symbol in file.symbols() {
        if symbol.kind() != SymbolKind::Text || symbol.address() == 0 {
            continue;
        }
        if let Ok(name) = symbol.name() {
            names.entry(symbol.address()).or_insert_with(|| plain(name));
        }
    }
    let mut text = String::new();
    for (address, name) in names {
        text.push_str(&format!("{address:x} {name}\n"));
    }
    Ok(text)
}

/// Demangled, without the hash that ends a Rust symbol.
fn plain(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::{plain, table};
    use crate::build::BuildError;

    /// In the symbol table whatever the compiler makes of its callers.
    #[inline(never)]
    fn a_function_that_stays(number: u64) -> u64 {
        std::hint::black_box(number) + 1
    }

    #[test]
    fn what_this_test_calls_is_in_its_own_table() {
        assert_eq!(std::hint::black_box(a_function_that_stays)(1), 2);
        let text = table(&std::env::current_exe().unwrap()).unwrap();
        assert!(text.contains("a_function_that_stays"));
        let addresses: Vec<u64> = text
            .lines()
            .map(|line| u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap())
            .collect();
        assert!(addresses.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn names_lose_their_hash() {
        assert_eq!(plain("_ZN6kernel4main17h05af221e174051e9E"), "kernel::main");
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kernel");
        std::fs::write(&path, "not an ELF file").unwrap();
        assert!(matches!(table(&path), Err(BuildError::NotElf { .. })));
        assert!(matches!(table(&directory.path().join("none")), Err(BuildError::File { .. })));
    }
}
