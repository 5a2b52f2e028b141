//! The processes of a run on systems that are not Linux, which end with their group. One that has left it goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::survivor::Survivor;

/// Declares that this process has no descendants but those of its runs. It changes nothing here.
pub fn own_all_descendants() {}

/// The processes of a run, which are those in its group.
pub(super) struct Members;

impl Members {
    pub(super) fn start<T>(_: Vec<u8>, spawn: impl FnOnce() -> io::Result<(i32, T)>) -> io::Result<(Arc<Self>, T)> {
        Ok((Arc::new(Self), spawn()?.1))
    }

    pub(super) fn spawn<T>(&self, spawn: impl FnOnce() -> io::Result<(Option<u32>, T)>) -> io::Result<T> {
        Ok(spawn()?.1)
    }

    pub(super) fn reap(&self) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn end(&self, _: Duration) -> io::Result<Vec<Survivor>> {
        Ok(Vec::new())
    }

    pub(super) fn forget(&self) {}
}
