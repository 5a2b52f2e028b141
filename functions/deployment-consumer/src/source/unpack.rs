//! Unpacks a zip that a [`Packer`](super::Packer) made.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use zip::ZipArchive;
use zip::extra_fields::ExtraField;

use super::bounds::Bounds;

/// Unpacks a zip into `folder`, which is created. Links come last, so nothing is written through one. Fails beyond the bounds.
pub(crate) fn unpack(file: File, folder: &Path, mut bounds: Bounds) -> io::Result<()> {
    let mut zip = ZipArchive::new(file)?;
    fs::create_dir_all(folder)?;
    let mut links: Vec<(PathBuf, Vec<u8>, Option<u32>)> = Vec::new();
    for index in 0..zip.len() {
        bounds.count()?;
        let mut entry = zip.by_index(index)?;
        let path = inside(folder, entry.name_raw())?;
        // Sources that earlier versions stored have no times, and keep the present one.
        let seconds = entry.extra_data_fields().find_map(|field| match field {
            ExtraField::ExtendedTimestamp(time) => time.mod_time(),
            _ => None,
        });
        let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
        if entry.is_dir() {
            fs::create_dir(&path)?;
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            bounds.copy(&mut entry, &mut target)?;
            links.push((path, target, seconds));
        } else {
            let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            bounds.copy(&mut entry, &mut to)?;
            if let Some(seconds) = seconds {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into());
                to.set_times(FileTimes::new().set_modified(time))?;
            }
        }
    }
    for (path, target, seconds) in links {
        symlink(OsString::from_vec(target), &path)?;
        if let Some(seconds) = seconds {
            let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let modified = Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
            let times = Timestamps { last_access: keep, last_modification: modified };
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// Returns the place of an entry. Fails for a name that leads out of the folder.
fn inside(folder: &Path, name: &[u8]) -> io::Result<PathBuf> {
    let relative = Path::new(OsStr::from_bytes(name));
    match relative.components().all(|component| matches!(component, Component::Normal(_))) {
        true => Ok(folder.join(relative)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}
