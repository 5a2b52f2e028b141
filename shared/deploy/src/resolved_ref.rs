//! The commit of a revision.

use futures_util::future::join;
use git::{CloneUrl, Remote, Revision};
use shared::Result;
use shared::access::AuthorizedRepository;
use shared::hosts::Hosts;
use shared::model::CommitTexts;

/// The commit of a revision, as the git host has it now.
#[derive(Clone, Debug)]
pub struct ResolvedRef {
    /// The commit's SHA, in hexadecimal.
    pub sha: String,
    /// The subject and the author of the commit, if the git host told.
    pub commit: Option<CommitTexts>,
    /// The ref's full name, unless the revision is a commit.
    pub name: Option<String>,
    /// A branch or tag that points to the commit. `None` if none does, or if the git host has too many to look through.
    pub on_ref: Option<String>,
}

impl ResolvedRef {
    /// # Errors
    /// Fails if the clone URL is not allowed, the remote does not answer, or the revision does not exist.
    pub async fn find(hosts: Hosts, repository: &AuthorizedRepository, revision: &Revision) -> Result<Self> {
        let remote = Remote::new(CloneUrl::of_repository(&repository.clone_url, hosts)?, None);
        if let Some(sha) = revision.sha() {
            let (found, refs) = join(remote.find_commit(sha), remote.list_refs()).await;
            let Some(commit) = found.map_err(|error| remote.url().unreadable(error))? else {
                return Err(git::not_found(revision));
            };
            let on_ref = refs.ok().and_then(|refs| refs.pointing_to(sha).map(str::to_owned));
            return Ok(Self { sha: sha.to_string(), commit: Some(commit), name: None, on_ref });
        }
        let found = remote.resolve(revision).await.map_err(|error| remote.url().unreadable(error))?;
        let (found, commit) = found.ok_or_else(|| git::not_found(revision))?;
        Ok(Self { sha: found.sha.to_string(), commit, on_ref: found.name.clone(), name: found.name })
    }
}
