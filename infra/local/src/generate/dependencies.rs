//! The functions among the dependencies of this crate.

use std::fs;
use std::path::Path;

use shared::InitError;

/// Returns a dependency for each folder of functions. A function has to be a dependency before it can be registered.
pub(super) fn list(checkout: &Path) -> Result<String, InitError> {
    let mut names = Vec::new();
    for folder in fs::read_dir(checkout.join("functions"))? {
        let folder = folder?;
        if folder.path().join("Cargo.toml").exists() {
            names.push(folder.file_name().into_string().map_err(|name| format!("functions/{}", name.display()))?);
        }
    }
    names.sort();
    Ok(names.iter().map(|name| format!("{name} = {{ path = \"../../functions/{name}\" }}\n")).collect())
}
