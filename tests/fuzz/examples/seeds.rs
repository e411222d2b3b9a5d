//! Writes the seeds of every target into a folder, for a long run: `cargo run -p hookgate_fuzz --example seeds -- FOLDER`.

use std::{env, fs, io, path::Path};

use hookgate_fuzz::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1) else {
        return Err(io::Error::other(
            "say into which folder: cargo run -p hookgate_fuzz --example seeds -- FOLDER",
        ));
    };
    for (name, _) in TARGETS {
        let folder = Path::new(&folder).join(name);
        fs::create_dir_all(&folder)?;
        for (n, seed) in seeds::of(name).iter().enumerate() {
            fs::write(folder.join(format!("{n:04}")), seed)?;
        }
    }
    Ok(())
}
