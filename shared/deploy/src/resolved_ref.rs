//! The commit of a revision.

use connections::Connections;
use futures_util::future::join;
use git::Revision;
use shared::Result;
use shared::model::{CommitTexts, Environment, EnvironmentSettings, Repository};
use shared::permitted::Permitted;

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
    /// Fails if the clone URL is not allowed, the connection can't be used, the remote does not answer, or the revision does not
    /// exist or names no commit.
    pub async fn find(
        connections: &Connections,
        repository: &Permitted<Repository>,
        revision: &Revision,
    ) -> Result<Self> {
        let remote = connections.remote(&**repository).await;
        let remote = remote.map_err(|failed| failed.of_repository(&repository.clone_url))?;
        // A commit is deployed all the same if no branch or tag of it can be found.
        let pointing_to = async |sha| remote.pointing_to(sha).await.ok().flatten();
        let on_ref = async {
            match revision.sha() {
                Some(sha) => pointing_to(sha).await,
                None => None,
            }
        };
        let (found, on_ref) = join(remote.resolve(revision), on_ref).await;
        let found = found.map_err(|error| remote.url().unreadable(error))?;
        let (found, commit) = found.ok_or_else(|| git::not_found(revision))?;
        let on_ref = match &found.name {
            None => on_ref,
            Some(name) if found.is_branch_or_tag() => Some(name.clone()),
            Some(_) => pointing_to(found.sha).await,
        };
        Ok(Self { sha: found.sha.to_string(), commit, on_ref, name: found.name })
    }

    /// Checks that the environment takes the ref, or a branch or tag that points to the commit, which `on_ref` then is. The git host is
    /// asked for all of them only if the one that is known is not taken.
    ///
    /// # Errors
    /// Fails with `ref_not_allowed`, or if the git host does not answer.
    pub async fn admit(
        &mut self,
        connections: &Connections,
        repository: &Permitted<Repository>,
        settings: &EnvironmentSettings,
        environment: Environment,
    ) -> Result<()> {
        let is_taken = |name: &String| settings.allows_ref(name);
        if settings.refs.is_empty() || self.on_ref.as_ref().is_some_and(is_taken) {
            return Ok(());
        }
        let refused = || EnvironmentSettings::ref_refused(environment);
        // A ref that was named is the one that counts, whatever else points to its commit.
        if self.name.is_some() {
            return Err(refused());
        }
        let remote = connections.remote(&**repository).await;
        let remote = remote.map_err(|failed| failed.of_repository(&repository.clone_url))?;
        let sha = self.sha.parse().map_err(shared::Error::internal)?;
        let names = remote.all_pointing_to(sha).await.map_err(|error| remote.url().unreadable(error))?;
        self.on_ref = Some(names.into_iter().find(is_taken).ok_or_else(refused)?);
        Ok(())
    }
}
