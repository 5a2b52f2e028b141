use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use git::CommitSha;
use tempfile::TempDir;

/// A git repository with a worktree, created by git itself.
pub(crate) struct Origin {
    folder: Arc<TempDir>,
    name: String,
}

impl Origin {
    pub(crate) fn new() -> Self {
        Origin::named("app", Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Returns another repository in the same folder, which is created unless it exists.
    pub(crate) fn beside(&self, name: &str) -> Self {
        Origin::named(name, Arc::clone(&self.folder))
    }

    fn named(name: &str, folder: Arc<TempDir>) -> Self {
        let origin = Origin { folder, name: name.to_owned() };
        if !origin.path().exists() {
            fs::create_dir(origin.path()).unwrap();
            origin.git(&["init", "--quiet", "--initial-branch=main", "."]);
        }
        origin
    }

    /// Returns the folder that a server can serve as `/`, with the repository in it as `app`.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_with_input(arguments, b"")
    }

    pub(crate) fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = isolated_git()
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits the worktree as it is.
    pub(crate) fn commit(&self) -> CommitSha {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.sha("HEAD")
    }

    pub(crate) fn sha(&self, revision: &str) -> CommitSha {
        self.git(&["rev-parse", revision]).parse().unwrap()
    }

    /// Commits a tree from lines in the format of `git mktree`: `100644 blob SHA\tNAME`. They may be invalid.
    pub(crate) fn commit_tree(&self, lines: &[String]) -> CommitSha {
        let tree = self.tree(lines);
        let sha = self.git(&["commit-tree", "-m", "tree", &tree]).parse::<CommitSha>().unwrap();
        self.git(&["update-ref", "refs/heads/tree", &sha.to_string()]);
        sha
    }

    pub(crate) fn tree(&self, lines: &[String]) -> String {
        self.git_with_input(&["mktree"], lines.join("\n").as_bytes())
    }

    pub(crate) fn blob(&self, content: &str) -> String {
        self.git_with_input(&["hash-object", "-w", "--stdin"], content.as_bytes())
    }
}

/// Returns git without the configuration of the machine and its user.
pub(crate) fn isolated_git() -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        command.env_remove(name);
    }
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.com"),
    ]);
    command
}
