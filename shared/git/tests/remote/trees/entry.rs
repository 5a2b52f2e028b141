//! Entries of a tree with any bytes in their paths, committed by `git fast-import`.

use git::CommitSha;

use crate::origin::Origin;

/// The time of the commits, an odd number of seconds.
pub(crate) const COMMITTED: i64 = 1_700_000_001;

#[derive(Clone)]
pub(crate) struct Entry {
    mode: &'static str,
    pub(crate) path: Vec<u8>,
    content: Vec<u8>,
}

fn entry(mode: &'static str, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry { mode, path: path.as_ref().to_vec(), content: content.as_ref().to_vec() }
}

pub(crate) fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    entry("100644", path, content)
}

pub(crate) fn executable(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    entry("100755", path, content)
}

pub(crate) fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    entry("120000", path, target)
}

pub(crate) fn submodule(path: impl AsRef<[u8]>, commit: CommitSha) -> Entry {
    entry("160000", path, commit.to_string())
}

/// Commits a tree of these entries to `main`.
pub(crate) fn commit(origin: &Origin, entries: &[Entry]) -> CommitSha {
    let mut input = format!(
        "commit refs/heads/main\ncommitter Ada <ada@example.com> {COMMITTED} +0000\ndata 5\ntree\n\ndeleteall\n"
    )
    .into_bytes();
    for Entry { mode, path, content } in entries {
        let path: String = path.iter().map(|byte| format!("\\{byte:03o}")).collect();
        if *mode == "160000" {
            input.extend(format!("M {mode} {} \"{path}\"\n", String::from_utf8_lossy(content)).into_bytes());
        } else {
            input.extend(format!("M {mode} inline \"{path}\"\ndata {}\n", content.len()).into_bytes());
            input.extend_from_slice(content);
            input.push(b'\n');
        }
    }
    origin.git_with_input(&["fast-import", "--quiet", "--force"], &input);
    origin.sha("refs/heads/main")
}
