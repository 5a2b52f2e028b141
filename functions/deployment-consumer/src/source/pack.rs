//! Packs a folder into a zip.
//!
//! One format serves both readers: CodeBuild takes nothing but a zip from S3. The names are the file system's bytes. A name that
//! is UTF-8 says so. Any other has no encoding, so whoever unpacks it gets its bytes. Times are in the format's own field, in UTC,
//! and with the precision of a second in an extended timestamp.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::tz::TimeZone;
use walkdir::WalkDir;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::beneath;

/// The fastest level. The zip is stored once and read once or twice.
const COMPRESSION_LEVEL: i64 = 1;
/// Git's objects are compressed already.
const OBJECTS: &str = ".git/objects";

pub(super) fn pack(folder: &Path, into: &Path) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(File::create(into)?));
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let relative = entry.path().strip_prefix(folder).expect("a walk stays in its folder");
        let mut name = relative.as_os_str().as_bytes().to_vec();
        if entry.file_type().is_dir() {
            name.push(b'/');
            zip.start_file_with_options(options(&entry.metadata()?)?.name(&name))?;
        } else if entry.file_type().is_symlink() {
            zip.start_file_with_options(options(&entry.metadata()?)?.name(&name))?;
            zip.write_all(fs::read_link(entry.path())?.as_os_str().as_bytes())?;
        } else if entry.file_type().is_file() {
            let mut content = beneath::open(folder, relative)?;
            let mut options = options(&content.metadata()?)?;
            if !relative.starts_with(OBJECTS) {
                options =
                    options.compression_method(CompressionMethod::Deflated).compression_level(Some(COMPRESSION_LEVEL));
            }
            zip.start_file_with_options(options.name(&name))?;
            io::copy(&mut content, &mut zip)?;
        }
    }
    zip.finish()?.flush()
}

/// Returns the options of an entry with its kind, its mode and its time.
fn options(metadata: &Metadata) -> io::Result<FullFileOptions<'static, 'static>> {
    let seconds = u32::try_from(metadata.mtime().max(0)).unwrap_or(u32::MAX);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .external_attributes(metadata.mode() << 16)
        .last_modified_time(date_time(seconds))
        .with_extended_timestamp(Some(seconds), None, None);
    Ok(options?)
}

/// Returns the time in the format's own field, which begins in 1980 and ends in 2107.
fn date_time(seconds: u32) -> DateTime {
    let time = jiff::Timestamp::from_second(seconds.into()).unwrap_or_default();
    DateTime::try_from(time.to_zoned(TimeZone::UTC).datetime()).unwrap_or_default()
}
