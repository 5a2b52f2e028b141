//! A git repository on disk, to deploy from.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A git repository with a branch `main`.
pub struct GitRepository(TempDir);

impl GitRepository {
    /// Creates a repository whose first commit has these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit(files);
        repository
    }

    /// Creates a repository whose buildspec runs these commands, which are YAML scalars.
    pub fn with_commands(commands: &[&str]) -> Self {
        Self::new(&[("buildspec.yml", &buildspec(commands))])
    }

    /// Commits these files on the current branch. Returns the SHA.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the repository. Returns its output.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Test")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "test@example.com")))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the clone URL.
    pub fn url(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// Returns a buildspec whose build phase runs these commands, which are YAML scalars.
pub fn buildspec(commands: &[&str]) -> String {
    let commands: String = commands.iter().map(|command| format!("      - {command}\n")).collect();
    format!("version: 0.2\nphases:\n  build:\n    commands:\n{commands}")
}
