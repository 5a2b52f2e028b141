//! The time of a commit as the time of its files.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// A time in seconds since 1970, within what git's index and a zip can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTime(u32);

impl FileTime {
    /// Returns the next time that files can have.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(0, u32::MAX.into()).try_into().unwrap_or(u32::MAX))
    }

    pub(crate) fn seconds(self) -> u32 {
        self.0
    }

    /// Returns the next second.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Sets the time of a link itself.
    pub(crate) fn set_on_link(self, link: &Path) -> io::Result<()> {
        let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: keep, last_modification: Timespec { tv_sec: self.0.into(), tv_nsec: 0 } };
        Ok(utimensat(CWD, link, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl From<FileTime> for SystemTime {
    fn from(time: FileTime) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(time.0.into())
    }
}
