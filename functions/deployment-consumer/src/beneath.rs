//! Files in a folder whose content cannot be trusted: a name in it may be a link to anywhere, a pipe, or be replaced at any time.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chmodat, fchmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe without a writer must not stall.
pub(crate) const FILE: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The number of folders in one another, each of which takes a descriptor of a walk.
pub(crate) const MAX_DEPTH: usize = 200;

/// A folder that is held by its descriptor. A build can move it and put a link in its place, even one to `/proc/self`, so nothing of it
/// is found by its path again.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// A name that a walk has come to.
#[derive(Debug)]
pub(crate) enum Found {
    File,
    /// A link, a pipe, a socket or a device.
    Special,
    /// A file, or a folder with all that is in it.
    Unreadable(io::Error),
}

impl Folder {
    /// Opens a folder at an absolute path that no build has changed yet. Fails for a link.
    ///
    /// # Errors
    /// Fails if there is no such folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = FOLDER.bits().cast_signed();
        let descriptor = OpenOptions::new().read(true).custom_flags(flags).open(path)?.into();
        Ok(Self { path: path.to_owned(), descriptor })
    }

    /// Returns the path at which the folder was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns another handle to the folder.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { path: self.path.clone(), descriptor: self.descriptor.try_clone()? })
    }

    /// Opens a regular file for reading. Fails if the path leads through a link, now or at any time before.
    pub(crate) fn file(&self, relative: &Path) -> io::Result<File> {
        file(self.as_fd(), relative)
    }

    /// Removes everything in the folder, however deep it is and whatever modes its folders have. No build may run any more.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let (root, mut moved) = (self.as_fd(), 0_u64);
        // A build may have closed the folder for its owner. If it is another owner's, what follows fails if it must.
        let _ = fchmod(root, Mode::RWXU);
        // Each round moves what is in the folders up by one, so that no depth takes more than two descriptors.
        loop {
            let names = names(root)?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                if !is_folder(root, &name)? {
                    unlinkat(root, &*name, AtFlags::empty())?;
                    continue;
                }
                let inner = open_any_folder(root, &name)?;
                for name in self::names(inner.as_fd())? {
                    match is_folder(inner.as_fd(), &name)? {
                        true => move_up(inner.as_fd(), &name, root, &mut moved)?,
                        false => unlinkat(&inner, &*name, AtFlags::empty())?,
                    }
                }
                unlinkat(root, &*name, AtFlags::REMOVEDIR)?;
            }
        }
    }

    /// Visits what is in the folder, sorted by name, but not the folders in it. Follows no link.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Path, Found)) {
        walk(self.as_fd(), &mut PathBuf::new(), 1, visit);
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn file(folder: BorrowedFd<'_>, relative: &Path) -> io::Result<File> {
    let mut names = relative.components().map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    });
    let mut at: Option<OwnedFd> = None;
    let mut name = names.next().ok_or(io::ErrorKind::InvalidInput)??;
    for next in names {
        at = Some(openat(at.as_ref().map_or(folder, AsFd::as_fd), name, FOLDER, Mode::empty())?);
        name = next?;
    }
    let file: File = openat(at.as_ref().map_or(folder, AsFd::as_fd), name, FILE, Mode::empty())?.into();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Returns the names in a folder, sorted.
pub(crate) fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

pub(crate) fn open_folder(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, FOLDER, Mode::empty())?)
}

fn is_folder(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Opens a folder after it has given its owner all rights.
fn open_any_folder(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    open_folder(parent, name)
}

/// Moves a folder into another one, under a name that is free there.
fn move_up(from: BorrowedFd<'_>, name: &OsStr, into: BorrowedFd<'_>, moved: &mut u64) -> io::Result<()> {
    chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
    loop {
        *moved += 1;
        match renameat(from, name, into, format!("moved-{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            renamed => return Ok(renamed?),
        }
    }
}

fn walk(folder: BorrowedFd<'_>, path: &mut PathBuf, depth: usize, visit: &mut dyn FnMut(&Path, Found)) {
    let names = match names(folder) {
        Ok(names) => names,
        Err(error) => return visit(path, Found::Unreadable(error)),
    };
    for name in names {
        path.push(&name);
        match statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) if depth == MAX_DEPTH => {
                visit(path, Found::Unreadable(io::Error::other("it is nested too deeply")));
            }
            Ok(FileType::Directory) => match open_folder(folder, &name) {
                Ok(inner) => walk(inner.as_fd(), path, depth + 1, visit),
                Err(error) => visit(path, Found::Unreadable(error)),
            },
            Ok(FileType::RegularFile) => visit(path, Found::File),
            Ok(_) => visit(path, Found::Special),
            Err(error) => visit(path, Found::Unreadable(error.into())),
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::open(folder.path()).unwrap();
        (folder, held)
    }

    #[test]
    fn a_folder_is_cleared_whatever_a_build_has_made_of_it() {
        let (folder, held) = folder();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), Mode::RWXU).unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
        // The name of a folder that is moved up is taken.
        for name in ["moved-1", "moved-2/moved-3", "closed/inner/deep"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // Deeper than a path can say, and than a process has descriptors.
        let mut deep = held.descriptor.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&deep, "deep", Mode::RWXU).unwrap();
            deep = open_folder(deep.as_fd(), OsStr::new("deep")).unwrap();
        }
        for name in ["closed/inner", "closed", "."] {
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        held.clear().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn a_walk_follows_no_link_and_says_what_it_cannot_enter() {
        let (folder, held) = folder();
        for name in ["b/c", "a"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["b/c/file", "a/file", "z"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        symlink("/", folder.path().join("root")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), Mode::RWXU).unwrap();
        let deep = folder.path().join("deep/".repeat(MAX_DEPTH + 1));
        fs::create_dir_all(&deep).unwrap();
        let mut found = Vec::new();
        held.walk(&mut |path, what| {
            let what = match what {
                Found::File => "file",
                Found::Special => "special",
                Found::Unreadable(_) => "unreadable",
            };
            found.push((path.to_str().unwrap().to_owned(), what));
        });
        let too_deep = "deep/".repeat(MAX_DEPTH);
        let expected = [
            ("a/file", "file"),
            ("b/c/file", "file"),
            (too_deep.trim_end_matches('/'), "unreadable"),
            ("pipe", "special"),
            ("root", "special"),
            ("z", "file"),
        ];
        assert_eq!(found, expected.map(|(path, what)| (path.to_owned(), what)));
    }

    #[test]
    fn a_folder_that_was_replaced_by_a_link_is_still_the_folder() {
        let (folder, _) = folder();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("environ"), "own").unwrap();
        let held = Folder::open(&source).unwrap();
        fs::rename(&source, folder.path().join("aside")).unwrap();
        symlink("/proc/self", &source).unwrap();
        assert!(Folder::open(&source).is_err());
        assert_eq!(io::read_to_string(held.file(Path::new("environ")).unwrap()).unwrap(), "own");
        assert!(held.file(Path::new("status")).is_err());
    }
}
