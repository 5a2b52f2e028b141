//! Limits of the operations on a remote.

use std::time::Duration;

/// The time limit of each look-up of a [`Remote`](crate::Remote), with all of its attempts.
pub const LOOKUP_TIME: Duration = Duration::from_secs(10);

/// The maximum number of branches and tags that [`list_refs`](crate::Remote::list_refs) lists.
pub const MAX_REFS: u64 = 50_000;

/// The maximum number of bytes that a server may send to one attempt of a look-up.
pub const MAX_LOOKUP_BYTES: u64 = 16 * 1024 * 1024;

/// The limits of [`fetch_commit`](crate::Remote::fetch_commit).
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The time limit of the whole fetch.
    pub time: Duration,
    /// The maximum size of the compressed files that the server sends.
    pub pack_bytes: u64,
    /// The maximum size of the files on disk, including the lengths of their paths.
    pub tree_bytes: u64,
    /// The maximum number of files and folders.
    pub files: u64,
}
