//! Commit objects, and the annotated tags that name them.

use std::collections::HashMap;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::hash::Kind::Sha1;
use gix::objs::{CommitRef, Kind, TagRefIter};
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::data::input::Entry;
use shared::model::{CommitTexts, asks_to_skip};

use crate::revision::CommitSha;

/// The maximum size of a commit or tag object, which contains the message and a few lines. Larger ones are skipped.
const MAX_BYTES: u64 = 1024 * 1024;

/// Returns the texts of a commit object, or empty ones if git could not read it either.
pub(crate) fn texts(object: &[u8]) -> CommitTexts {
    let Ok(commit) = CommitRef::from_bytes(object, Sha1) else { return CommitTexts::new("", "") };
    let author = commit.author().map(|author| author.name.to_str_lossy().into_owned()).unwrap_or_default();
    let texts = CommitTexts::new(&commit.message_summary().to_str_lossy(), &author);
    CommitTexts { asks_to_skip: asks_to_skip(&commit.message.to_str_lossy()), ..texts }
}

/// The search for the commit that a SHA names, by itself or through annotated tags, among the objects of a pack.
pub(crate) struct Peeling {
    /// The object that names the commit, as far as the known tags lead.
    named: ObjectId,
    tags: HashMap<ObjectId, ObjectId>,
    commits: HashMap<ObjectId, CommitTexts>,
}

impl Peeling {
    pub(crate) fn of(sha: CommitSha) -> Self {
        Self { named: sha.id(), tags: HashMap::new(), commits: HashMap::new() }
    }

    /// Adds an object of the pack. Its hash is computed, so a server can't pass one object off as another.
    pub(crate) fn add(&mut self, entry: &Entry) -> gix::Result<()> {
        let kind = match entry.header {
            Header::Commit => Kind::Commit,
            Header::Tag => Kind::Tag,
            _ => return Ok(()),
        };
        if entry.decompressed_size > MAX_BYTES {
            return Ok(());
        }
        let mut object = vec![0; entry.decompressed_size as usize];
        gix::zlib::Inflate::default().once(entry.compressed.as_deref().unwrap_or_default(), &mut object)?;
        let id = gix::objs::compute_hash(Sha1, kind, &object)?;
        match kind {
            Kind::Commit => _ = self.commits.insert(id, texts(&object)),
            _ => {
                if let Ok(target) = TagRefIter::from_bytes(&object, Sha1).target_id() {
                    self.tags.insert(id, target);
                }
            }
        }
        Ok(())
    }

    /// Returns the commit, once it was added with all tags that lead to it.
    pub(crate) fn take_commit(&mut self) -> Option<(CommitSha, CommitTexts)> {
        while let Some(target) = self.tags.remove(&self.named) {
            self.named = target;
        }
        self.commits.remove(&self.named).map(|texts| (CommitSha::new(self.named), texts))
    }
}
