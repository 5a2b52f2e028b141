//! The files of the repository.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Returns the root of the repository.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in tests")
}

/// Returns the text of a file.
///
/// # Panics
/// Panics if there is no such file.
pub fn read_file(path: &str) -> String {
    std::fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the sample event of a function.
///
/// # Panics
/// Panics if there is none.
pub fn sample_event(function: &str) -> Value {
    let path = format!("events/{function}.json");
    serde_json::from_str(&read_file(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the Rust files in the `src` folders below these folders.
///
/// # Panics
/// Panics if there is no such folder.
pub fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folders.iter().map(|folder| checkout().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.components().any(|part| part.as_os_str() == "src")
            {
                files.push(path);
            }
        }
    }
    files
}
