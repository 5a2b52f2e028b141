//! Look-ups in a repository that is open.

use std::time::Instant;

use gix::Repository;
use shared::model::CommitTexts;

use crate::error::RemoteError;
use crate::local;
use crate::reach::{self, Reach};
use crate::refs::{BRANCHES, DefaultBranch, RemoteRefs, Resolved, TAGS};
use crate::retry::Passing;
use crate::revision::{CommitSha, Revision};
use crate::upload_pack::UploadPack;

/// The branch that git hosts let a new repository start with.
const USUAL_BRANCH: &str = "main";

/// A repository that is open for look-ups.
pub(crate) enum Session {
    /// The repository of a server.
    Server(Box<UploadPack>),
    /// The repository in a folder of this machine, and the time at which a look-up ends.
    Folder(Box<Repository>, Instant),
}

impl Session {
    /// Lists HEAD and the refs whose full names start with one of these.
    pub(crate) fn list_refs(&mut self, prefixes: &[String]) -> Result<RemoteRefs, RemoteError> {
        match self {
            Self::Server(server) => server.list_refs(prefixes),
            Self::Folder(repository, _) => local::list_refs(repository, prefixes),
        }
    }

    /// Returns a commit's SHA and texts, if the repository has it. The SHA of an annotated tag is peeled.
    pub(crate) fn find_commit(&mut self, sha: CommitSha) -> Result<Option<(CommitSha, CommitTexts)>, RemoteError> {
        match self {
            Self::Server(server) => server.find_commit(sha),
            Self::Folder(repository, _) => Ok(local::find_commit(repository, sha)),
        }
    }

    /// Finds the commit that a revision names, with its texts. Asks only for refs that the revision may stand for.
    pub(crate) fn resolve(
        &mut self,
        revision: &Revision,
    ) -> Result<Option<(Resolved, Option<CommitTexts>)>, RemoteError> {
        if let Some(sha) = revision.sha() {
            let found = self.find_commit(sha)?;
            return Ok(found.map(|(sha, texts)| (Resolved { name: None, sha }, Some(texts))));
        }
        let refs = self.list_refs(&revision.full_names())?;
        let Some(Resolved { name: Some(name), sha }) = refs.resolve(revision) else {
            return if self.has_commits(&refs)? { Ok(None) } else { Err(RemoteError::NoCommits) };
        };
        let texts = match self.find_commit(sha) {
            Ok(Some((_, texts))) => Some(texts),
            // Git lets a branch point to a commit only.
            Ok(None) if !name.starts_with(BRANCHES) => return Err(RemoteError::NotACommit(name)),
            Err(error) if error.may_pass() || !name.starts_with(BRANCHES) => return Err(error),
            // The server does not tell.
            Ok(None) | Err(_) => None,
        };
        Ok(Some((Resolved { name: Some(name), sha }, texts)))
    }

    /// Finds a branch or tag that is meant and points to the commit or to the annotated tag, or else one that has the commit in its
    /// history. Most commits that are deployed by their SHA are at the tip of the default branch, so that is asked for first.
    pub(crate) fn reach(&mut self, sha: CommitSha, is_meant: &dyn Fn(&str) -> bool) -> Result<Reach, RemoteError> {
        if let Some(name) = self.list_refs(&[])?.pointing_to(sha, is_meant) {
            return Ok(Reach::On(name));
        }
        let refs = self.list_refs(&[BRANCHES, TAGS].map(str::to_owned))?;
        if let Some(name) = refs.pointing_to(sha, is_meant) {
            return Ok(Reach::On(name));
        }
        let tips = refs.tips(is_meant);
        match self {
            Self::Server(server) => reach::find(server, sha, &tips),
            Self::Folder(repository, deadline) => local::reach(repository, sha, &tips, *deadline),
        }
    }

    /// Finds the default branch: this one, or else the one that HEAD points to. Old servers don't tell the HEAD of an empty repository,
    /// whose default branch is then the usual one.
    pub(crate) fn default_branch(&mut self, wanted: Option<&str>) -> Result<DefaultBranch, RemoteError> {
        let prefixes: Vec<_> = wanted.into_iter().map(|branch| format!("{BRANCHES}{branch}")).collect();
        let refs = self.list_refs(&prefixes)?;
        let Some(name) = wanted.map(str::to_owned).or_else(|| refs.default_branch.clone()) else {
            return Ok(match self.has_commits(&refs)? {
                true => DefaultBranch::Unnamed,
                false => DefaultBranch::Named(USUAL_BRANCH.to_owned()),
            });
        };
        let is_head = refs.head.is_some() && refs.default_branch.as_ref() == Some(&name);
        let exists = is_head || refs.has_branch(&name) || !self.has_commits(&refs)?;
        Ok(if exists { DefaultBranch::Named(name) } else { DefaultBranch::Missing(name) })
    }

    /// Returns whether there is a branch or a tag. `known` are some of the refs.
    fn has_commits(&mut self, known: &RemoteRefs) -> Result<bool, RemoteError> {
        if known.head.is_some() || !known.refs.is_empty() {
            return Ok(true);
        }
        Ok(!self.list_refs(&[BRANCHES, TAGS].map(str::to_owned))?.refs.is_empty())
    }
}
