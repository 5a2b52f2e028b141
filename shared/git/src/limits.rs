//! Limits of the operations on a remote.

use std::time::Duration;

/// The time limit of each look-up of a [`Remote`](crate::Remote), with all of its attempts. A request waits for it, and holds an execution
/// meanwhile.
pub const LOOKUP_TIME: Duration = Duration::from_secs(5);

/// The maximum number of branches and tags that [`list_refs`](crate::Remote::list_refs) lists.
pub const MAX_REFS: u64 = 50_000;

/// The maximum number of branches and tags whose histories [`reach`](crate::Remote::reach) searches for a commit.
pub const MAX_TIPS: usize = 10_000;

/// The number of branches and tags that one request of such a search names, with 50 bytes each.
pub(crate) const TIPS_OF_A_REQUEST: usize = 2_000;

/// The maximum number of bytes that a server may send to one attempt of a look-up.
pub const MAX_LOOKUP_BYTES: u64 = 16 * 1024 * 1024;

/// The maximum number of submodules in a repository, with those of its submodules.
pub const MAX_SUBMODULES: u64 = 100;

/// The maximum depth of submodules in submodules.
pub const MAX_SUBMODULE_DEPTH: usize = 8;

/// The maximum number of files that a repository and its submodules may keep in Git LFS.
pub const MAX_LFS_OBJECTS: u64 = 10_000;

/// The limits of [`Remote::fetch_commit`](crate::Remote::fetch_commit). Submodules and Git LFS count towards them.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The time limit of the whole fetch.
    pub time: Duration,
    /// The number of commits of history, the deployed one included, or 0 for all of it.
    pub depth: u32,
    /// The maximum size of the compressed files that the server sends.
    pub pack_bytes: u64,
    /// The maximum size of the files on disk, including the lengths of their paths.
    pub tree_bytes: u64,
    /// The maximum number of files and folders.
    pub files: u64,
}
