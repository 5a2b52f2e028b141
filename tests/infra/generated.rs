//! Compares the generated files with their sources.

use local::generate;
use tests::checkout;

#[test]
fn no_generated_file_is_stale() {
    let stale = generate::stale(checkout()).unwrap();
    assert!(stale.is_empty(), "run `cargo local generate`, which writes {:?}", stale.keys());
}
