//! The state that one command's shell passes to the next one's, and to the reader of variables after the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::beneath;
use crate::buildspec::{Shell, Version};

/// The names of files that this process reads. Commands can write into their folder, and put something else in their place.
const VALUES: &str = "values";
const NEXT_DIRECTORY: &str = "next-directory";
/// The maximum size of these files, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The working directory and the variables, passed from shell to shell in files.
pub(super) struct ShellState {
    pub directory: PathBuf,
    /// Empty once the variables are read from a file, so that an unset variable stays unset.
    pub environment: BTreeMap<OsString, OsString>,
    folder: String,
    shell: Shell,
    version: Version,
}

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
        let folder = folder.into_os_string().into_string().map_err(|_| io::Error::other("its path is not UTF-8"))?;
        Ok(Self { directory: directory.to_owned(), environment, folder, shell, version })
    }

    /// Returns a script that restores the state, runs the command, and saves the state. The command follows a line end,
    /// so that the shell has read everything else before it finds a syntax error in the command.
    pub(super) fn script(&self, command: &str, succeeding: bool) -> String {
        let succeeding = u8::from(succeeding);
        if self.version == Version::V0_1 {
            return format!("export CODEBUILD_BUILD_SUCCEEDING={succeeding}\n{command}\n");
        }
        let restore = self.restore();
        let next_variables = quoted(&self.next_variables());
        let functions = match self.shell {
            Shell::Sh => String::new(),
            Shell::Bash => format!(" && export -f -p >>{next_variables}"),
        };
        // The directory comes last: its file proves that the variables are complete.
        let next_directory = quoted(&self.next_directory());
        let write = quoted(&format!("export -p >|{next_variables}{functions} && pwd >|{next_directory}"));
        // `set -a` carries over variables that are not exported, as a single shell would.
        format!("{restore}export CODEBUILD_BUILD_SUCCEEDING={succeeding}; trap {write} EXIT; set -a\n{command}\n")
    }

    /// Returns a script that writes the values of those variables that are set into the file of [`Self::take_values`].
    pub(super) fn values_script(&self, names: &BTreeSet<&str>) -> String {
        let write = |name: &&str| format!("if [ \"${{{name}+x}}\" ]; then printf '%s\\0' \"{name}=${name}\"; fi\n");
        let writes: String = names.iter().map(write).collect();
        format!("{}exec >|{}\n{writes}", self.restore(), quoted(&self.values()))
    }

    /// Returns the values that the script has written.
    pub(super) fn take_values(&self) -> io::Result<BTreeMap<String, String>> {
        let written = self.read(VALUES)?.unwrap_or_default();
        let values = written.split(|byte| *byte == 0).filter_map(|pair| {
            let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Ok(values.collect())
    }

    /// Takes over the state that the last command saved. A command that was killed saves nothing and leaves the state
    /// unchanged.
    pub(super) fn take_over(&mut self) -> io::Result<()> {
        let Some(mut directory) = self.read(NEXT_DIRECTORY)? else { return Ok(()) };
        fs::remove_file(self.next_directory())?;
        match fs::rename(self.next_variables(), self.variables()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        directory.pop_if(|last| *last == b'\n');
        self.directory = OsString::from_vec(directory).into();
        self.environment.clear();
        Ok(())
    }

    /// Reads a file of the folder. Returns `None` if there is none, and for what a command has put in its place: a link, a pipe, a
    /// folder or a file that is too large.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Ok(file) = beneath::open(Path::new(&self.folder), Path::new(name)) else { return Ok(None) };
        let mut content = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= MAX_BYTES).then_some(content))
    }

    /// Keeps the state. A later call keeps another one in its place.
    pub(super) fn keep(&self) -> io::Result<Kept> {
        if self.environment.is_empty() {
            link(&self.variables(), &self.kept_variables())?;
        }
        Ok(Kept { directory: self.directory.clone(), environment: self.environment.clone() })
    }

    /// Takes over the state that was kept last.
    pub(super) fn go_back(&mut self, kept: &Kept) -> io::Result<()> {
        if kept.environment.is_empty() {
            link(&self.kept_variables(), &self.variables())?;
        }
        self.directory.clone_from(&kept.directory);
        self.environment.clone_from(&kept.environment);
        Ok(())
    }

    /// Returns the start of a script, which restores the variables unless the environment has them.
    fn restore(&self) -> String {
        match self.environment.is_empty() {
            true => format!(". {}; ", quoted(&self.variables())),
            false => String::new(),
        }
    }

    fn values(&self) -> String {
        format!("{}/{VALUES}", self.folder)
    }

    fn variables(&self) -> String {
        format!("{}/variables", self.folder)
    }

    fn kept_variables(&self) -> String {
        format!("{}/kept-variables", self.folder)
    }

    fn next_variables(&self) -> String {
        format!("{}/next-variables", self.folder)
    }

    fn next_directory(&self) -> String {
        format!("{}/{NEXT_DIRECTORY}", self.folder)
    }
}

/// Gives a file a second name, in place of another file. Opens neither.
fn link(file: &str, name: &str) -> io::Result<()> {
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::hard_link(file, name) {
        // A command has deleted it, and the next one fails.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        linked => linked,
    }
}

/// Quotes a text as one word of the shell's language.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
