//! Checks `hookgate.toml` before it is built into anything: a function with a bad configuration can't be built.

fn main() {
    let path = &format!("{}/../../hookgate.toml", std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed={path}");
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            println!("cargo::error=hookgate.toml can't be read: {e}");
            return;
        }
    };
    if let Err(problems) = hookgate_core::config::Config::parse(&text) {
        for problem in problems {
            println!("cargo::error=hookgate.toml: {problem}");
        }
    }
}
