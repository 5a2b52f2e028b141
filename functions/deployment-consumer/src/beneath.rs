//! Files in a folder whose content cannot be trusted: a name in it may be a link to anywhere.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, openat};

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe without a writer must not stall.
const FILE: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a regular file in the folder for reading. Fails if the path leads through a link, now or at any time before.
pub(crate) fn open(folder: &Path, relative: &Path) -> io::Result<File> {
    let mut names = relative.components().map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    });
    let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits().cast_signed();
    let mut at = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    let mut name = names.next().ok_or(io::ErrorKind::InvalidInput)??;
    for next in names {
        at = openat(&at, name, FOLDER, Mode::empty())?.into();
        name = next?;
    }
    let file: File = openat(&at, name, FILE, Mode::empty())?.into();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}
