//! The commit of a revision, from memory or from the remote.

use std::time::Duration;

use git::{CloneUrl, Hosts, Revision};
use shared::Result;
use shared::access::AuthorizedRepository;
use shared::clock::Timestamp;
use shared::model::KnownRef;

/// The maximum age of a ref that was read from the remote. A burst of requests causes one read, and a commit that was
/// pushed more than a second ago is never missed.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The commit of a revision.
pub(crate) struct ResolvedRef {
    pub sha: String,
    /// The ref's full name, unless the revision is a commit.
    pub name: Option<String>,
    /// The ref to remember, if it was read from the remote.
    pub tip: Option<KnownRef>,
}

impl ResolvedRef {
    /// Resolves a revision from the known ref if that is recent, or else from the remote.
    pub(crate) async fn find(
        hosts: Hosts,
        repository: &AuthorizedRepository,
        revision: &Revision,
        known: Option<KnownRef>,
        now: Timestamp,
    ) -> Result<Self> {
        if let Some(known) = known.filter(|known| now.since(known.read_at) <= MAX_AGE) {
            return Ok(Self { sha: known.sha, name: Some(known.name), tip: None });
        }
        let url = CloneUrl::parse(&repository.clone_url, hosts)?;
        if let Some(sha) = revision.sha() {
            let exists = git::has_commit(&url, sha).await?;
            let resolved = Self { sha: sha.to_string(), name: None, tip: None };
            return exists.then_some(resolved).ok_or_else(|| git::not_found(revision));
        }
        let refs = git::list_refs(&url).await?;
        let found = refs.resolve(revision).ok_or_else(|| git::not_found(revision))?;
        let sha = found.sha.to_string();
        let tip = found.name.map(|name| KnownRef { name, sha: sha.clone(), read_at: now });
        Ok(Self { sha, name: tip.as_ref().map(|tip| tip.name.clone()), tip })
    }
}
