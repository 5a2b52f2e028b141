//! The state that one command's shell passes to the next one's, and to the reader of variables after the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, linkat, renameat, unlinkat};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use crate::beneath::Folder;
use crate::buildspec::{Shell, Version};

/// The names of files in the folder of the state. Commands can write into it, and put something else in their place.
const VALUES: &str = "values";
const VARIABLES: &str = "variables";
const KEPT_VARIABLES: &str = "kept-variables";
const NEXT_VARIABLES: &str = "next-variables";
const NEXT_DIRECTORY: &str = "next-directory";
/// The maximum size of these files, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The working directory and the variables, passed from shell to shell in files.
pub(super) struct ShellState {
    pub directory: PathBuf,
    /// Empty once the variables are read from a file, so that an unset variable stays unset.
    pub environment: BTreeMap<OsString, OsString>,
    files: Arc<Files>,
    /// The path at which shells find the folder of the files.
    path: String,
    shell: Shell,
    version: Version,
}

/// The files of the state. Commands choose their size and what is in their place, so each access is off the async task.
struct Files(Folder);

/// The state between two commands. The variables, if a command has saved them, are in a file.
pub(super) struct Kept {
    directory: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

impl ShellState {
    /// The state of the first shell. Its files are kept in `scratch`.
    pub(super) fn new(
        (shell, version): (Shell, Version),
        directory: &Path,
        environment: BTreeMap<OsString, OsString>,
        scratch: &Path,
    ) -> io::Result<Self> {
        let folder = scratch.join("state");
        fs::create_dir_all(&folder)?;
        let path = folder.to_str().ok_or_else(|| io::Error::other("its path is not UTF-8"))?.to_owned();
        let files = Arc::new(Files(Folder::open(&folder)?));
        Ok(Self { directory: directory.to_owned(), environment, files, path, shell, version })
    }

    /// Returns a script that restores the state, runs the command, and saves the state. The command follows a line end,
    /// so that the shell has read everything else before it finds a syntax error in the command.
    pub(super) fn script(&self, command: &str, succeeding: bool) -> String {
        let succeeding = u8::from(succeeding);
        if self.version == Version::V0_1 {
            return format!("export CODEBUILD_BUILD_SUCCEEDING={succeeding}\n{command}\n");
        }
        let restore = self.restore();
        let next_variables = quoted(&self.path_of(NEXT_VARIABLES));
        let functions = match self.shell {
            Shell::Sh => String::new(),
            Shell::Bash => format!(" && export -f -p >>{next_variables}"),
        };
        // The directory comes last: its file proves that the variables are complete.
        let next_directory = quoted(&self.path_of(NEXT_DIRECTORY));
        let write = quoted(&format!("export -p >|{next_variables}{functions} && pwd >|{next_directory}"));
        // `set -a` carries over variables that are not exported, as a single shell would.
        format!("{restore}export CODEBUILD_BUILD_SUCCEEDING={succeeding}; trap {write} EXIT; set -a\n{command}\n")
    }

    /// Returns a script that writes the values of those variables that are set into the file of [`Self::take_values`].
    pub(super) fn values_script(&self, names: &BTreeSet<&str>) -> String {
        let write = |name: &&str| format!("if [ \"${{{name}+x}}\" ]; then printf '%s\\0' \"{name}=${name}\"; fi\n");
        let writes: String = names.iter().map(write).collect();
        format!("{}exec >|{}\n{writes}", self.restore(), quoted(&self.path_of(VALUES)))
    }

    /// Returns the values that the script has written.
    pub(super) async fn take_values(&self) -> io::Result<BTreeMap<String, String>> {
        let written = self.on_files(|files| files.read(VALUES)).await?.unwrap_or_default();
        let values = written.split(|byte| *byte == 0).filter_map(|pair| {
            let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Ok(values.collect())
    }

    /// Takes over the state that the last command saved. A command that was killed saves nothing and leaves the state
    /// unchanged.
    pub(super) async fn take_over(&mut self) -> io::Result<()> {
        if let Some(directory) = self.on_files(Files::take_over).await? {
            self.directory = directory;
            self.environment.clear();
        }
        Ok(())
    }

    /// Keeps the state. A later call keeps another one in its place.
    pub(super) async fn keep(&self) -> io::Result<Kept> {
        if self.environment.is_empty() {
            self.on_files(|files| files.link(VARIABLES, KEPT_VARIABLES)).await?;
        }
        Ok(Kept { directory: self.directory.clone(), environment: self.environment.clone() })
    }

    /// Takes over the state that was kept last.
    pub(super) async fn go_back(&mut self, kept: &Kept) -> io::Result<()> {
        if kept.environment.is_empty() {
            self.on_files(|files| files.link(KEPT_VARIABLES, VARIABLES)).await?;
        }
        self.directory.clone_from(&kept.directory);
        self.environment.clone_from(&kept.environment);
        Ok(())
    }

    async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let files = Arc::clone(&self.files);
        spawn_blocking(move || work(&files)).await?
    }

    /// Returns the start of a script, which restores the variables unless the environment has them.
    fn restore(&self) -> String {
        match self.environment.is_empty() {
            true => format!(". {}; ", quoted(&self.path_of(VARIABLES))),
            false => String::new(),
        }
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

impl Files {
    /// Takes over the variables that the last command saved, and returns its working directory. Returns `None` if the command has saved
    /// nothing.
    fn take_over(&self) -> io::Result<Option<PathBuf>> {
        let Some(mut directory) = self.read(NEXT_DIRECTORY)? else { return Ok(None) };
        unlinkat(&self.0, NEXT_DIRECTORY, AtFlags::empty())?;
        match renameat(&self.0, NEXT_VARIABLES, &self.0, VARIABLES) {
            Err(Errno::NOENT) => return Ok(None),
            renamed => renamed?,
        }
        directory.pop_if(|last| *last == b'\n');
        Ok(Some(OsString::from_vec(directory).into()))
    }

    /// Reads a file of the folder. Returns `None` if there is none, and for what a command has put in its place: a link, a pipe, a
    /// folder or a file that is too large.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Ok(file) = self.0.file(Path::new(name)) else { return Ok(None) };
        let mut content = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= MAX_BYTES).then_some(content))
    }

    /// Gives a file a second name, in place of another file. Opens neither.
    fn link(&self, file: &str, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => return Err(error.into()),
            _ => {}
        }
        match linkat(&self.0, file, &self.0, name, AtFlags::empty()) {
            // A command has deleted it, and the next one fails.
            Err(Errno::NOENT) => Ok(()),
            linked => Ok(linked?),
        }
    }
}

/// Quotes a text as one word of the shell's language.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    /// While the only thread for blocking work is taken, the files are not touched, and the task is not held up.
    #[test]
    fn files_that_commands_write_are_read_off_the_async_task() {
        let scratch = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let mut state =
            ShellState::new((Shell::Sh, Version::V0_2), Path::new("/"), BTreeMap::new(), scratch.path()).unwrap();
        for (name, content) in [(NEXT_DIRECTORY, "/tmp\n"), (NEXT_VARIABLES, ""), (VALUES, "A=1\0")] {
            fs::write(scratch.path().join("state").join(name), content).unwrap();
        }
        let (release, released) = mpsc::channel();
        runtime.block_on(async {
            let taken = spawn_blocking(move || released.recv().unwrap());
            {
                let mut values = pin!(state.take_values());
                assert!(poll_fn(|context| Poll::Ready(values.as_mut().poll(context).is_pending())).await);
            }
            let mut took_over = pin!(state.take_over());
            assert!(poll_fn(|context| Poll::Ready(took_over.as_mut().poll(context).is_pending())).await);
            assert!(scratch.path().join("state").join(NEXT_DIRECTORY).exists());
            release.send(()).unwrap();
            taken.await.unwrap();
            took_over.await.unwrap();
            assert!(!scratch.path().join("state").join(NEXT_DIRECTORY).exists());
        });
        assert_eq!(state.directory, Path::new("/tmp"));
    }
}
