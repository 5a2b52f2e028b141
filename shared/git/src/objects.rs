//! The objects of a commit, as a server sends them.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gix::ObjectId;

use crate::allowance::{Allowance, COMPRESSED};
use crate::clone_url::Location;
use crate::error::RemoteError;
use crate::http::Budget;
use crate::limits::FetchLimits;
use crate::refs::{RemoteRef, TAGS};
use crate::remote::Remote;
use crate::retry::{Retries, retry};

/// The objects that a fetch brought.
pub(crate) struct Objects {
    /// The commits whose parents were left out.
    pub(crate) shallow: Vec<ObjectId>,
    pub(crate) tags: Vec<Tag>,
}

/// A tag of the repository.
pub(crate) struct Tag {
    /// The full name.
    pub(crate) name: String,
    pub(crate) id: ObjectId,
    /// The object that an annotated tag leads to.
    pub(crate) peeled: Option<ObjectId>,
}

/// Downloads a commit into the folder `packs`. Brings the tag `tag`, or all tags of the history if there is more than the commit.
pub(crate) fn download(
    remote: &Remote,
    commit: ObjectId,
    tag: Option<&str>,
    allowance: &Allowance,
    deadline: Instant,
    packs: &Path,
    interrupt: &AtomicBool,
) -> Result<Objects, RemoteError> {
    let Location::Http(uri) = remote.url().location() else { return Err(RemoteError::NotARepository) };
    let FetchLimits { depth, tree_bytes, .. } = allowance.limits;
    let budget = Budget { deadline, bytes: allowance.pack_bytes, of: COMPRESSED };
    retry(Retries::All, deadline, interrupt, || {
        let mut server = remote.connect(uri, budget)?;
        let prefix = match (tag, depth) {
            (_, 0 | 2..) => Some(TAGS),
            (name, 1) => name,
        };
        let listed = prefix.map(|prefix| server.list_refs(&[prefix.to_owned()])).transpose()?.unwrap_or_default();
        let mut tags: Vec<_> = listed.refs.into_iter().map(Tag::from).collect();
        if let (Some(name), 1) = (tag, depth) {
            tags.retain(|tag| tag.name == name);
        }
        let annotated = tags.iter().find(|found| tag == Some(&*found.name) && found.peeled == Some(commit));
        let wanted: Vec<ObjectId> = std::iter::once(commit).chain(annotated.map(|tag| tag.id)).collect();
        let shallow = server.fetch(&wanted, depth, packs, tree_bytes, interrupt)?;
        Ok(Objects { shallow, tags })
    })
}

impl From<RemoteRef> for Tag {
    fn from(found: RemoteRef) -> Self {
        let target = found.target.id();
        let peeled = found.tag.map(|_| target);
        Self { name: found.name, id: found.tag.map_or(target, |tag| tag.id()), peeled }
    }
}
