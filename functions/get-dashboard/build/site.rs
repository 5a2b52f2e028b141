//! The files of the site while it is made, and the table that the library includes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
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
            let (gzipped, brotlied) = (folder.join(format!("{number}.gz")), folder.join(format!("{number}.br")));
            fs::write(&gzipped, gzip(content)?)?;
            let brotli = match path.starts_with("/assets/") {
                true => {
                    fs::write(&brotlied, brotli(content)?)?;
                    format!("Some(include_bytes!({brotlied:?}))")
                }
                false => "None".to_owned(),
            };
            writeln!(
                table,
                "    File {{ path: {path:?}, content_type: {:?}, etag: {:?}, gzip: include_bytes!({gzipped:?}), brotli: {brotli} }},",
                content_type(path)?,
                format!("\"{}\"", hash(content)),
            )?;
        }
        table.push(']');
        fs::write(folder.join("files.rs"), table)?;
        Ok(())
    }
}

fn gzip(content: &str) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Compresses an asset of the dashboard as small as it gets.
fn brotli(content: &str) -> Result<Vec<u8>> {
    let (best, largest_window) = (11, 22);
    let mut encoder = CompressorWriter::new(Vec::new(), content.len(), best, largest_window);
    encoder.write_all(content.as_bytes())?;
    Ok(encoder.into_inner())
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
