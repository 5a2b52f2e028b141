//! The object store of an archive, and its keys.

use std::sync::Arc;
use std::{fs, io};

use object_store::signer::Signer;
use object_store::{ObjectStore, local::LocalFileSystem, path::Path};
use shared::App;
use shared::settings::{ARCHIVE_URL, MissingSetting};
use url::Url;

use crate::s3;

/// A handle to the object store. Clones share the store.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) place: Place,
}

/// The kind of the object store.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(Arc<LocalFileSystem>),
    Bucket { name: Arc<str>, signer: Arc<dyn Signer> },
    Memory,
}

/// The reasons why the archive fails.
#[allow(missing_docs, reason = "the message of each variant describes it")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    #[error("ARCHIVE_URL is {0:?}, but must be file:///folder, file:folder or s3://bucket")]
    Url(String),
    #[error("the archive's folder can't be opened")]
    Folder(#[source] io::Error),
    #[error("{0:?} is not a relative path of plain names")]
    Path(String),
    #[error("a chunk of the log can't be read")]
    Chunk(#[from] serde_json::Error),
    #[error("reading or writing a file failed")]
    Artifact(#[source] io::Error),
    #[error("the object store failed")]
    Store(#[from] object_store::Error),
}

/// The result of the archive's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns the error of a copy into the store: that of the store, or that of the file.
    pub(crate) fn of_copy(error: io::Error) -> Self {
        error.downcast().map_or_else(Self::Artifact, Self::Store)
    }

    /// Returns whether the operation can succeed later: the store was not reached, was busy or did not answer in time.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::Generic { .. }))
    }

    /// Returns whether the operation failed because of a path that the archive can't have.
    #[must_use]
    pub fn is_about_a_path(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Store(object_store::Error::InvalidPath { .. }))
    }
}

/// Answers a client's request: a store that was busy may answer later.
impl From<Error> for shared::Error {
    fn from(error: Error) -> Self {
        if error.is_passing() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

/// The time for which a request that fails is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// A client waits for the answer.
    Request,
    /// The output of a build would be lost.
    Run,
}

impl Archive {
    /// Opens the archive that `ARCHIVE_URL` names. `s3://bucket` is a bucket. `file:///folder` is a folder, and
    /// `file:folder` is a folder whose path may be relative to the working directory. A missing folder is created. `memory:` is a new
    /// store in memory, for tests whose functions are stepped through.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Url`] for any other URL, and with [`Error::Folder`] or [`Error::Store`] if the store can't be
    /// used.
    pub fn new(app: &App) -> Result<Self> {
        Self::open(app, Patience::Request)
    }

    /// Opens the archive for a runner, which repeats requests that fail for longer.
    ///
    /// # Errors
    ///
    /// Fails as [`Archive::new`] does.
    pub fn of_runner(app: &App) -> Result<Self> {
        Self::open(app, Patience::Run)
    }

    fn open(app: &App, patience: Patience) -> Result<Self> {
        let url = app.settings().require(ARCHIVE_URL)?;
        match url.strip_prefix("s3://") {
            Some(bucket) => {
                let store = Arc::new(s3::open(bucket, app.aws(), patience)?);
                Ok(Self { store: store.clone(), place: Place::Bucket { name: bucket.into(), signer: store } })
            }
            None if url == "memory:" => Ok(Self::in_memory()),
            None => Self::folder(url),
        }
    }

    pub(crate) fn folder(url: &str) -> Result<Self> {
        let unknown = || Error::Url(url.to_owned());
        let folder = match url.strip_prefix("file:") {
            None | Some("" | "//") => return Err(unknown()),
            Some(path) if path.starts_with("//") => {
                Url::parse(url).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(unknown)?
            }
            Some(path) => path.into(),
        };
        fs::create_dir_all(&folder).map_err(Error::Folder)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
        Ok(Self { store: store.clone(), place: Place::Folder(store) })
    }

    /// Returns the bucket, unless the archive is a folder.
    pub fn bucket(&self) -> Option<&str> {
        match &self.place {
            Place::Bucket { name, .. } => Some(name),
            _ => None,
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self { store: Arc::new(object_store::memory::InMemory::new()), place: Place::Memory }
    }
}

/// Returns the key of `relative` under `prefix`. Both must be plain names separated by single slashes, so that no key
/// leaves its prefix and each object has one spelling.
pub(crate) fn key(prefix: &str, relative: &str) -> Result<Path> {
    for path in [prefix, relative] {
        if path.is_empty() || path.starts_with('/') || path.ends_with('/') {
            return Err(Error::Path(path.to_owned()));
        }
    }
    Path::parse(format!("{prefix}/{relative}")).map_err(|_| Error::Path(relative.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_created_and_other_urls_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("with space/archive");
        Archive::folder(Url::from_file_path(&inside).unwrap().as_str()).unwrap();
        assert!(inside.is_dir(), "the folder is created");

        let here = std::env::current_dir().unwrap();
        let folder = tempfile::tempdir_in(&here).unwrap();
        let relative = folder.path().strip_prefix(&here).unwrap().join("50%20/archive");
        Archive::folder(&format!("file:{}", relative.display())).unwrap();
        assert!(relative.is_dir(), "the path is taken as it is");

        for url in
            ["", "file:", "file://", "folder", "/folder", "http://example.com/", "gs://bucket", "file://host/folder"]
        {
            assert!(matches!(Archive::folder(url), Err(Error::Url(named)) if named == url), "{url}");
        }
    }

    #[test]
    fn a_key_stays_under_its_prefix() {
        assert_eq!(key("a/b", "log/1").unwrap().as_ref(), "a/b/log/1");
        for path in ["", "/etc/passwd", "..", "../x", "x/../../y", "./x", "x//y", "x/", "x\0y", "x/."] {
            assert!(matches!(key("a", path), Err(Error::Path(_))), "{path:?} as a path");
            assert!(matches!(key(path, "a"), Err(Error::Path(_))), "{path:?} as a prefix");
        }
    }
}
