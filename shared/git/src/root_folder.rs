//! The checkout of one folder of a commit.
//!
//! Git compares a checkout with its commit by paths from the commit's top folder, which such a checkout does not have. So the index says
//! of each file that it is left out, as in a sparse checkout, and git finds neither missing nor changed files. Files without a place in
//! the commit are not listed either, because every file of the folder would be one.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::bstr::{BStr, BString, ByteSlice};
use gix::hash::Kind::Sha1;
use gix::index;
use gix::index::entry::{Flags, Mode};

use crate::checkout::inside;
use crate::dot_git::worktree_line;
use crate::source::from;

const GIT: &str = ".git";
/// The start of the file that leads from a submodule's checkout to its `.git`.
const LINK: &[u8] = b"gitdir: ";

/// The place of a submodule, by paths from the top of the checkout.
struct Place {
    checkout: BString,
    git_dir: BString,
}

/// Makes a folder of a checkout the checkout. The folder is given by its real path. It takes git's own data along, or has its own if
/// it is a submodule.
///
/// # Errors
/// Fails if the folder is not in the checkout, or the disk fails.
pub fn make_root(checkout: &Path, folder: &Path) -> io::Result<()> {
    let real = fs::canonicalize(checkout)?;
    let root = folder.strip_prefix(&real).map_err(io::Error::other)?.as_os_str().as_bytes();
    // The folder may be the checkout itself, by a link.
    if root.is_empty() {
        return Ok(());
    }
    let aside = checkout.with_file_name("root");
    fs::rename(folder, &aside)?;
    let (git, link) = (checkout.join(GIT), aside.join(GIT));
    let of_submodule = match fs::read(&link) {
        Ok(link) => git_dir_of(&link),
        Err(_) => None,
    };
    match &of_submodule {
        Some(git_dir) => {
            fs::remove_file(&link)?;
            fs::rename(inside(checkout, git_dir.as_bstr()), &link)?;
        }
        None if git.exists() => fs::rename(git, &link)?,
        None => {}
    }
    fs::remove_dir_all(checkout)?;
    fs::rename(aside, checkout)?;
    match of_submodule {
        Some(git_dir) => {
            let old = Place { checkout: root.into(), git_dir };
            replace(&checkout.join(GIT).join("config"), &old.worktree_line(), b"")?;
            move_submodules(checkout, &old, &Place { checkout: BString::default(), git_dir: GIT.into() })
        }
        None => leave_out(checkout, root.as_bstr()),
    }
}

/// Leaves all files out of the checkout that git knows, and moves the submodules of the folder `root`.
fn leave_out(checkout: &Path, root: &BStr) -> io::Result<()> {
    let git = checkout.join(GIT);
    let Some(mut index) = read_index(&git)? else { return Ok(()) };
    let beneath = [root.as_bytes(), b"/"].concat();
    let old = Place { checkout: BString::default(), git_dir: GIT.into() };
    for link in links(&index) {
        if let Some(path) = link.strip_prefix(beneath.as_slice()) {
            move_submodule(checkout, &old, link.as_bstr(), path.into(), GIT.into())?;
        }
    }
    for entry in index.entries_mut() {
        entry.flags.insert(Flags::SKIP_WORKTREE | Flags::EXTENDED);
    }
    let time = fs::metadata(index.path())?.modified()?;
    index.write(index::write::Options::default()).map_err(io::Error::other)?;
    File::options().write(true).open(index.path())?.set_times(FileTimes::new().set_modified(time))?;
    let mut config = OpenOptions::new().append(true).open(git.join("config"))?;
    config.write_all(b"[status]\n\tshowUntrackedFiles = no\n")
}

/// Moves the submodules of a repository that has moved.
fn move_submodules(top: &Path, old: &Place, new: &Place) -> io::Result<()> {
    let Some(index) = read_index(&inside(top, new.git_dir.as_bstr()))? else { return Ok(()) };
    for link in links(&index) {
        move_submodule(
            top,
            old,
            join(old.checkout.as_bstr(), link.as_bstr()).as_bstr(),
            join(new.checkout.as_bstr(), link.as_bstr()),
            new.git_dir.as_bstr(),
        )?;
    }
    Ok(())
}

/// Lets the checkout of a submodule and its `.git` lead to each other again, and those of its own submodules.
fn move_submodule(top: &Path, parent: &Place, old: &BStr, new: BString, parent_git_dir: &BStr) -> io::Result<()> {
    let link = inside(top, join(new.as_bstr(), GIT.into()).as_bstr());
    // A submodule that is not described, or says `update = none`, has none.
    let Some(git_dir) = fs::read(&link).ok().as_deref().and_then(git_dir_of) else { return Ok(()) };
    let Some(rest) = git_dir.strip_prefix(parent.git_dir.as_slice()) else { return Ok(()) };
    let moved = BString::from([parent_git_dir.as_bytes(), rest].concat());
    let (old, new) = (Place { checkout: old.to_owned(), git_dir }, Place { checkout: new, git_dir: moved });
    let path = from(new.checkout.as_bstr(), new.git_dir.as_bstr());
    fs::write(&link, [LINK, path.as_slice(), b"\n"].concat())?;
    let config = inside(top, new.git_dir.as_bstr()).join("config");
    replace(&config, &old.worktree_line(), &new.worktree_line())?;
    move_submodules(top, &old, &new)
}

impl Place {
    fn worktree_line(&self) -> Vec<u8> {
        worktree_line(from(self.git_dir.as_bstr(), self.checkout.as_bstr()).as_bstr())
    }
}

/// Returns the path of a submodule's `.git` from the top, by the file that leads there.
fn git_dir_of(link: &[u8]) -> Option<BString> {
    let mut path = link.strip_prefix(LINK)?.trim_end();
    while let Some(rest) = path.strip_prefix(b"../") {
        path = rest;
    }
    Some(path.into())
}

fn read_index(git_dir: &Path) -> io::Result<Option<index::File>> {
    let path: PathBuf = git_dir.join("index");
    match path.exists() {
        true => {
            index::File::at(path, Sha1, false, index::decode::Options::default()).map(Some).map_err(io::Error::other)
        }
        false => Ok(None),
    }
}

/// Returns the paths of the submodules in an index.
fn links(index: &index::File) -> Vec<BString> {
    let links = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT);
    links.map(|entry| entry.path(index).to_owned()).collect()
}

fn join(folder: &BStr, path: &BStr) -> BString {
    match folder.is_empty() {
        true => path.to_owned(),
        false => [folder.as_bytes(), b"/", path].concat().into(),
    }
}

fn replace(file: &Path, old: &[u8], new: &[u8]) -> io::Result<()> {
    let text = fs::read(file)?;
    fs::write(file, text.replacen(old, new, 1))
}
