//! Writes the files of an index, in several threads.

use std::borrow::Cow;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use gix::ObjectId;
use gix::Repository;
use gix::attrs::search::Outcome;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::State;
use gix::index::entry::Mode;
use gix::objs::{Data, Find, FindExt};
use gix::odb::HandleArc;
use gix::worktree::Stack;
use gix::worktree::stack::state::attributes::Source;

use super::conversion::{ATTRIBUTES, Conversion};
use crate::checkout::{corrupt, local, open};
use crate::error::RemoteError;
use crate::file_time::FileTime;
use crate::lfs::Pointer;

/// The number of files that a thread takes at once. Neighbors share the attributes of their folder.
const CHUNK: usize = 64;
/// More threads wait for the disk.
const MAX_THREADS: usize = 4;

/// The files that were written, and those that are still to be.
#[derive(Default)]
pub(crate) struct Written {
    /// The sizes of files, by their position in the index.
    pub(crate) sizes: Vec<(usize, u64)>,
    pub(crate) lfs: Vec<LfsFile>,
    /// Sentences about files that differ from what their attributes ask for.
    pub(crate) notes: Vec<String>,
}

/// A file that Git LFS keeps. Its content is not in the repository.
#[derive(Clone)]
pub(crate) struct LfsFile {
    /// The position in the index.
    pub(crate) position: usize,
    pub(crate) path: BString,
    pub(crate) is_executable: bool,
    pub(crate) pointer: Pointer,
}

struct Entry<'a> {
    position: usize,
    path: &'a BStr,
    id: ObjectId,
    mode: Mode,
}

/// Writes the index's files and links into the folder `root`, whose folders must exist and hold nothing else. Nothing is written
/// through a link: links come last, and a file that exists is a failure.
pub(crate) fn write(
    repository: &Repository,
    index: &State,
    root: &Path,
    time: FileTime,
    interrupt: &AtomicBool,
) -> Result<Written, RemoteError> {
    let entries = index.entries().iter().enumerate().map(|(position, entry)| {
        let (path, id, mode) = (entry.path(index), entry.id, entry.mode);
        Entry { position, path, id, mode }
    });
    let (links, files): (Vec<_>, Vec<_>) =
        entries.filter(|entry| entry.mode != Mode::COMMIT).partition(|entry| entry.mode == Mode::SYMLINK);
    let attributes = attribute_files(index);
    let objects = repository.objects.clone().into_inner().into_arc()?;
    let git_dir = repository.git_dir();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS).min(files.len() / CHUNK + 1);
    let mut written = Written::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let objects = objects.clone();
                let (files, next, failed, attributes) = (&files, &next, &failed, attributes.as_deref());
                scope.spawn(move || {
                    let attributes = attributes.map(|index| Attributes::of(git_dir, index)).transpose()?;
                    let (buffer, written) = (Vec::new(), Written::default());
                    Writer { root, objects, attributes, time, buffer, written }.run(files, next, failed, interrupt)
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            // An object of the repository may make gix panic.
            let by_worker = worker.join().unwrap_or_else(|_| Err(corrupt("a file of the commit can't be read")))?;
            written.sizes.extend(by_worker.sizes);
            written.lfs.extend(by_worker.lfs);
            written.notes.extend(by_worker.notes);
            Ok::<_, RemoteError>(())
        })
    })?;
    let mut buffer = Vec::new();
    for link in links {
        let target = objects.find_blob(&link.id, &mut buffer).map_err(corrupt)?.data;
        write_link(root, link.path, target, time)?;
        written.sizes.push((link.position, target.len() as u64));
    }
    if interrupt.load(Ordering::Relaxed) { Err(RemoteError::TimedOut) } else { Ok(written) }
}

/// Returns the index for looking up attributes, or `None` if no file has any. Git reads a `.gitattributes` of any mode from its index,
/// and gix only plain files.
fn attribute_files(index: &State) -> Option<Cow<'_, State>> {
    let is_of_attributes = |path: &BStr| path == ".gitattributes" || path.ends_with(b"/.gitattributes");
    let modes = || index.entries().iter().filter(|entry| is_of_attributes(entry.path(index))).map(|entry| entry.mode);
    modes().next()?;
    if modes().all(|mode| mode == Mode::FILE) {
        return Some(Cow::Borrowed(index));
    }
    let mut index = index.clone();
    let (entries, paths) = index.entries_mut_and_pathbacking();
    for entry in entries.iter_mut().filter(|entry| is_of_attributes(entry.path_in(paths))) {
        entry.mode = Mode::FILE;
    }
    Some(Cow::Owned(index))
}

/// The attributes of paths, as one thread looks them up.
struct Attributes {
    stack: Stack,
    outcome: Outcome,
}

impl Attributes {
    /// A thread opens the repository for itself: gix shares attributes within a thread only.
    fn of(git_dir: &Path, index: &State) -> Result<Self, RemoteError> {
        let repository = open(git_dir)?;
        let stack = repository.attributes_only(index, Source::IdMapping).map_err(local)?.detach();
        let outcome = stack.selected_attribute_matches(ATTRIBUTES);
        Ok(Self { stack, outcome })
    }
}

/// The files of attributes as git reads them from its index. There a byte order mark is a part of the first line. gix leaves it
/// out, as git does for files.
struct AttributeFiles<'a>(&'a HandleArc);

impl Find for AttributeFiles<'_> {
    fn try_find<'a>(&self, id: &gix::oid, buffer: &'a mut Vec<u8>) -> gix::Result<Option<Data<'a>>> {
        let mut content = Vec::new();
        let Some(Data { kind, object_hash, data }) = self.0.try_find(id, &mut content)? else { return Ok(None) };
        buffer.clear();
        if data.starts_with(b"\xef\xbb\xbf") {
            buffer.push(b'\n');
        }
        buffer.extend_from_slice(data);
        Ok(Some(Data { kind, object_hash, data: buffer }))
    }
}

struct Writer<'a> {
    root: &'a Path,
    objects: HandleArc,
    attributes: Option<Attributes>,
    time: FileTime,
    buffer: Vec<u8>,
    written: Written,
}

impl Writer<'_> {
    /// Takes chunks of files until none is left.
    fn run(
        mut self,
        files: &[Entry<'_>],
        next: &AtomicUsize,
        failed: &AtomicBool,
        interrupt: &AtomicBool,
    ) -> Result<Written, RemoteError> {
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = files.get(start..).filter(|rest| !rest.is_empty()) else { return Ok(self.written) };
            for file in rest.iter().take(CHUNK) {
                if interrupt.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                    return Ok(self.written);
                }
                self.write(file).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
        }
    }

    fn write(&mut self, file: &Entry<'_>) -> Result<(), RemoteError> {
        let blob = self.objects.find_blob(&file.id, &mut self.buffer).map_err(corrupt)?.data;
        let is_executable = file.mode == Mode::FILE_EXECUTABLE;
        let Some(attributes) = &mut self.attributes else {
            self.written.sizes.push((file.position, write_file(self.root, file.path, is_executable, blob, self.time)?));
            return Ok(());
        };
        let platform = attributes.stack.at_entry(file.path, Some(file.mode), &AttributeFiles(&self.objects))?;
        platform.matching_attributes(&mut attributes.outcome);
        let conversion = Conversion::of(&attributes.outcome);
        if conversion.is_lfs
            && let Some(pointer) = Pointer::parse(blob, file.path)?
        {
            let (position, path) = (file.position, file.path.to_owned());
            self.written.lfs.push(LfsFile { position, path, is_executable, pointer });
            return Ok(());
        }
        let converted = conversion.apply(blob, file.id)?;
        if converted.is_not_encoded {
            let (path, encoding) = (file.path, conversion.encoding());
            self.written.notes.push(format!("{path} is not encoded: it can't be written in {encoding}"));
        }
        let size = write_file(self.root, file.path, is_executable, &converted.content, self.time)?;
        self.written.sizes.push((file.position, size));
        Ok(())
    }
}

fn write_file(
    root: &Path,
    path: &BStr,
    is_executable: bool,
    content: &[u8],
    time: FileTime,
) -> Result<u64, RemoteError> {
    let mut file = create_file(root, path, is_executable)?;
    file.write_all(content)?;
    file.set_times(FileTimes::new().set_modified(time.into()))?;
    Ok(content.len() as u64)
}

/// Creates a file that must not exist. Like git, leaves its mode to the process's mask.
pub(crate) fn create_file(root: &Path, path: &BStr, is_executable: bool) -> Result<File, RemoteError> {
    let mode = if is_executable { 0o777 } else { 0o666 };
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(inside(root, path));
    created.map_err(|error| collision(error, path))
}

fn write_link(root: &Path, path: &BStr, target: &[u8], time: FileTime) -> Result<(), RemoteError> {
    let link = inside(root, path);
    // The system refuses a target with a NUL byte or without a name, and one that is too long.
    symlink(Path::new(std::ffi::OsStr::from_bytes(target)), &link).map_err(|error| collision(error, path))?;
    time.set_on_link(&link)?;
    Ok(())
}

/// Creates the folders of a tree, each after its parent.
pub(crate) fn create_folders(root: &Path, folders: &[BString]) -> Result<(), RemoteError> {
    folders.iter().try_for_each(|folder| {
        fs::create_dir(inside(root, folder.as_bstr())).map_err(|error| collision(error, folder.as_bstr()))
    })
}

/// Returns the place of a path of the tree. Its bytes are the file system's.
pub(crate) fn inside(root: &Path, path: &BStr) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// Returns the failure of a path that the file system refuses: it exists already, or no file can have it.
fn collision(error: io::Error, path: &BStr) -> RemoteError {
    match error.kind() {
        io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory => RemoteError::UnsafePath(path.to_str_lossy().into_owned()),
        _ => error.into(),
    }
}
