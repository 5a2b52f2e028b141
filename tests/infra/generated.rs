//! The generated files against the files that they follow from.

use local::generate;

use super::repository;

#[test]
fn no_generated_file_is_stale() {
    let stale = generate::stale(&repository()).unwrap();
    assert!(stale.is_empty(), "run `cargo local generate`, which writes {:?}", stale.keys());
}
