//! The source of a deployment as one zip: the input of CodeBuild, and of a rollback without the git host. Caches have the same
//! format.

mod bounds;
mod pack;
mod unpack;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use archive::Archive;
use tokio::task::spawn_blocking;

pub(crate) use self::bounds::Bounds;
pub(crate) use self::pack::{Attributes, Packer};
pub(crate) use self::unpack::unpack;
use crate::retry::Retry;

/// Stores `folder` as a zip, which is created at the path `file` and deleted afterwards.
pub(crate) async fn keep(archive: &Archive, prefix: &str, folder: &Path, file: &Path) -> Result<(), Retry> {
    let failed = |error: io::Error| Retry::Infrastructure("the source can't be zipped", error.into());
    let (from, to): (PathBuf, PathBuf) = (folder.to_owned(), file.to_owned());
    let packed = spawn_blocking(move || pack::pack(&from, &to)).await;
    packed.map_err(|panicked| failed(io::Error::other(panicked)))?.map_err(failed)?;
    let mut content = tokio::fs::File::open(file).await.map_err(failed)?;
    archive.put_source(prefix, &mut content).await?;
    // The zip is deleted because the build needs the disk space.
    fs::remove_file(file).map_err(failed)
}

/// Unpacks the stored source into `folder`, by way of a zip at the path `file`. Returns `false` if none is stored.
pub(crate) async fn restore(archive: &Archive, prefix: &str, folder: &Path, file: &Path) -> Result<bool, Retry> {
    let failed = |error: io::Error| Retry::Infrastructure("the source can't be unpacked", error.into());
    let mut content = tokio::fs::File::create(file).await.map_err(failed)?;
    if !archive.get_source(prefix, &mut content).await? {
        return Ok(false);
    }
    let (from, to): (PathBuf, PathBuf) = (file.to_owned(), folder.to_owned());
    let unpacked = spawn_blocking(move || unpack(fs::File::open(from)?, &to, Bounds::none())).await;
    unpacked.map_err(|panicked| failed(io::Error::other(panicked)))?.map_err(failed)?;
    fs::remove_file(file).map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::{File, FileTimes};
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;
    use std::time::{Duration, SystemTime};

    use walkdir::WalkDir;

    use super::*;
    use crate::beneath::Folder;

    const COMMITTED: u64 = 1_700_000_001;

    fn write(path: &Path, content: &[u8], mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(COMMITTED);
        File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    #[derive(Debug, PartialEq)]
    struct Entry {
        path: Vec<u8>,
        mode: u32,
        /// The time of a file.
        time: Option<i64>,
        /// The content of a file, or the target of a link.
        content: Vec<u8>,
    }

    fn contents(folder: &Path) -> Vec<Entry> {
        let entries = WalkDir::new(folder).min_depth(1).sort_by_file_name();
        let describe = |entry: walkdir::Result<walkdir::DirEntry>| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let (time, content) = if metadata.is_symlink() {
                (None, fs::read_link(entry.path()).unwrap().as_os_str().as_bytes().to_vec())
            } else if metadata.is_file() {
                (Some(metadata.mtime()), fs::read(entry.path()).unwrap())
            } else {
                (None, Vec::new())
            };
            let path = entry.path().strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
            Entry { path, mode: metadata.mode(), time, content }
        };
        entries.into_iter().map(describe).collect()
    }

    fn source() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        write(&at(b"plain.txt"), b"plain", 0o644);
        write(&at(b"bin/run"), b"#!/bin/sh\n", 0o755);
        write(&at(b"caf\xe9/na\xefve.txt"), b"latin-1", 0o644);
        write(&at("日本語.txt".as_bytes()), b"utf-8", 0o644);
        write(&at(b"back\\slash:and\ttab"), b"", 0o600);
        write(&at(b".git/objects/pack/pack-1.pack"), &[7; 4096], 0o444);
        fs::create_dir(at(b"empty")).unwrap();
        for (link, target) in [
            (&b"device"[..], &b"/dev/zero"[..]),
            (b"up", b"../../x"),
            (b"folder", b"/etc"),
            (b"loop", b"loop"),
            (b"l\xefnk", b"caf\xe9/na\xefve.txt"),
        ] {
            symlink(OsStr::from_bytes(target), at(link)).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_packed_is_unpacked_with_its_bytes_modes_and_times() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let (file, unpacked) = (folder.path().join("source.zip"), folder.path().join("source"));
        pack::pack(source.path(), &file).unwrap();
        unpack(File::open(&file).unwrap(), &unpacked, Bounds::none()).unwrap();
        let found = contents(&unpacked);
        assert_eq!(found, contents(source.path()));
        assert!(found.iter().filter_map(|entry| entry.time).all(|time| time == COMMITTED as i64));
    }

    #[test]
    fn a_zip_names_files_by_their_bytes_and_says_only_of_utf_8_that_it_is() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let file = folder.path().join("source.zip");
        pack::pack(source.path(), &file).unwrap();
        let mut zip = zip::ZipArchive::new(File::open(&file).unwrap()).unwrap();
        let mut names = Vec::new();
        for index in 0..zip.len() {
            names.push(zip.by_index(index).unwrap().name_raw().to_vec());
        }
        assert!(names.contains(&b"caf\xe9/na\xefve.txt".to_vec()), "{names:?}");
        let bytes = fs::read(&file).unwrap();
        // Bit 11 of the flags, at offset 6 of a local header, whose name begins at offset 30.
        let is_marked = |name: &[u8]| {
            let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
            bytes[at - 30 + 7] & 8 != 0
        };
        assert!(is_marked("日本語.txt".as_bytes()));
        assert!(!is_marked(b"caf\xe9/na\xefve.txt"));
    }

    #[test]
    fn a_zip_follows_no_link_that_takes_the_place_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = String::new();
        let held = Folder::open(folder.path()).unwrap();
        symlink("/etc/hostname", folder.path().join("link")).unwrap();
        assert!(held.file(Path::new("link")).is_err());
        symlink("/etc", folder.path().join("etc")).unwrap();
        assert!(held.file(Path::new("etc/hostname")).is_err());
        assert!(held.file(Path::new("../x")).is_err());
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), "b").unwrap();
        held.file(Path::new("a/b")).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "b");
    }

    /// Runs git without the configuration of the machine, and returns what it says.
    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(arguments).current_dir(folder);
        let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[tokio::test]
    async fn git_finds_no_change_in_a_source_that_was_fetched_packed_and_unpacked() {
        let (origin, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| origin.path().join(path);
        git(origin.path(), &["init", "--quiet", "--initial-branch=main", "."]);
        // The SHA-256 of the content.
        let (content, oid) = ("large\n", "9bfce334a37bd1bc1d36b0370195b31fe9a9389dd43d0873891a3544ef1140a1");
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", content.len());
        write(&at(&format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4])), content.as_bytes(), 0o644);
        write(&at("large.bin"), pointer.as_bytes(), 0o644);
        write(&at(".gitattributes"), b"*.bin filter=lfs -text\n*.txt text eol=crlf ident\n", 0o644);
        write(&at("text.txt"), b"one\ntwo $Id$\n", 0o644);
        write(&at("run"), b"#!/bin/sh\n", 0o755);
        symlink("/dev/null", at("device")).unwrap();
        git(origin.path(), &["add", "--all"]);
        git(origin.path(), &["commit", "--quiet", "--message=x"]);
        git(origin.path(), &["tag", "--annotate", "--message=x", "v1.0"]);
        let sha = git(origin.path(), &["rev-parse", "HEAD"]);

        let url = git::CloneUrl::parse(origin.path().to_str().unwrap(), shared::hosts::Hosts::AlsoLocal).unwrap();
        let commit = git::Resolved { name: Some("refs/tags/v1.0".to_owned()), sha: sha.parse().unwrap() };
        let (fetched, unpacked) = (folder.path().join("fetched"), folder.path().join("unpacked"));
        let remote = git::Remote::new(url, None);
        remote.fetch_commit(&commit, &fetched, crate::FETCH_LIMITS).await.unwrap();
        let file = folder.path().join("source.zip");
        pack::pack(&fetched, &file).unwrap();
        unpack(File::open(&file).unwrap(), &unpacked, Bounds::none()).unwrap();
        assert_eq!(contents(&unpacked), contents(&fetched));
        fs::remove_dir_all(&fetched).unwrap();
        drop(origin);
        assert_eq!(fs::read_to_string(unpacked.join("large.bin")).unwrap(), content);
        assert_eq!(git(&unpacked, &["status", "--porcelain"]), "");
        assert_eq!(git(&unpacked, &["rev-parse", "HEAD"]), sha);
        assert_eq!(git(&unpacked, &["describe", "--tags"]), "v1.0");
        assert_eq!(git(&unpacked, &["log", "-1", "--format=%s"]), "x");
    }
}
