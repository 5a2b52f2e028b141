//! The commit of a revision.

use std::time::Duration;

use connections::Connections;
use futures_util::future::join;
use git::{LOOKUP_TIME, Reach, Revision};
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
    /// The place of the commit among all branches and tags.
    pub reach: Reach,
}

/// The time limit of a search for a branch or tag that no rule asks for. A deployment is created without its result.
const NOTICE_TIME: Duration = Duration::from_secs(3);

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
        let reach = async |sha| remote.reach(sha, NOTICE_TIME, |_| true).await.unwrap_or(Reach::Unknown);
        let reach_of_sha = async {
            match revision.sha() {
                Some(sha) => reach(sha).await,
                None => Reach::Unknown,
            }
        };
        let (found, reach_of_sha) = join(remote.resolve(revision), reach_of_sha).await;
        let found = found.map_err(|error| remote.url().unreadable(error))?;
        let (found, commit) = found.ok_or_else(|| git::not_found(revision))?;
        let reach = match &found.name {
            Some(name) if found.is_branch_or_tag() => Reach::On(name.clone()),
            None if revision.sha() == Some(found.sha) || matches!(reach_of_sha, Reach::On(_)) => reach_of_sha,
            // The ref is another one, or the SHA is that of an annotated tag that no ref points to.
            _ => reach(found.sha).await,
        };
        Ok(Self { sha: found.sha.to_string(), commit, reach, name: found.name })
    }

    /// Returns a branch or tag that points to the commit or has it in its history, by its full name, if one is known.
    pub fn on_ref(&self) -> Option<&String> {
        match &self.reach {
            Reach::On(name) => Some(name),
            Reach::Nowhere | Reach::Unknown => None,
        }
    }

    /// Returns whether a branch or tag has the commit in its history, if that is known.
    pub fn is_reachable(&self) -> Option<bool> {
        match self.reach {
            Reach::On(_) => Some(true),
            Reach::Nowhere => Some(false),
            Reach::Unknown => None,
        }
    }

    /// Checks that the environment takes the branch or tag that the request names, or one that has the commit in its history, which the
    /// commit's place then is. The git host is asked only if the one that is known is not taken.
    ///
    /// # Errors
    /// Fails with `ref_not_allowed`, also if the git host does not tell, or if it does not answer.
    pub async fn admit(
        &mut self,
        connections: &Connections,
        repository: &Permitted<Repository>,
        settings: &EnvironmentSettings,
        environment: Environment,
    ) -> Result<()> {
        if settings.refs.is_empty() || self.on_ref().is_some_and(|name| settings.allows_ref(name)) {
            return Ok(());
        }
        let refused = |reason| Err(EnvironmentSettings::ref_refused(environment, reason));
        // A branch or tag that was named is the one that counts, whatever others have its commit.
        if self.name.is_some() && self.name.as_ref() == self.on_ref() {
            return refused("this one is not among them");
        }
        if self.reach != Reach::Nowhere {
            let remote = connections.remote(&**repository).await;
            let remote = remote.map_err(|failed| failed.of_repository(&repository.clone_url))?;
            let (sha, settings) = (self.sha.parse().map_err(shared::Error::internal)?, settings.clone());
            let found = remote.reach(sha, LOOKUP_TIME, move |name| settings.allows_ref(name)).await;
            match found.map_err(|error| remote.url().unreadable(error))? {
                Reach::Nowhere => {}
                Reach::Unknown => return refused("the git host does not tell whether one of them has this commit"),
                on_ref @ Reach::On(_) => {
                    self.reach = on_ref;
                    return Ok(());
                }
            }
        }
        refused("none of them has this commit in its history")
    }
}
