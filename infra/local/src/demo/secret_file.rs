//! A file of secrets in the data folder.

use std::io::{ErrorKind, Write};
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::InitError;

/// The name of a JSON file that only the user can read.
pub(super) struct SecretFile(pub &'static str);

impl SecretFile {
    /// Returns the content of the file, or `None` if there is no file.
    pub(super) fn load<T: DeserializeOwned>(&self, data: &Path) -> Result<Option<T>, InitError> {
        let file = data.join(self.0);
        match fs::read(&file) {
            Ok(json) => {
                let invalid = |error| format!("{} is damaged ({error}); start with --fresh", file.display());
                Ok(Some(serde_json::from_slice(&json).map_err(invalid)?))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the file, or replaces its content.
    pub(super) fn save(&self, data: &Path, content: &impl Serialize) -> Result<(), InitError> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(data.join(self.0))?;
        Ok(file.write_all(&serde_json::to_vec_pretty(content)?)?)
    }
}
