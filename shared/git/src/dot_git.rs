//! The `.git` of a checkout: what git needs to know the commit, its tags and its submodules.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};

use crate::file_time::FileTime;

/// The folder of a repository's objects and refs, `.git` or one in `.git/modules`.
pub(crate) struct DotGit {
    folder: PathBuf,
    config: BString,
    refs: Vec<(String, ObjectId, Option<ObjectId>)>,
}

impl DotGit {
    /// Creates the folder with an empty object database. `worktree` is the path of the checkout from the folder, unless the
    /// folder is its `.git`. `origin` must contain no credential.
    pub(crate) fn create(folder: &Path, worktree: Option<&BStr>, origin: &str) -> io::Result<Self> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::create_dir(folder)?;
        fs::create_dir_all(folder.join("objects/pack"))?;
        fs::create_dir_all(folder.join("objects/info"))?;
        fs::create_dir_all(folder.join("refs/heads"))?;
        fs::write(folder.join("HEAD"), "ref: refs/heads/main\n")?;
        // Copies of the checkout, such as one from a zip, keep times and sizes and nothing else that an index can compare.
        let mut config = BString::from(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tcheckStat = minimal\n\ttrustctime = false\n",
        );
        if let Some(worktree) = worktree {
            config.extend_from_slice(&worktree_line(worktree));
        }
        config.extend_from_slice(b"[remote \"origin\"]\n");
        append_value(&mut config, "url", origin.into());
        config.extend_from_slice(b"\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
        let dot_git = Self { folder: folder.to_owned(), config, refs: Vec::new() };
        dot_git.write_config()?;
        Ok(dot_git)
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    pub(crate) fn packs(&self) -> PathBuf {
        self.folder.join("objects/pack")
    }

    /// Adds a ref. `peeled` is the commit of an annotated tag.
    pub(crate) fn add_ref(&mut self, name: &str, id: ObjectId, peeled: Option<ObjectId>) {
        self.refs.push((name.to_owned(), id, peeled));
    }

    /// Adds a submodule, as `git submodule init` does.
    pub(crate) fn add_submodule(&mut self, name: &BStr, url: &str) {
        self.config.extend_from_slice(b"[submodule \"");
        self.config.extend_from_slice(&escape(name));
        self.config.extend_from_slice(b"\"]\n\tactive = true\n");
        append_value(&mut self.config, "url", url.into());
    }

    /// Writes the configuration, the refs, and HEAD: the branch `branch`, or else the commit itself.
    pub(crate) fn finish(&mut self, commit: ObjectId, branch: Option<&str>) -> io::Result<()> {
        self.write_config()?;
        self.refs.sort();
        let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for (name, id, peeled) in &self.refs {
            let _ = writeln!(packed, "{id} {name}");
            if let Some(peeled) = peeled {
                let _ = writeln!(packed, "^{peeled}");
            }
        }
        fs::write(self.folder.join("packed-refs"), packed)?;
        let head = branch.map_or_else(|| format!("{commit}\n"), |branch| format!("ref: {branch}\n"));
        fs::write(self.folder.join("HEAD"), head)
    }

    /// Writes the commits whose parents were left out.
    pub(crate) fn write_shallow(&self, mut commits: Vec<ObjectId>) -> io::Result<()> {
        commits.sort();
        match commits.is_empty() {
            true => Ok(()),
            false => {
                fs::write(self.folder.join("shallow"), commits.iter().map(|id| format!("{id}\n")).collect::<String>())
            }
        }
    }

    fn write_config(&self) -> io::Result<()> {
        fs::write(self.folder.join("config"), &self.config)
    }
}

/// Sets what git compares of files that were written: their time and their size.
pub(crate) fn stat(entry: &mut gix::index::Entry, size: u64, time: FileTime) {
    entry.stat.mtime.secs = time.seconds();
    entry.stat.size = u32::try_from(size).unwrap_or(u32::MAX);
}

/// Returns the line of a configuration that says where the checkout is.
pub(crate) fn worktree_line(path: &BStr) -> Vec<u8> {
    let mut line = BString::default();
    append_value(&mut line, "worktree", path);
    line.into()
}

fn append_value(config: &mut BString, key: &str, value: &BStr) {
    config.extend_from_slice(format!("\t{key} = \"").as_bytes());
    config.extend_from_slice(&escape(value));
    config.extend_from_slice(b"\"\n");
}

/// Escapes a quoted value or the name of a section.
fn escape(text: &BStr) -> Vec<u8> {
    text.replace(b"\\", b"\\\\").replace(b"\"", b"\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_stays_one_value() {
        assert_eq!(escape(BStr::new(br#"a"b\c"#)), br#"a\"b\\c"#);
    }
}
