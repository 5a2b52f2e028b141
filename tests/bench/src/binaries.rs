//! The binaries that are measured: each is built on its own, as it is deployed.

use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use zip::write::SimpleFileOptions;

use crate::Result;

/// Returns the root of the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in tests/bench")
}

/// Builds a function with the release profile.
pub(crate) fn function(name: &str) -> Result<PathBuf> {
    build(&mut cargo(workspace(), &["build", "--release", "--package", name]))
}

/// Builds the local stack as `cargo local` does.
pub(crate) fn local() -> Result<PathBuf> {
    build(&mut cargo(workspace(), &["build", "--bin", "local"]))
}

/// Builds a stand-in with the release profile.
pub(crate) fn stand_in(name: &str) -> Result<PathBuf> {
    let profile = if name == "lean" { "lean" } else { "release" };
    let folder = workspace().join("tests/bench/stand-ins");
    let mut cargo = cargo(&folder, &["build", "--profile", profile, "--package", name]);
    build(cargo.env("CARGO_TARGET_DIR", target().join("stand-ins")))
}

/// Runs a command of this program as this profile builds it: `release`, or `ci`, which has no link-time optimization.
pub(crate) fn run_optimized(command: &str, profile: &str) -> Result<()> {
    let mut cargo = cargo(workspace(), &["run", "--quiet", "--profile", profile, "--bin", "bench", "--", command]);
    if cargo.status()?.success() { Ok(()) } else { Err(format!("{cargo:?} failed").into()) }
}

/// Returns the size in bytes of a binary, and of the zip that Lambda gets.
pub(crate) fn sizes(binary: &Path) -> Result<(usize, usize)> {
    let content = std::fs::read(binary)?;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", SimpleFileOptions::default())?;
    zip.write_all(&content)?;
    Ok((content.len(), zip.finish()?.into_inner().len()))
}

/// Returns a cargo command in a folder. It lacks the variables that the running cargo sets for its own package, because
/// build scripts that read them would run again.
pub(crate) fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(folder).stderr(Stdio::inherit());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG") || name.starts_with("CARGO_MAN"))
    {
        cargo.env_remove(name);
    }
    cargo
}

pub(crate) fn target() -> PathBuf {
    workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target")))
}

fn build(cargo: &mut Command) -> Result<PathBuf> {
    let built = cargo.args(["--quiet", "--locked", "--message-format=json-render-diagnostics"]).output()?;
    if !built.status.success() {
        return Err(format!("{cargo:?} failed").into());
    }
    let mut messages = serde_json::Deserializer::from_slice(&built.stdout).into_iter::<Value>();
    let executable = messages.find_map(|message| message.ok()?["executable"].as_str().map(PathBuf::from));
    executable.ok_or_else(|| format!("{cargo:?} made no binary").into())
}
