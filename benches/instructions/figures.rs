//! The stored figures: benches/instructions.toml.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Instructions by scenario, in the order in which they were counted.
pub type Figures = Vec<(&'static str, u64)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub toolchain: String,
    pub instructions: BTreeMap<String, u64>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

pub fn stored() -> Result<Stored, String> {
    let text = std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path().display()))
}

pub fn store(figures: &Figures) -> Result<(), String> {
    let mut text = format!(
        "# Instructions for each request, as `make instructions` counts them. Written by `make instructions-store`.\n\
         # With another compiler or C library the counts are others, and are not compared.\n\
         toolchain = \"{}\"\n\n[instructions]\n",
        toolchain()
    );
    for (name, count) in figures {
        text.push_str(&format!("\"{name}\" = {count}\n"));
        println!("{name:52} {count:>9}");
    }
    std::fs::write(path(), text).map_err(|error| format!("{}: {error}", path().display()))
}

/// What made the instructions: the compiler for its target, and the C library that is linked at run time.
pub fn toolchain() -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let rustc = said(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["-vV"]);
    let field = |name: &str| rustc.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    let library = said("getconf", &["GNU_LIBC_VERSION"]);
    format!("rustc {} {}, {}", field("release:"), field("host:"), library.trim())
}
