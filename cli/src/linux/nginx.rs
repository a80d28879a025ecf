//! The distribution's nginx as files for the guest: program, libraries, configuration, pages.
//!
//! One worker, `sendfile`, a cache of open files, no log: as its own documentation says to make it
//! fast for files that do not change.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::initramfs::Entry;
use crate::build::BuildError;
use crate::http::FILES;

/// Where distributions put it.
const PLACES: [&str; 2] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];
/// What installs it.
const INSTALL: &str = "apt-get install -y --no-install-recommends nginx";

const CONFIGURATION: &str = "\
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr crit;
events { worker_connections 256; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 600;
    keepalive_requests 1000000000;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/octet-stream;
    server { listen 80; root /www; }
}
";

/// Directories that it wants to find.
const DIRECTORIES: [&str; 6] = ["etc", "run", "var", "www", "var/log/nginx", "var/lib/nginx"];

/// All its files.
///
/// # Errors
/// [`BuildError::Missing`] with the command that installs it.
pub(super) fn files() -> Result<Vec<Entry>, BuildError> {
    let missing = |detail: &str| BuildError::Missing {
        what: "nginx, to measure the web server beside".to_owned(),
        command: INSTALL.to_owned(),
        detail: format!("\n({detail})"),
    };
    let program = PLACES.iter().map(Path::new).find(|path| path.is_file());
    let program = program.ok_or_else(|| missing("no such program"))?;
    let libraries =
        libraries(program).ok_or_else(|| missing("`ldd` did not name its libraries"))?;
    let mut files: Vec<Entry> = DIRECTORIES.iter().map(|name| Entry::directory(name)).collect();
    files.push(Entry::file("usr/sbin/nginx", read(program)?));
    for library in libraries {
        let name = library.to_string_lossy();
        files.push(Entry::file(name.trim_start_matches('/'), read(&library)?));
    }
    files.push(Entry::file("etc/nginx.conf", CONFIGURATION.into()));
    files.push(Entry::file("etc/passwd", b"root:x:0:0::/:/\n".to_vec()));
    files.push(Entry::file("etc/group", b"root:x:0:\n".to_vec()));
    for file in FILES {
        files.push(Entry::file(&format!("www/{}", file.name), file.contents()));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

/// What the dynamic linker would load, itself included.
fn libraries(program: &Path) -> Option<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().ok()?;
    let all = named(&String::from_utf8_lossy(&output.stdout));
    (output.status.success() && !all.is_empty()).then_some(all)
}

/// The paths that `ldd` names, with or without an arrow in front.
fn named(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let after = line.split_once("=>").map_or(line, |(_, after)| after);
        let word = after.split_whitespace().next()?;
        word.starts_with('/').then(|| PathBuf::from(word))
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::named;
    use std::path::PathBuf;

    #[test]
    fn libraries_are_told_from_what_the_kernel_brings() {
        let text = "\tlinux-vdso.so.1 (0x00007fd5)\n\tlibz.so.1 => /lib/x/libz.so.1 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tlibq.so => not found\n";
        let all = ["/lib/x/libz.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(named(text), all);
        assert!(named("\tnot a dynamic executable\n").is_empty());
    }
}
