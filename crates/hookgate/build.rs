//! Lists the samples of `events/`, so that they are built into the program and `send` works anywhere.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Endings of the files that were made from samples.
const DERIVED: [&str; 4] = [".ingest.json", ".ingest-url.json", ".ingest-v1.json", ".worker.json"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");
    println!("cargo::rerun-if-changed={root}");
    let mut list = "pub(super) const BUILT_IN: &[(&str, &str)] = &[\n".to_owned();
    for path in samples(Path::new(root))? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = fs::canonicalize(&path)?.display().to_string();
        writeln!(list, "    ({name:?}, include_str!({path:?})),")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("samples.rs"), list)?;
    Ok(())
}

fn samples(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(root)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", folder.display());
        for file in fs::read_dir(&folder)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".json") && !DERIVED.iter().any(|end| name.ends_with(end)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
