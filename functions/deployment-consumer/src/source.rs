//! The source of a deployment as one zip: the input of CodeBuild, and of a rollback without the git host.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use archive::Archive;
use tokio::task::spawn_blocking;
use walkdir::WalkDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::retry::Retry;

/// The fastest level. The zip is stored once and read once or twice.
const COMPRESSION_LEVEL: i64 = 1;

/// Stores `folder` as a zip, which is created at the path `file` and deleted afterwards.
pub(crate) async fn keep(archive: &Archive, prefix: &str, folder: &Path, file: &Path) -> Result<(), Retry> {
    let failed = |error: io::Error| Retry::Infrastructure("the source can't be zipped", error.into());
    let (from, to): (PathBuf, PathBuf) = (folder.to_owned(), file.to_owned());
    let zipped = spawn_blocking(move || zip(&from, &to)).await;
    zipped.map_err(|panicked| failed(io::Error::other(panicked)))?.map_err(failed)?;
    let mut content = tokio::fs::File::open(file).await.map_err(failed)?;
    archive.put_source(prefix, &mut content).await?;
    // The zip is deleted because the build needs the disk space.
    fs::remove_file(file).map_err(failed)
}

/// Unpacks the stored source into `folder`, by way of a zip at the path `file`. Returns `false` if none is stored.
pub(crate) async fn restore(archive: &Archive, prefix: &str, folder: &Path, file: &Path) -> Result<bool, Retry> {
    let failed = |error: io::Error| Retry::Infrastructure("the source can't be unpacked", error.into());
    let mut content = tokio::fs::File::create(file).await.map_err(failed)?;
    if !archive.get_source(prefix, &mut content).await? {
        return Ok(false);
    }
    let (from, to): (PathBuf, PathBuf) = (file.to_owned(), folder.to_owned());
    let unpacked = spawn_blocking(move || ZipArchive::new(File::open(&from)?)?.extract(&to)).await;
    unpacked.map_err(|panicked| failed(io::Error::other(panicked)))?.map_err(|error| failed(error.into()))?;
    fs::remove_file(file).map_err(failed)?;
    Ok(true)
}

/// Writes a reproducible zip: all file times are the format's zero.
fn zip(folder: &Path, into: &Path) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(File::create(into)?));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(COMPRESSION_LEVEL));
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let name = entry.path().strip_prefix(folder).expect("a walk stays in its folder").to_string_lossy();
        if entry.file_type().is_dir() {
            zip.add_directory(name, options)?;
        } else if entry.file_type().is_symlink() {
            zip.add_symlink(name, fs::read_link(entry.path())?.to_string_lossy(), options)?;
        } else {
            let mode = entry.metadata()?.permissions().mode();
            zip.start_file(name, options.unix_permissions(mode))?;
            io::copy(&mut File::open(entry.path())?, &mut zip)?;
        }
    }
    zip.finish()?.flush()
}
