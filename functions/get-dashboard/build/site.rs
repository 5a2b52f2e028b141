//! The files of the site while it is made, and the table that the library includes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest, Sha256};

use crate::Result;

/// The number of hexadecimal digits of a hash in a name.
const DIGITS: usize = 16;

/// The contents by the paths of their URLs.
#[derive(Default)]
pub(crate) struct Site(BTreeMap<String, String>);

impl Site {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str, content: String) {
        self.0.insert(path.to_owned(), content);
    }

    /// Adds a file whose name has the hash of its content. Returns its path.
    pub(crate) fn add_asset(&mut self, stem: &str, extension: &str, content: String) -> String {
        let path = format!("/assets/{stem}.{}.{extension}", hash(&content));
        self.add(&path, content);
        path
    }

    /// Writes the compressed files, and `files.rs` with a `File` for each.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut table = "&[\n".to_owned();
        for (number, (path, content)) in self.0.iter().enumerate() {
            let compressed = folder.join(format!("{number}.gz"));
            fs::write(&compressed, gzip(path, content)?)?;
            writeln!(
                table,
                "    File {{ path: {path:?}, content_type: {:?}, etag: {:?}, gzip: include_bytes!({compressed:?}) }},",
                content_type(path)?,
                format!("\"{}\"", hash(content)),
            )?;
        }
        table.push(']');
        fs::write(folder.join("files.rs"), table)?;
        Ok(())
    }
}

/// Compresses a file. Assets, which every visit of the dashboard needs, are worth the slowest level.
fn gzip(path: &str, content: &str) -> Result<Vec<u8>> {
    let level = if path.starts_with("/assets/") { CompressionLvl::best() } else { CompressionLvl::default() };
    let mut compressor = Compressor::new(level);
    let mut compressed = vec![0; compressor.gzip_compress_bound(content.len())];
    let size = compressor.gzip_compress(content.as_bytes(), &mut compressed)?;
    compressed.truncate(size);
    Ok(compressed)
}

fn hash(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().take(DIGITS / 2).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the media type of a file. A path without an extension is a page.
fn content_type(path: &str) -> Result<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    Ok(match extension {
        None => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("md") => "text/markdown; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        Some(other) => return Err(format!("{path}: site.rs has no media type for .{other}").into()),
    })
}
