//! Objects and sources belong together.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use ebpf::object::Object;

/// Name of the program to its bytes; and the maps.
type Meaning = (BTreeMap<String, Vec<u8>>, Vec<String>);

fn meaning(path: &Path) -> Meaning {
    let object = Object::parse(&std::fs::read(path).unwrap()).unwrap();
    let program = |program: &ebpf::object::ObjectProgram| {
        (program.name().to_owned(), ebpf::encode(program.program().unwrap()))
    };
    let maps = object.maps().iter();
    let maps = maps.map(|map| format!("{} {:?} {:?}", map.name(), map.spec(), map.initial()));
    (object.programs().iter().map(program).collect(), maps.collect())
}

#[test]
fn the_sources_give_these_objects() {
    let folder = sluice::build::workspace().join("examples/ash");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let headers = Path::new("/usr/include/bpf/bpf_helpers.h").exists();
    if Command::new(&clang).arg("--version").output().is_err() || !headers {
        println!("skipped: no {clang}, or no libbpf headers; examples/ash/build.sh names both");
        return;
    }
    let made = tempfile::tempdir().unwrap();
    let output = Command::new(folder.join("build.sh")).arg(made.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "c") {
            let object = path.with_extension("o");
            let again = made.path().join(object.file_name().unwrap());
            assert_eq!(meaning(&object), meaning(&again), "{}: build.sh", object.display());
            count += 1;
        }
    }
    assert!(count >= 3);
}
