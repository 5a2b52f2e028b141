//! The commit of a revision.

use git::{CloneUrl, Hosts, Revision};
use shared::Result;
use shared::access::AuthorizedRepository;

/// The commit of a revision, as the git host has it now.
#[derive(Clone, Debug)]
pub struct ResolvedRef {
    /// The commit's SHA, in hexadecimal.
    pub sha: String,
    /// The ref's full name, unless the revision is a commit.
    pub name: Option<String>,
}

impl ResolvedRef {
    /// # Errors
    /// Fails if the clone URL is not allowed, the remote does not answer, or the revision does not exist.
    pub async fn find(hosts: Hosts, repository: &AuthorizedRepository, revision: &Revision) -> Result<Self> {
        let url = CloneUrl::of_repository(&repository.clone_url, hosts)?;
        if let Some(sha) = revision.sha() {
            let exists = git::has_commit(&url, sha).await.map_err(|error| url.unreadable(error))?;
            return exists.then(|| Self { sha: sha.to_string(), name: None }).ok_or_else(|| git::not_found(revision));
        }
        let refs = git::list_refs(&url).await.map_err(|error| url.unreadable(error))?;
        let found = refs.resolve(revision).ok_or_else(|| git::not_found(revision))?;
        Ok(Self { sha: found.sha.to_string(), name: found.name })
    }
}
