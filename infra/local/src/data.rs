//! The data folder of a stack.

use std::fs::TryLockError;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use tempfile::NamedTempFile;

const LOCK: &str = "lock";
const LOG: &str = "log.jsonl";

/// A data folder that no other stack uses while the value exists.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: fs::File,
}

/// The reason why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum DataFolderError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the stack of process {process} uses the data folder {}; stop it, or choose another folder with --data", .folder.display())]
    InUse { folder: PathBuf, process: String },
}

impl DataFolder {
    /// Creates the folder if there is none, and locks it until this process ends or the value is dropped.
    ///
    /// # Errors
    /// Fails if another stack uses the folder, or the folder can't be written.
    pub fn lock(path: &Path) -> Result<Self, DataFolderError> {
        fs::create_dir_all(path)?;
        let folder = fs::canonicalize(path)?;
        let file = folder.join(LOCK);
        let mut lock = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                lock.read_to_string(&mut process)?;
                return Err(DataFolderError::InUse { folder, process: process.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(io::Error::new(error.kind(), format!("can't lock {}: {error}", file.display())).into());
            }
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { path: folder, _lock: lock })
    }

    /// Returns the absolute path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the functions' log.
    pub fn log_file(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Opens the functions' log for new lines.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub fn open_log(&self) -> io::Result<fs::File> {
        fs::OpenOptions::new().create(true).append(true).open(self.log_file())
    }

    /// Removes only a stack's files, because the user chose the folder.
    ///
    /// # Errors
    /// Fails if a file can't be removed.
    pub fn erase(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Some("archive") => fs::remove_dir_all(entry.path())?,
                Some(
                    "demo-hooks.json" | "demo-reviewer.json" | "demo-tokens.json" | "git-host-password" | "issuer.json"
                    | LOG | "variables.key",
                ) => fs::remove_file(entry.path())?,
                Some(name) if name.starts_with("dynamodb.sqlite") => fs::remove_file(entry.path())?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the contents of a file in the data folder. Writes the file first if there is none, so that only the user may
/// read it.
///
/// # Errors
/// Fails if the file can't be read or written, or its contents can't be made.
pub(crate) fn ensure_private(path: &Path, make: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let contents = make()?;
            // The file gets its name when it is complete. It is readable by the user only from the start.
            let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
            file.write_all(&contents)?;
            file.persist(path).map_err(|failed| failed.error)?;
            Ok(contents)
        }
        read => read,
    }
}
