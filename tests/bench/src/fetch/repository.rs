//! Repositories of several shapes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// The shape of a repository.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    files: usize,
    /// The size of each file in bytes.
    size: usize,
    /// Whether files are text, which is compressed well.
    is_text: bool,
    commits: usize,
    has_attributes: bool,
}

pub(super) const SHAPES: [Shape; 5] = [
    Shape {
        name: "small",
        description: "30 files of 2 KB",
        files: 30,
        size: 2_000,
        is_text: true,
        commits: 20,
        has_attributes: false,
    },
    Shape {
        name: "many",
        description: "8,000 files of 1 KB",
        files: 8_000,
        size: 1_000,
        is_text: true,
        commits: 5,
        has_attributes: false,
    },
    Shape {
        name: "large",
        description: "6 files of 4 MB that can't be compressed",
        files: 6,
        size: 4_000_000,
        is_text: false,
        commits: 1,
        has_attributes: false,
    },
    Shape {
        name: "deep",
        description: "400 files of 8 KB with 300 commits of history",
        files: 400,
        size: 8_000,
        is_text: true,
        commits: 300,
        has_attributes: false,
    },
    Shape {
        name: "attributes",
        description: "2,000 files of 4 KB with attributes",
        files: 2_000,
        size: 4_000,
        is_text: true,
        commits: 5,
        has_attributes: true,
    },
];

/// A bare repository.
pub(super) struct Repository {
    pub(super) path: PathBuf,
    /// The commit of `main`.
    pub(super) sha: String,
}

impl Repository {
    /// Creates a repository as `<name>` in the folder, packed as a host would.
    pub(super) fn create(folder: &Path, shape: Shape) -> Result<Self> {
        let path = folder.join(shape.name);
        run(git().args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path), None)?;
        run(git().args(["fast-import", "--quiet"]).current_dir(&path), Some(&history(shape)))?;
        run(git().args(["repack", "-a", "-d", "--quiet"]).current_dir(&path), None)?;
        let sha = run(git().args(["rev-parse", "main"]).current_dir(&path), None)?;
        Ok(Self { path, sha: sha.trim().to_owned() })
    }

    pub(super) fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }
}

/// Returns the commits for `git fast-import`. The first has all files, and each later one changes some of them.
fn history(shape: Shape) -> Vec<u8> {
    let mut input = Vec::new();
    for commit in 0..shape.commits {
        let time = 1_700_000_000 + commit;
        let head = format!("commit refs/heads/main\ncommitter Ada <ada@example.com> {time} +0000\ndata 1\nx\n");
        input.extend_from_slice(head.as_bytes());
        if commit == 0 && shape.has_attributes {
            add(&mut input, ".gitattributes", b"* text=auto\n*.txt text eol=crlf\nfolder-1/** ident\n");
        }
        let changed =
            if commit == 0 { 0..shape.files } else { commit % shape.files..shape.files.min(commit % shape.files + 3) };
        for number in changed {
            let path = format!("folder-{}/sub-{}/file-{number}.txt", number % 10, number % 40);
            add(&mut input, &path, &content(shape, number, commit));
        }
    }
    input
}

fn add(input: &mut Vec<u8>, path: &str, content: &[u8]) {
    input.extend_from_slice(format!("M 100644 inline {path}\ndata {}\n", content.len()).as_bytes());
    input.extend_from_slice(content);
    input.push(b'\n');
}

fn content(shape: Shape, number: usize, commit: usize) -> Vec<u8> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ commit as u64;
    let mut content = Vec::with_capacity(shape.size + 32);
    while content.len() < shape.size {
        // A xorshift generator, so that each run has the same repositories.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if shape.is_text {
            content.extend_from_slice(format!("let value_{} = {};\n", state % 97, state % 10_007).as_bytes());
        } else {
            content.extend_from_slice(&state.to_le_bytes());
        }
    }
    content
}

/// Returns git without the configuration of the machine and its user.
pub(super) fn git() -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    git
}

fn run(git: &mut Command, input: Option<&[u8]>) -> Result<String> {
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("it is piped").write_all(input.unwrap_or_default())?;
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{git:?} failed").into()),
    }
}
