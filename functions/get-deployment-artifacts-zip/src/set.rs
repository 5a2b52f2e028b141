//! The artifacts of a deployment as one zip.

use std::fs::File;
use std::io::{Seek, Write};

use archive::{Archive, Artifact};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use shared::clock::Timestamp;
use shared::hex::hex;
use shared::{Error, ErrorCode, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 256 << 20;
/// A file is read in parts of this size, because a request to the archive holds its whole answer in memory.
const PART_BYTES: usize = 4 << 20;
/// The number of parts that are read at once.
const AT_ONCE: usize = 8;
/// The fastest level. The zip is made while a client waits.
const COMPRESSION_LEVEL: i64 = 1;

/// Artifacts that fit into one zip, at least one.
#[derive(Debug)]
pub(crate) struct ArtifactSet(Vec<Artifact>);

impl ArtifactSet {
    /// # Errors
    /// Fails with `not_found` if there is no artifact, and with `limit_reached` if there are too many.
    pub(crate) fn new(artifacts: Vec<Artifact>) -> Result<Self> {
        if artifacts.is_empty() {
            return Err(Error::new(ErrorCode::NotFound, "The deployment has no artifacts"));
        }
        let bytes: u64 = artifacts.iter().map(|artifact| artifact.size).sum();
        if artifacts.len() > MAX_FILES || bytes > MAX_BYTES {
            let message = format!(
                "The artifacts are {} files of {bytes} bytes, and a zip holds at most {MAX_FILES} files of {MAX_BYTES} bytes; \
                 download them one at a time",
                artifacts.len()
            );
            return Err(Error::new(ErrorCode::LimitReached, message));
        }
        Ok(Self(artifacts))
    }

    /// Returns the name of the zip in the archive. Another set of files, or one of other files, has another name.
    pub(crate) fn file_name(&self) -> String {
        let mut digest = Sha256::new();
        for artifact in &self.0 {
            // Neither a path nor a tag contains a line end.
            let tag = artifact.tag.as_deref().unwrap_or_default();
            digest.update(format!("{}\n{}\n{tag}\n", artifact.path, artifact.size));
        }
        format!("{}.zip", hex(&digest.finalize()[..16]))
    }

    /// Makes the zip, stores it in the archive and returns it.
    pub(crate) async fn store(&self, archive: &Archive, prefix: &str, name: &str) -> Result<Artifact> {
        let making = async {
            let file = self.make(archive).await?;
            archive.put_zip(prefix, name, &mut tokio::fs::File::from_std(file)).await?;
            archive
                .zip(prefix, name)
                .await?
                .ok_or_else(|| Error::internal("the archive does not have a zip that it stored"))
        };
        let late = "The zip could not be made in time; try again, or download the artifacts one at a time";
        downloads::made_in_time(Box::pin(making), late).await
    }

    /// Writes the zip into a file that has no name.
    async fn make(&self, archive: &Archive) -> Result<File> {
        let mut zip = ZipWriter::new(tempfile::tempfile().map_err(Error::internal)?);
        // Borrowed parts would make a future that is not known to be `Send`.
        let mut reads = Vec::new();
        for artifact in &self.0 {
            for start in (0..artifact.size.max(1)).step_by(PART_BYTES) {
                let (archive, artifact) = (archive.clone(), artifact.clone());
                reads.push(async move {
                    let end = artifact.size.min(start + PART_BYTES as u64);
                    let bytes = archive.read(&artifact, start..end).await?;
                    Ok::<_, Error>((artifact, start, bytes))
                });
            }
        }
        let mut parts = stream::iter(reads).buffered(AT_ONCE);
        while let Some((artifact, start, bytes)) = parts.try_next().await? {
            if start == 0 {
                zip.start_file(&artifact.path, options(artifact.stored_at)).map_err(Error::internal)?;
            }
            zip.write_all(&bytes).map_err(Error::internal)?;
        }
        let mut file = zip.finish().map_err(Error::internal)?;
        file.rewind().map_err(Error::internal)?;
        Ok(file)
    }
}

/// Returns the options of an entry with its time. The format's own field begins in 1980 and ends in 2107.
fn options(stored_at: Timestamp) -> SimpleFileOptions {
    let time = jiff::Timestamp::from_millisecond(stored_at.as_millis()).unwrap_or_default();
    let time = DateTime::try_from(time.to_zoned(TimeZone::UTC).datetime()).unwrap_or_default();
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(COMPRESSION_LEVEL))
        .unix_permissions(0o644)
        .last_modified_time(time)
}
