//! The rest of the limits of one fetch, which all of its repositories share.

use crate::error::RemoteError;
use crate::limits::{FetchLimits, MAX_LFS_OBJECTS, MAX_SUBMODULES};

/// The amounts that a fetch may still use.
pub(crate) struct Allowance {
    pub(crate) limits: FetchLimits,
    pub(crate) pack_bytes: u64,
    pub(crate) tree_bytes: u64,
    files: u64,
    submodules: u64,
    lfs_objects: u64,
}

impl Allowance {
    pub(crate) fn new(limits: FetchLimits) -> Self {
        Self {
            limits,
            pack_bytes: limits.pack_bytes,
            tree_bytes: limits.tree_bytes,
            files: limits.files,
            submodules: MAX_SUBMODULES,
            lfs_objects: MAX_LFS_OBJECTS,
        }
    }

    /// Takes a file or a folder with the length of its path, and a file's content.
    pub(crate) fn take_file(&mut self, path: u64, content: u64) -> Result<(), RemoteError> {
        take(&mut self.files, 1, "files and folders", self.limits.files)?;
        self.take_content(path.saturating_add(content))
    }

    pub(crate) fn take_content(&mut self, bytes: u64) -> Result<(), RemoteError> {
        take(&mut self.tree_bytes, bytes, "bytes of files", self.limits.tree_bytes)
    }

    pub(crate) fn take_pack(&mut self, bytes: u64) -> Result<(), RemoteError> {
        take(&mut self.pack_bytes, bytes, COMPRESSED, self.limits.pack_bytes)
    }

    pub(crate) fn take_submodule(&mut self) -> Result<(), RemoteError> {
        take(&mut self.submodules, 1, "submodules", MAX_SUBMODULES)
    }

    pub(crate) fn take_lfs_objects(&mut self, count: usize) -> Result<(), RemoteError> {
        take(&mut self.lfs_objects, count as u64, "Git LFS objects", MAX_LFS_OBJECTS)
    }
}

/// The unit of packs.
pub(crate) const COMPRESSED: &str = "compressed bytes";

fn take(left: &mut u64, count: u64, unit: &'static str, limit: u64) -> Result<(), RemoteError> {
    *left = left.checked_sub(count).ok_or(RemoteError::TooLarge(unit, limit))?;
    Ok(())
}
