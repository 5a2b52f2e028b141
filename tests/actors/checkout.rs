//! The files of the repository.

use std::path::Path;

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
