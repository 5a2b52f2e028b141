//! Downloads of artifacts. A bucket sends a file itself, to whoever has a signed URL. A folder is read by the function.

use std::error::Error as _;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use object_store::ObjectStoreExt;
use object_store::signer::SignedUrlOptions;
use url::Url;

use crate::artifact::{Artifact, FOLDER, ZIPS};
use crate::store::{Archive, Error, Place, Result, key};

/// The maximum size of a key in a bucket, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 1024;

/// The headers of a response with an artifact.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// The value of `Content-Type`.
    pub content_type: &'a str,
    /// The value of `Content-Disposition`.
    pub disposition: &'a str,
}

impl Archive {
    /// Returns the artifact `path` of `prefix`, or `None` if there is none, or if nothing can have such a path.
    pub async fn artifact(&self, prefix: &str, path: &str) -> Result<Option<Artifact>> {
        self.find(prefix, FOLDER, path).await
    }

    /// Returns the zip `name` of artifacts of `prefix`, or `None` if there is none.
    pub async fn zip(&self, prefix: &str, name: &str) -> Result<Option<Artifact>> {
        self.find(prefix, ZIPS, name).await
    }

    pub(crate) async fn find(&self, prefix: &str, folder: &str, path: &str) -> Result<Option<Artifact>> {
        let parent = key(prefix, folder)?;
        let Ok(place) = key(prefix, &format!("{folder}/{path}")) else { return Ok(None) };
        if place.as_ref().len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        match self.store.head(&place).await {
            Ok(object) => Ok(Some(Artifact::new(&parent, object))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a part of an artifact.
    pub async fn read(&self, artifact: &Artifact, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(self.store.get_range(&artifact.key, range).await?)
    }

    /// Returns the file of an artifact, unless the archive is a bucket.
    pub fn file(&self, artifact: &Artifact) -> Result<Option<PathBuf>> {
        match &self.place {
            Place::Folder(folder) => Ok(Some(folder.path_to_filesystem(&artifact.key)?)),
            _ => Ok(None),
        }
    }

    /// Returns a URL at which the bucket sends an artifact for a while. Returns `None` if the archive is a folder.
    pub async fn sign(
        &self,
        artifact: &Artifact,
        method: Method,
        download: Download<'_>,
        expires_in: Duration,
    ) -> Result<Option<Url>> {
        let Place::Bucket { signer, .. } = &self.place else { return Ok(None) };
        let options = SignedUrlOptions::new().with_query([
            ("response-content-type", download.content_type),
            ("response-content-disposition", download.disposition),
        ]);
        Ok(Some(signer.signed_url_opts(method, &artifact.key, expires_in, &options).await?))
    }
}

/// Returns whether nothing has the path. A folder reports a path through a file, and a name that is too long, as other errors. S3
/// answers 403 to a role that may read an object but may not list the bucket.
fn is_missing(error: &object_store::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let missing = [io::ErrorKind::NotADirectory, io::ErrorKind::InvalidFilename, io::ErrorKind::IsADirectory];
    matches!(error, object_store::Error::NotFound { .. } | object_store::Error::PermissionDenied { .. })
        || kinds.into_iter().any(|kind| missing.contains(&kind))
}

impl From<object_store::path::Error> for Error {
    fn from(error: object_store::path::Error) -> Self {
        Self::Path(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_artifact_is_found_by_its_exact_path_and_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        for archive in [Archive::in_memory(), on_disk] {
            archive.put_artifact("d1", "dist/a 100% ü.txt", &mut &b"0123456789"[..]).await.unwrap();
            archive.put_artifact("d1", "empty", &mut &b""[..]).await.unwrap();
            let found = archive.artifact("d1", "dist/a 100% ü.txt").await.unwrap().unwrap();
            assert_eq!((found.path.as_str(), found.size), ("dist/a 100% ü.txt", 10));
            assert!(found.tag.is_some());
            assert_eq!(archive.read(&found, 2..5).await.unwrap(), "234");
            let empty = archive.artifact("d1", "empty").await.unwrap().unwrap();
            assert_eq!(archive.read(&empty, 0..0).await.unwrap(), "");
            let long = "a/".repeat(600) + "x";
            for path in [
                "dist",
                "dist/",
                "/dist/a",
                "",
                "..",
                "../source.zip",
                "dist/../empty",
                "./empty",
                "empty/x",
                "no",
                "a\0b",
            ]
            .into_iter()
            .chain([long.as_str(), &"n".repeat(300)])
            {
                assert_eq!(archive.artifact("d1", path).await.unwrap(), None, "{path:?}");
            }
        }
    }
}
