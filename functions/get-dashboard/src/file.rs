//! The files of the site, which the build script embeds.

use std::io::Read;

use flate2::read::GzDecoder;

/// The path of the page for browsers at a path that does not exist. Requests can't name it.
pub(crate) const NOT_FOUND: &str = "404";

/// A file of the site.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// The path of its URL.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The hash of its content, in quotes.
    pub etag: &'static str,
    /// The content, compressed by gzip.
    pub gzip: &'static [u8],
    /// The content, compressed by brotli. Only assets are, which every visit of the dashboard needs.
    pub brotli: Option<&'static [u8]>,
}

/// All files, in the order of their paths.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Returns all files, in the order of their paths.
pub fn files() -> &'static [File] {
    FILES
}

/// Returns the file at a path.
pub(crate) fn find(path: &str) -> Option<&'static File> {
    FILES.binary_search_by_key(&path, |file| file.path).ok().map(|at| &FILES[at])
}

impl File {
    /// Returns the content as it is for a client that takes no compressed one.
    ///
    /// # Errors
    /// Fails if the content can't be decompressed, which no file that the build script writes does.
    pub fn content(&self) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Returns whether the name changes with the content.
    pub(crate) fn is_immutable(&self) -> bool {
        self.path.starts_with("/assets/")
    }
}
