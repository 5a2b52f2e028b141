//! The text of a log as one file.

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use shared::capability::conceal;

use super::reader::cut;
use crate::artifact::Artifact;
use crate::store::{Archive, Result, key};

/// The folder of the files. Builds can't write into it.
const FOLDER: &str = "text";
/// The number of chunks that are read at once.
const AT_ONCE: usize = 16;

impl Archive {
    /// Returns the file with the texts of a log's lines, which the first call stores. No more lines may follow, and a line says how many
    /// are left out.
    ///
    /// Costs one listing of the chunks and one read of the file's metadata. The first call also reads all chunks, and holds the text in
    /// memory.
    pub async fn log_text(&self, prefix: &str) -> Result<Artifact> {
        let chunks = self.chunks(&key(prefix, "log")?, 0).await?;
        let name = name_of(&chunks);
        if let Some(file) = self.find(prefix, FOLDER, &name).await? {
            return Ok(file);
        }
        let text = self.text_of(chunks).await?;
        self.put(key(prefix, &format!("{FOLDER}/{name}"))?, &mut text.as_bytes()).await?;
        let stored = self.find(prefix, FOLDER, &name).await?;
        stored.ok_or_else(|| object_store::Error::NotFound { path: name, source: "it was stored".into() }.into())
    }

    async fn text_of(&self, chunks: Vec<ObjectMeta>) -> Result<String> {
        // Borrowed chunks would make a future that is not known to be `Send`.
        let reads = chunks.into_iter().map(|chunk| {
            let archive = self.clone();
            async move { archive.read_chunk(&chunk.location).await }
        });
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        let (mut text, mut last) = (String::new(), 0);
        let mut push = |line: &str| {
            text.push_str(&conceal(line));
            text.push('\n');
        };
        while let Some(lines) = reads.try_next().await? {
            // A chunk may repeat lines of the one before.
            for line in lines {
                if line.number > last + 1 {
                    push(&cut(last + 1, &line).text);
                }
                if line.number > last {
                    push(&line.text);
                    last = line.number;
                }
            }
        }
        Ok(text)
    }
}

/// Returns a name that another set of chunks has not: lines may come later than they should.
fn name_of(chunks: &[ObjectMeta]) -> String {
    let last = chunks.last().and_then(|chunk| chunk.location.filename()).unwrap_or("0");
    format!("{}-{last}.txt", chunks.len())
}
