//! Chunks whose numbers somebody else has given: those of a build that another service runs.

use object_store::ObjectStoreExt;

use super::line::LogLine;
use super::reader::chunk_name;
use crate::store::{Archive, Result, key};

impl Archive {
    /// Returns the number of the last line of a log, or 0 if it has none.
    pub async fn last_log_number(&self, prefix: &str) -> Result<u64> {
        let chunks = self.chunks(&key(prefix, "log")?, 0).await?;
        Ok(chunks.last().and_then(|chunk| chunk.location.filename()?.parse().ok()).unwrap_or(0))
    }

    /// Stores consecutive lines as a chunk. Storing the same lines again changes nothing.
    pub async fn store_chunk(&self, prefix: &str, lines: &[LogLine]) -> Result<()> {
        let Some(last) = lines.last() else { return Ok(()) };
        let mut chunk = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut chunk, line)?;
            chunk.push(b'\n');
        }
        let key = key(prefix, "log")?.join(chunk_name(last.number));
        self.store.put(&key, chunk.into()).await?;
        Ok(())
    }

    /// Removes the chunks that end with a line after `after`, and at the latest with line `to`.
    pub async fn remove_chunks(&self, prefix: &str, after: u64, to: u64) -> Result<()> {
        let last = chunk_name(to);
        let chunks = self.chunks(&key(prefix, "log")?, after).await?;
        for chunk in chunks.iter().filter(|chunk| chunk.location.filename() <= Some(last.as_str())) {
            match self.store.delete(&chunk.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
