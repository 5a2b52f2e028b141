//! A folder of a build, held by its descriptor. Builds rename folders and put links in their place, so nothing is found by its path
//! again.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Add;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, openat, readlinkat, renameat, statat};

use crate::beneath::{FILE, MAX_DEPTH, names, open_folder};
use crate::source::{Attributes, Packer};

/// The number of files that are not in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Neither files nor folders nor links.
    pub special: usize,
    /// The files that can't be read, or are nested too deeply.
    pub unreadable: usize,
}

/// A walk that packs the files that a selection names.
pub(super) struct Packing<'a> {
    packer: &'a mut Packer,
    selects: &'a dyn Fn(&Path) -> bool,
    left_out: LeftOut,
    /// The names in the zip of the open folders, outermost first, and whether the zip has them.
    open: Vec<(Vec<u8>, Attributes, bool)>,
}

/// Moves what is in a folder into another one. What is there already stays. Returns the number of files, links and folders that were
/// not moved.
pub(super) fn merge(from: BorrowedFd<'_>, into: BorrowedFd<'_>) -> io::Result<usize> {
    let mut left = 0;
    for name in &names(from)? {
        match statat(into, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => renameat(from, name, into, name)?,
            Err(error) => return Err(error.into()),
            Ok(there) => {
                let here = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if [here, there].map(|stat| kind(&stat)) == [FileType::Directory; 2] {
                    let (here, there) = (open_folder(from, name)?, open_folder(into, name)?);
                    left += merge(here.as_fd(), there.as_fd())?;
                } else {
                    left += 1;
                }
            }
        }
    }
    Ok(left)
}

impl Add for LeftOut {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { special: self.special + other.special, unreadable: self.unreadable + other.unreadable }
    }
}

impl<'a> Packing<'a> {
    /// Packs the selected files of a folder under this name. Follows no link.
    pub(super) fn of(
        packer: &'a mut Packer,
        selects: &'a dyn Fn(&Path) -> bool,
        root: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<LeftOut> {
        let open = vec![(name.as_bytes().to_vec(), attributes(&fstat(root)?), false)];
        let mut packing = Self { packer, selects, left_out: LeftOut::default(), open };
        packing.walk(root, &mut PathBuf::new())?;
        Ok(packing.left_out)
    }

    fn walk(&mut self, folder: BorrowedFd<'_>, path: &mut PathBuf) -> io::Result<()> {
        for name in names(folder)? {
            path.push(&name);
            // A file that is gone or can't be read is left out, and an error of the zip ends the walk.
            let Ok(stat) = statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW) else {
                self.left_out.unreadable += usize::from((self.selects)(path));
                path.pop();
                continue;
            };
            match kind(&stat) {
                FileType::Directory => self.enter(folder, &name, &stat, path)?,
                _ if !(self.selects)(path) => {}
                FileType::RegularFile => self.file(folder, &name)?,
                FileType::Symlink => match readlinkat(folder, &*name, Vec::new()) {
                    Ok(target) => {
                        let full = self.begin(&name)?;
                        self.packer.link(&full, attributes(&stat), target.as_bytes())?;
                    }
                    Err(_) => self.left_out.unreadable += 1,
                },
                _ => self.left_out.special += 1,
            }
            path.pop();
        }
        Ok(())
    }

    fn enter(&mut self, parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat, path: &mut PathBuf) -> io::Result<()> {
        self.open.push((self.full(name), attributes(stat), false));
        if (self.selects)(path) {
            self.begin_folders()?;
        }
        match open_folder(parent, name) {
            Ok(folder) if self.open.len() <= MAX_DEPTH => self.walk(folder.as_fd(), path)?,
            _ => self.left_out.unreadable += 1,
        }
        self.open.pop();
        Ok(())
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let opened = openat(folder, name, FILE, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
        match opened {
            Ok((stat, file)) if kind(&stat) == FileType::RegularFile => {
                let full = self.begin(name)?;
                self.packer.file(&full, attributes(&stat), &mut File::from(file))
            }
            _ => {
                self.left_out.unreadable += 1;
                Ok(())
            }
        }
    }

    /// Puts the open folders into the zip, and returns the name of an entry in the innermost one.
    fn begin(&mut self, name: &OsStr) -> io::Result<Vec<u8>> {
        self.begin_folders()?;
        Ok(self.full(name))
    }

    fn begin_folders(&mut self) -> io::Result<()> {
        for (name, attributes, is_packed) in &mut self.open {
            if !std::mem::replace(is_packed, true) {
                self.packer.folder(name, *attributes)?;
            }
        }
        Ok(())
    }

    fn full(&self, name: &OsStr) -> Vec<u8> {
        let (folder, ..) = self.open.last().expect("a walk begins in a folder");
        [folder, &b"/"[..], name.as_bytes()].concat()
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn attributes(stat: &Stat) -> Attributes {
    Attributes { mode: stat.st_mode, modified: stat.st_mtime }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::CWD;
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::beneath::Folder;
    use crate::source::{Bounds, unpack};

    struct Caches {
        folder: TempDir,
    }

    impl Caches {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["from", "to"] {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            Self { folder }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn pack_within(&self, bytes: u64, files: usize) -> io::Result<LeftOut> {
            self.pack_folder(&Folder::open(&self.at("from"))?, bytes, files)
        }

        fn pack_folder(&self, root: &Folder, bytes: u64, files: usize) -> io::Result<LeftOut> {
            let bounds = Bounds::new(bytes, files, CancellationToken::new());
            let mut packer = Packer::new(File::create(self.at("zip"))?, bounds);
            let selects = |path: &Path| !path.starts_with("not");
            let left_out = Packing::of(&mut packer, &selects, root.as_fd(), "source")?;
            packer.finish()?;
            Ok(left_out)
        }

        fn pack(&self) -> LeftOut {
            self.pack_within(1 << 20, 1000).unwrap()
        }

        fn unpack_within(&self, bytes: u64, files: usize) -> io::Result<usize> {
            let zip = File::open(self.at("zip"))?;
            unpack(zip, &self.at("cache"), Bounds::new(bytes, files, CancellationToken::new()))?;
            let (from, into) = (Folder::open(&self.at("cache/source"))?, Folder::open(&self.at("to"))?);
            merge(from.as_fd(), into.as_fd())
        }
    }

    #[test]
    fn files_come_back_with_their_bytes_modes_times_and_links() {
        let caches = Caches::new();
        let at = |name: &[u8]| caches.at("from").join(OsStr::from_bytes(name));
        fs::create_dir_all(at(b"caf\xe9/deep")).unwrap();
        fs::create_dir(at(b"empty")).unwrap();
        fs::create_dir(at(b"not")).unwrap();
        fs::write(at(b"not/this"), "").unwrap();
        fs::write(at(b"caf\xe9/deep/\xff\xfe"), "latin").unwrap();
        fs::write(at(b"run"), "#!/bin/sh").unwrap();
        fs::set_permissions(at(b"run"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::write(at(b"read-only"), "").unwrap();
        fs::set_permissions(at(b"read-only"), fs::Permissions::from_mode(0o444)).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_001);
        File::options().write(true).open(at(b"run")).unwrap().set_modified(time).unwrap();
        for (name, target) in [(&b"out"[..], &b"../../etc/passwd"[..]), (b"bytes", b"caf\xe9"), (b"loop", b"loop")] {
            symlink(OsStr::from_bytes(target), at(name)).unwrap();
        }
        assert_eq!(caches.pack(), LeftOut::default());
        assert_eq!(caches.unpack_within(1 << 20, 1000).unwrap(), 0);
        let to = |name: &[u8]| caches.at("to").join(OsStr::from_bytes(name));
        assert_eq!(fs::read(to(b"caf\xe9/deep/\xff\xfe")).unwrap(), b"latin");
        assert!(to(b"empty").is_dir() && !to(b"not").exists());
        let run = fs::metadata(to(b"run")).unwrap();
        assert_eq!((run.mode() & 0o7777, run.mtime()), (0o750, 1_700_000_001));
        assert_eq!(fs::metadata(to(b"read-only")).unwrap().mode() & 0o7777, 0o444);
        assert_eq!(fs::read_link(to(b"out")).unwrap(), Path::new("../../etc/passwd"));
        assert_eq!(fs::read_link(to(b"bytes")).unwrap().as_os_str().as_bytes(), b"caf\xe9");
        assert_eq!(fs::read_link(to(b"loop")).unwrap(), Path::new("loop"));
    }

    #[test]
    fn pipes_sockets_and_what_is_nested_too_deeply_are_left_out_and_stall_nothing() {
        let caches = Caches::new();
        fs::write(caches.at("from/file"), "x").unwrap();
        rustix::fs::mkfifoat(CWD, caches.at("from/pipe"), Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(caches.at("from/socket")).unwrap();
        let mut deep = caches.at("from");
        for _ in 0..MAX_DEPTH + 50 {
            deep.push("deep");
        }
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(caches.pack(), LeftOut { special: 2, unreadable: 1 });
        assert_eq!(caches.unpack_within(1 << 20, 1000).unwrap(), 0);
        assert_eq!(fs::read(caches.at("to/file")).unwrap(), b"x");
        assert!(!caches.at("to/pipe").exists());
    }

    #[test]
    fn what_is_too_large_or_has_too_many_files_is_refused_before_it_is_read() {
        let caches = Caches::new();
        File::create(caches.at("from/huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(caches.pack_within(1 << 20, 1000).unwrap_err().kind(), ErrorKind::QuotaExceeded);
        fs::remove_file(caches.at("from/huge")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(caches.at("from").join(name), [7; 1000]).unwrap();
        }
        // The folder itself is an entry too.
        assert_eq!(caches.pack_within(3000, 3).unwrap_err().kind(), ErrorKind::QuotaExceeded);
        assert_eq!(caches.pack_within(2999, 4).unwrap_err().kind(), ErrorKind::QuotaExceeded);
        caches.pack_within(3000, 4).unwrap();
        for (bytes, files) in [(2999, 4), (3000, 3)] {
            assert_eq!(caches.unpack_within(bytes, files).unwrap_err().kind(), ErrorKind::QuotaExceeded);
            fs::remove_dir_all(caches.at("cache")).unwrap();
        }
        assert_eq!(caches.unpack_within(3000, 4).unwrap(), 0);
    }

    #[test]
    fn a_folder_that_a_build_replaced_by_a_link_is_not_followed() {
        let caches = Caches::new();
        fs::create_dir(caches.at("secrets")).unwrap();
        fs::write(caches.at("secrets/key"), "hunter2").unwrap();
        fs::write(caches.at("from/file"), "x").unwrap();
        symlink(caches.at("secrets"), caches.at("from/link")).unwrap();
        let held = Folder::open(&caches.at("from")).unwrap();
        fs::rename(caches.at("from"), caches.at("moved")).unwrap();
        symlink(caches.at("secrets"), caches.at("from")).unwrap();
        assert!(Folder::open(&caches.at("from")).is_err());
        caches.pack_folder(&held, 1 << 20, 100).unwrap();
        caches.unpack_within(1 << 20, 100).unwrap();
        assert!(!caches.at("to/key").exists());
        assert_eq!(fs::read(caches.at("to/file")).unwrap(), b"x");
        assert!(fs::symlink_metadata(caches.at("to/link")).unwrap().is_symlink());
    }

    #[test]
    fn what_the_commit_has_stays_and_nothing_is_written_through_its_links() {
        let caches = Caches::new();
        for folder in ["from/modules/a", "from/linked", "to/modules", "outside"] {
            fs::create_dir_all(caches.at(folder)).unwrap();
        }
        for (name, content) in [("from/main.c", "old"), ("from/modules/a/x", "cached"), ("from/linked/evil", "evil")] {
            fs::write(caches.at(name), content).unwrap();
        }
        fs::write(caches.at("to/main.c"), "new").unwrap();
        fs::write(caches.at("to/modules/own"), "own").unwrap();
        symlink(caches.at("outside"), caches.at("to/linked")).unwrap();
        caches.pack();
        assert_eq!(caches.unpack_within(1 << 20, 100).unwrap(), 2, "main.c and linked");
        assert_eq!(fs::read_to_string(caches.at("to/main.c")).unwrap(), "new");
        assert_eq!(fs::read_to_string(caches.at("to/modules/a/x")).unwrap(), "cached");
        assert_eq!(fs::read_to_string(caches.at("to/modules/own")).unwrap(), "own");
        assert_eq!(fs::read_dir(caches.at("outside")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_zip_is_an_error_and_changes_nothing() {
        let caches = Caches::new();
        fs::write(caches.at("from/file"), vec![7; 100_000]).unwrap();
        caches.pack();
        let zip = fs::read(caches.at("zip")).unwrap();
        for damaged in [&zip[..zip.len() / 2], &zip[1..], b"", b"not a zip"] {
            fs::write(caches.at("zip"), damaged).unwrap();
            assert!(caches.unpack_within(1 << 20, 100).is_err(), "{} bytes", damaged.len());
            let _ = fs::remove_dir_all(caches.at("cache"));
        }
        assert_eq!(fs::read_dir(caches.at("to")).unwrap().count(), 0);
    }
}
