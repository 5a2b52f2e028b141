//! Caches of builds in the archive.

use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::store::{Archive, Error, Result, key};

const CACHE: &str = "cache.zip";
/// The size of one read, in bytes. A cache can be larger than a function's memory.
const READ_BYTES: u64 = 16 << 20;

impl Archive {
    /// Stores the zip of a cache and returns its size in bytes. Stores nothing if reading `content` fails.
    pub async fn put_cache<R>(&self, prefix: &str, content: &mut R) -> Result<u64>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        self.put(key(prefix, CACHE)?, content).await
    }

    /// Reads the zip of a cache, which has this size, into `content`. Returns `false` if there is none.
    pub async fn get_cache<W>(&self, prefix: &str, bytes: u64, content: &mut W) -> Result<bool>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let key = key(prefix, CACHE)?;
        let mut start = 0;
        while start < bytes {
            let end = bytes.min(start + READ_BYTES);
            let part = match self.store.get_range(&key, start..end).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                part => part?,
            };
            content.write_all(&part).await.map_err(Error::Artifact)?;
            start = end;
        }
        content.flush().await.map_err(Error::Artifact)?;
        Ok(true)
    }

    /// Deletes all objects below the prefix of a cache, or of a folder of CodeBuild's caches.
    pub async fn delete_caches_below(&self, prefix: &str) -> Result<()> {
        let folder = Path::parse(prefix).map_err(|_| Error::Path(prefix.to_owned()))?;
        let keys = self.store.list(Some(&folder)).map_ok(|object| object.location).boxed();
        self.store.delete_stream(keys).try_for_each(async |_| Ok(())).await?;
        Ok(())
    }

    /// Deletes the zip of a cache, if there is one.
    pub async fn delete_cache(&self, prefix: &str) -> Result<()> {
        let key: Path = key(prefix, CACHE)?;
        match self.store.delete(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => Ok(deleted?),
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[tokio::test]
    async fn a_cache_is_stored_read_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = Archive::folder(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        let large: Vec<u8> = (0..(READ_BYTES as usize * 2 + 5)).map(|n| n as u8).collect();
        for archive in [Archive::in_memory(), on_disk] {
            let mut read = Vec::new();
            assert!(!archive.get_cache("a/b", 10, &mut read).await.unwrap());
            assert_eq!(archive.put_cache("a/b", &mut &large[..]).await.unwrap(), large.len() as u64);
            assert!(archive.get_cache("a/b", large.len() as u64, &mut read).await.unwrap());
            assert!(read == large, "{} bytes", read.len());
            assert!(!archive.get_cache("a/c", 10, &mut read).await.unwrap());
            for _ in 0..2 {
                archive.delete_cache("a/b").await.unwrap();
            }
            assert!(!archive.get_cache("a/b", 10, &mut read).await.unwrap());

            for prefix in ["a/b", "a/b/files/x", "a/bc"] {
                archive.put_cache(prefix, &mut &b"1"[..]).await.unwrap();
            }
            for _ in 0..2 {
                archive.delete_caches_below("a/b").await.unwrap();
            }
            for (prefix, is_kept) in [("a/b", false), ("a/b/files/x", false), ("a/bc", true)] {
                assert_eq!(archive.get_cache(prefix, 1, &mut read).await.unwrap(), is_kept, "{prefix}");
            }
        }
    }
}
