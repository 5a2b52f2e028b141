//! Artifacts and sources in the archive.

use std::ffi::OsStr;

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, buffered::BufWriter, path::Path};
use shared::clock::Timestamp;
use shared::model::Deployment;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::download::MAX_KEY_BYTES;
use crate::store::{Archive, Error, Place, Result, key};

pub(crate) const FOLDER: &str = "artifacts";
const SOURCE: &str = "source.zip";
/// The bytes that the store of a folder adds to the name of a file while it writes the file.
const STAGED: usize = "#1".len();
/// The maximum sizes of a name and of a path in Linux, in bytes.
const MAX_NAME_BYTES: usize = 255;
const MAX_PATH_BYTES: usize = 4095;
/// The folder of zips. Builds can't write into it.
pub(crate) const ZIPS: &str = "zips";

/// A file that a build has produced, or a zip of such files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Artifact {
    /// The relative path, separated by slashes.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The time at which the file was stored.
    pub stored_at: Timestamp,
    /// The store's tag of the content, without quotes.
    pub tag: Option<String>,
    pub(crate) key: Path,
}

impl Artifact {
    /// Returns the media type that the path's extension stands for.
    pub fn content_type(&self) -> &'static str {
        mime_guess::from_path(&self.path).first_raw().unwrap_or("application/octet-stream")
    }

    pub(crate) fn new(folder: &Path, object: ObjectMeta) -> Self {
        Self {
            path: object.location.as_ref()[folder.as_ref().len() + 1..].to_owned(),
            size: object.size,
            stored_at: Timestamp::from_millis(object.last_modified.timestamp_millis()),
            tag: object.e_tag.map(|tag| tag.trim_matches('"').to_owned()),
            key: object.location,
        }
    }
}

impl Archive {
    /// Stores `content` as the artifact `path` of `prefix` and returns its size in bytes. Replaces an earlier artifact.
    /// Uses bounded memory. Stores nothing if reading `content` fails.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Path`] unless `path` is relative and consists of plain names.
    pub async fn put_artifact<R>(&self, prefix: &str, path: &str, content: &mut R) -> Result<u64>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.put(key(prefix, &format!("{FOLDER}/{path}"))?, content).await
    }

    /// Returns the reason why the archive can't keep an artifact at this path, whatever is in it.
    pub fn refuses_artifact(&self, prefix: &str, path: &str) -> Option<&'static str> {
        let Ok(key) = key(prefix, &format!("{FOLDER}/{path}")) else {
            return Some("its path has a name that the archive can't have");
        };
        match &self.place {
            Place::Folder(folder) => {
                let Ok(file) = folder.path_to_filesystem(&key) else {
                    return Some("its name ends with # and a number, which the archive of a local stack can't have");
                };
                let name = file.file_name().map_or(0, OsStr::len);
                let is_too_long = name + STAGED > MAX_NAME_BYTES || file.as_os_str().len() + STAGED > MAX_PATH_BYTES;
                is_too_long.then_some("its name is too long for the archive of a local stack")
            }
            Place::Bucket { .. } => {
                (key.as_ref().len() > MAX_KEY_BYTES).then_some("its path is too long for the archive")
            }
            Place::Memory => None,
        }
    }

    /// Stores a zip of artifacts of `prefix`. Stores nothing if reading `content` fails.
    pub async fn put_zip<R>(&self, prefix: &str, name: &str, content: &mut R) -> Result<u64>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.put(key(prefix, &format!("{ZIPS}/{name}"))?, content).await
    }

    /// Stores the zip of the source under [`source_key`](Self::source_key), and returns its size in bytes. Stores nothing if
    /// reading `content` fails.
    pub async fn put_source<R>(&self, prefix: &str, content: &mut R) -> Result<u64>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.put(key(prefix, SOURCE)?, content).await
    }

    /// Reads the zip of a source into `content`. Returns `false` if there is none.
    pub async fn get_source<W>(&self, prefix: &str, content: &mut W) -> Result<bool>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let found = match self.store.get(&key(prefix, SOURCE)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            found => found?,
        };
        let mut chunks = found.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            content.write_all(&chunk).await.map_err(Error::Artifact)?;
        }
        content.flush().await.map_err(Error::Artifact)?;
        Ok(true)
    }

    /// Returns the key of the source's zip.
    pub fn source_key(prefix: &str) -> String {
        format!("{prefix}/{SOURCE}")
    }

    pub(crate) async fn put<R>(&self, key: Path, content: &mut R) -> Result<u64>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        let mut object = BufWriter::new(self.store.clone(), key);
        match tokio::io::copy(content, &mut object).await {
            Ok(size) => {
                object.shutdown().await.map_err(Error::of_copy)?;
                Ok(size)
            }
            Err(error) => {
                object.abort().await?;
                Err(Error::of_copy(error))
            }
        }
    }

    /// Lists the artifacts that a deployment keeps, sorted by path.
    pub async fn kept_artifacts(&self, deployment: &Deployment) -> Result<Vec<Artifact>> {
        if deployment.artifacts_refused {
            return Ok(Vec::new());
        }
        let mut artifacts = self.list_artifacts(&deployment.artifacts_prefix()).await?;
        artifacts.retain(|artifact| deployment.can_have_stored(artifact.stored_at));
        Ok(artifacts)
    }

    /// Lists the artifacts of `prefix`, sorted by path.
    pub async fn list_artifacts(&self, prefix: &str) -> Result<Vec<Artifact>> {
        let folder = key(prefix, FOLDER)?;
        let mut artifacts: Vec<Artifact> =
            self.store.list(Some(&folder)).map_ok(|object| Artifact::new(&folder, object)).try_collect().await?;
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(artifacts)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::{AsyncReadExt, ReadBuf};
    use url::Url;

    use super::*;

    #[tokio::test]
    async fn artifacts_are_listed_by_path_with_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        for archive in [Archive::in_memory(), on_disk] {
            assert_eq!(archive.list_artifacts("d1").await.unwrap(), []);

            let large = vec![7; 11 * 1024 * 1024];
            assert_eq!(archive.put_artifact("d1", "dist/large.bin", &mut &large[..]).await.unwrap(), 11_534_336);
            archive.put_artifact("d1", "app 100%.txt", &mut &b"first"[..]).await.unwrap();
            archive.put_artifact("d1", "app 100%.txt", &mut &b"second"[..]).await.unwrap();
            archive.put_artifact("d10", "other.txt", &mut &b"x"[..]).await.unwrap();

            let listed = archive.list_artifacts("d1").await.unwrap();
            let listed: Vec<_> = listed.iter().map(|artifact| (artifact.path.as_str(), artifact.size)).collect();
            assert_eq!(listed, [("app 100%.txt", 6), ("dist/large.bin", 11_534_336)]);
        }
        assert_eq!(std::fs::read(folder.path().join("d1/artifacts/app 100%.txt")).unwrap(), b"second");
    }

    #[tokio::test]
    async fn an_artifact_cannot_leave_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::folder(Url::from_file_path(folder.path().join("archive")).unwrap().as_str()).unwrap();
        for path in ["../../../evil", "/evil", "a/../../evil", "", "a//b", "."] {
            let refused = archive.put_artifact("d1", path, &mut &b"x"[..]).await;
            assert!(matches!(refused, Err(Error::Path(_))), "{path:?}");
        }
        assert!(!folder.path().join("evil").exists());
        assert_eq!(archive.list_artifacts("d1").await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_a_folder_refuses_could_not_be_stored_and_nothing_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        for (path, is_refused) in [
            ("x#1", true),
            ("#12", true),
            ("dist/x#1", true),
            ("dist/../x", true),
            (&"n".repeat(255), true),
            (&"n".repeat(254), true),
            (&"n".repeat(253), false),
            (&format!("{}n", "n/".repeat(2100)), true),
            ("x#1/y", false),
            ("x#", false),
            ("#x1", false),
            ("C#2.0", false),
            ("a b%20~`{}[]^|<>\\\"'?*", false),
        ] {
            assert_eq!(archive.refuses_artifact("d1", path).is_some(), is_refused, "{path}");
            let stored = archive.put_artifact("d1", path, &mut &b"x"[..]).await;
            assert_eq!(stored.is_err(), is_refused, "{path}: {stored:?}");
            if !is_refused {
                assert!(archive.artifact("d1", path).await.unwrap().is_some(), "{path}");
            }
        }
        assert_eq!(archive.list_artifacts("d1").await.unwrap().len(), 6);
    }

    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("torn")))
        }
    }

    #[tokio::test]
    async fn nothing_is_stored_when_reading_breaks_off() {
        let archive = Archive::in_memory();
        for already_read in [10, 11 * 1024 * 1024] {
            let start = vec![1; already_read];
            let torn = archive.put_artifact("d1", "torn.bin", &mut (&start[..]).chain(Broken)).await;
            assert!(matches!(torn, Err(Error::Artifact(_))));
            assert_eq!(archive.list_artifacts("d1").await.unwrap(), []);
        }
    }
}
