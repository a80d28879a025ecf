//! Links ring-3 programs by libos's script, and assembles the eBPF of the one without libraries.

#[path = "../libos/link.rs"]
mod link;

use std::error::Error;
use std::path::PathBuf;

use ebpf::Kind;

/// The address of the demo's machine, as a load sees it; `bare` has no way to ask.
const ADDRESS: [u8; 4] = [10, 0, 2, 15];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    link::main();
    let address = format!("{:#x}", u32::from_le_bytes(ADDRESS));
    for (file, kind) in [
        ("port9", Kind::Filter),
        ("echo", Kind::Ash),
        ("unsafe", Kind::Ash),
        ("wake", Kind::Ash),
        ("amplify", Kind::Ash),
        ("forged-context", Kind::Ash),
        ("batch", Kind::Memory),
        ("endless", Kind::Memory),
    ] {
        let path = format!("ash/{file}.s");
        println!("cargo::rerun-if-changed={path}");
        let text = std::fs::read_to_string(&path)?.replace("{IP}", &address);
        assemble(file, kind, &text)?;
        if file == "echo" {
            assemble("tee", kind, &tee(&text))?;
        }
    }
    given_object()
}

/// The object that the example `xdp` runs: the one that `SLUICE_OBJECT` names, or ours.
fn given_object() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SLUICE_OBJECT");
    let given = std::env::var_os("SLUICE_OBJECT").map(PathBuf::from);
    let path = given.unwrap_or_else(|| "ash/stats.o".into());
    println!("cargo::rerun-if-changed={}", path.display());
    let object = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("xdp.o"), object)?;
    Ok(())
}

fn assemble(name: &str, kind: Kind, text: &str) -> Result<(), Box<dyn Error>> {
    let program = ebpf::asm::program(kind, text)
        .map_err(|error| format!("{name}.s:{}: {:?}", error.line, error.reason))?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join(format!("{name}.bpf"));
    std::fs::write(out, ebpf::encode(&program))?;
    Ok(())
}

/// The echo that sends its answer as a copy and then passes the packet on to its owner.
fn tee(echo: &str) -> String {
    let answer = "    mov32   %r0, 3\n";
    let copy = "    mov     %r1, %r9\n    call    helper 0x10001\n    mov32   %r0, 2\n";
    format!("    mov     %r9, %r1\n{}", echo.replace(answer, copy))
}
