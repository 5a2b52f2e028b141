//! Packs files into a zip.
//!
//! One format serves both readers: CodeBuild takes nothing but a zip from S3. The names are the file system's bytes. A name that
//! is UTF-8 says so. Any other has no encoding, so whoever unpacks it gets its bytes. Times are in the format's own field, in UTC,
//! and with the precision of a second in an extended timestamp.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::tz::TimeZone;
use walkdir::WalkDir;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::bounds::Bounds;
use crate::beneath::Folder;

/// The fastest level. The zip is stored once and read once or twice.
const COMPRESSION_LEVEL: i64 = 1;
/// Git's objects are compressed already.
const OBJECTS: &str = ".git/objects";

/// A zip that is being written.
pub(crate) struct Packer {
    zip: ZipWriter<BufWriter<File>>,
    bounds: Bounds,
}

/// The kind, the mode and the time of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    /// With the bits of the kind.
    pub mode: u32,
    /// In seconds since 1970.
    pub modified: i64,
}

pub(super) fn pack(folder: &Path, into: &Path) -> io::Result<()> {
    let mut packer = Packer::new(File::create(into)?, Bounds::none());
    let held = Folder::open(folder)?;
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let relative = entry.path().strip_prefix(folder).expect("a walk stays in its folder");
        let name = relative.as_os_str().as_bytes();
        if entry.file_type().is_dir() {
            packer.folder(name, Attributes::of(&entry.metadata()?))?;
        } else if entry.file_type().is_symlink() {
            let target = fs::read_link(entry.path())?;
            packer.link(name, Attributes::of(&entry.metadata()?), target.as_os_str().as_bytes())?;
        } else if entry.file_type().is_file() {
            let mut content = held.file(relative)?;
            let attributes = Attributes::of(&content.metadata()?);
            let method = match relative.starts_with(OBJECTS) {
                true => CompressionMethod::Stored,
                false => CompressionMethod::Deflated,
            };
            packer.file_by(method, name, attributes, &mut content)?;
        }
    }
    packer.finish()
}

impl Packer {
    pub(crate) fn new(file: File, bounds: Bounds) -> Self {
        Self { zip: ZipWriter::new(BufWriter::new(file)), bounds }
    }

    pub(crate) fn folder(&mut self, name: &[u8], attributes: Attributes) -> io::Result<()> {
        let name = [name, b"/"].concat();
        self.start(&name, attributes, CompressionMethod::Stored)
    }

    pub(crate) fn link(&mut self, name: &[u8], attributes: Attributes, target: &[u8]) -> io::Result<()> {
        self.start(name, attributes, CompressionMethod::Stored)?;
        self.bounds.copy(&mut &*target, &mut self.zip)
    }

    pub(crate) fn file(&mut self, name: &[u8], attributes: Attributes, content: &mut impl Read) -> io::Result<()> {
        self.file_by(CompressionMethod::Deflated, name, attributes, content)
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.zip.finish()?.flush()
    }

    fn file_by(
        &mut self,
        method: CompressionMethod,
        name: &[u8],
        attributes: Attributes,
        content: &mut impl Read,
    ) -> io::Result<()> {
        self.start(name, attributes, method)?;
        self.bounds.copy(content, &mut self.zip)
    }

    fn start(&mut self, name: &[u8], attributes: Attributes, method: CompressionMethod) -> io::Result<()> {
        self.bounds.count()?;
        Ok(self.zip.start_file_with_options(attributes.options(method)?.name(name))?)
    }
}

impl Attributes {
    fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode(), modified: metadata.mtime() }
    }

    fn options(self, method: CompressionMethod) -> io::Result<FullFileOptions<'static, 'static>> {
        let seconds = u32::try_from(self.modified.max(0)).unwrap_or(u32::MAX);
        let level = (method == CompressionMethod::Deflated).then_some(COMPRESSION_LEVEL);
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .compression_level(level)
            .external_attributes(self.mode << 16)
            .last_modified_time(date_time(seconds))
            .with_extended_timestamp(Some(seconds), None, None);
        Ok(options?)
    }
}

/// Returns the time in the format's own field, which begins in 1980 and ends in 2107.
fn date_time(seconds: u32) -> DateTime {
    let time = jiff::Timestamp::from_second(seconds.into()).unwrap_or_default();
    DateTime::try_from(time.to_zoned(TimeZone::UTC).datetime()).unwrap_or_default()
}
