//! A pack of a repository on this machine, with the objects that a server would send.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::Repository;
use gix::parallel::InOrderIter;
use gix::progress::Discard;
use gix_pack::Bundle;
use gix_pack::bundle::write::Options;
use gix_pack::data::Version;
use gix_pack::data::output::bytes::FromEntriesIter;
use gix_pack::data::output::count::objects::ObjectExpansion;
use gix_pack::data::output::{count, entry};

use crate::allowance::Allowance;
use crate::checkout::corrupt;
use crate::error::RemoteError;
use crate::objects::{Objects, Tag};

/// Writes a pack of the commit's history, as deep as the limits say, and of those tags that lead into it.
pub(crate) fn pack(
    repository: &Repository,
    commit: ObjectId,
    mut tags: Vec<Tag>,
    into: &Path,
    allowance: &mut Allowance,
    interrupt: &AtomicBool,
) -> Result<Objects, RemoteError> {
    let History { commits, shallow } = History::walk(repository, commit, allowance.limits.depth)?;
    let known: HashSet<ObjectId> = commits.iter().copied().collect();
    tags.retain(|tag| known.contains(&tag.peeled.unwrap_or(tag.id)));
    let mut objects = repository.objects.clone().into_inner().into_arc()?;
    objects.prevent_pack_unload();
    let mut wanted =
        commits.into_iter().chain(tags.iter().filter(|tag| tag.peeled.is_some()).map(|tag| tag.id)).map(Ok);
    let (counts, _) =
        count::objects_unthreaded(&objects, &mut wanted, &Discard, interrupt, ObjectExpansion::TreeContents)
            .map_err(corrupt)?;
    let number = u32::try_from(counts.len()).map_err(corrupt)?;
    let entries =
        entry::iter_from_counts(counts, objects, Box::new(Discard), entry::iter_from_counts::Options::default())
            .map_err(corrupt)?;
    let mut file = tempfile::NamedTempFile::new_in(into)?;
    let sha1 = gix::hash::Kind::Sha1;
    let mut written = FromEntriesIter::new(
        InOrderIter::from(entries),
        BufWriter::new(file.as_file_mut()),
        number,
        Version::default(),
        sha1,
    );
    for bytes in written.by_ref() {
        allowance.take_pack(bytes.map_err(corrupt)?)?;
    }
    written.into_write().flush()?;
    let alloc_limit_bytes = Some(usize::try_from(allowance.limits.tree_bytes).unwrap_or(usize::MAX));
    let options = Options { alloc_limit_bytes, ..Options::default() };
    let mut pack = BufReader::new(File::open(file.path())?);
    let no_bases = None::<gix::OdbHandle>;
    Bundle::write_to_directory(&mut pack, Some(into), &mut Discard, interrupt, no_bases, sha1, options).map_err(
        |error| match gix::error::classify(&error).is_resource_exhausted() {
            true => RemoteError::TooLarge("bytes of files", allowance.limits.tree_bytes),
            false => corrupt(error),
        },
    )?;
    Ok(Objects { shallow, tags })
}

/// Commits, each once, and those of them whose parents are left out.
struct History {
    commits: Vec<ObjectId>,
    shallow: Vec<ObjectId>,
}

impl History {
    fn walk(repository: &Repository, tip: ObjectId, depth: u32) -> Result<Self, RemoteError> {
        let mut history = Self { commits: Vec::new(), shallow: Vec::new() };
        let mut seen = HashSet::from([tip]);
        let mut generation = vec![tip];
        let mut number = 0;
        while !generation.is_empty() {
            number += 1;
            let is_last = number == depth;
            let mut next = Vec::new();
            for id in generation {
                let commit = repository.find_commit(id).map_err(corrupt)?;
                let parents: Vec<ObjectId> = commit.parent_ids().map(gix::Id::detach).collect();
                // The repository may be shallow itself.
                let is_cut = is_last || !parents.iter().all(|parent| repository.has_object(parent));
                if is_cut && !parents.is_empty() {
                    history.shallow.push(id);
                } else {
                    next.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
                }
                history.commits.push(id);
            }
            generation = next;
        }
        Ok(history)
    }
}
