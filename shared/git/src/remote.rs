//! The operations on a remote repository.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use http::{HeaderValue, Uri};
use shared::model::CommitTexts;

use crate::breaker::host_of;
use crate::clone_url::{CloneUrl, Location};
use crate::credential::Credential;
use crate::error::RemoteError;
use crate::http::Budget;
use crate::limits::{FetchLimits, LOOKUP_TIME, MAX_LOOKUP_BYTES, MAX_REFS};
use crate::local;
use crate::look_ups::{LookUps, Question, run};
use crate::reach::Reach;
use crate::refs::{BRANCHES, DefaultBranch, RemoteRefs, Resolved, TAGS};
use crate::retry::Retries;
use crate::revision::{CommitSha, Revision};
use crate::session::Session;
use crate::source::{Fetched, Source};
use crate::upload_pack::UploadPack;

/// A repository on a git host, with the credential that the host may ask for.
#[derive(Clone, Debug)]
pub struct Remote {
    url: CloneUrl,
    credential: Option<Credential>,
    look_ups: LookUps,
    /// Whether the server has begun to answer the current look-up.
    answered: Arc<AtomicBool>,
}

impl Remote {
    /// Describes a repository, without connecting to it.
    pub fn new(url: CloneUrl, credential: Option<Credential>) -> Self {
        Self { url, credential, look_ups: LookUps::default(), answered: Arc::default() }
    }

    /// Keeps look-ups within these bounds.
    #[must_use]
    pub fn with_look_ups(self, look_ups: LookUps) -> Self {
        Self { look_ups, ..self }
    }

    /// Returns the repository's URL.
    pub fn url(&self) -> &CloneUrl {
        &self.url
    }

    /// Lists the branches and tags, and the default branch.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`], [`MAX_REFS`] or [`MAX_LOOKUP_BYTES`].
    pub async fn list_refs(&self) -> Result<RemoteRefs, RemoteError> {
        self.list_refs_within(LOOKUP_TIME).await
    }

    /// Lists the branches and tags like [`list_refs`](Self::list_refs), within another time limit.
    ///
    /// # Errors
    ///
    /// Fails after the time limit, [`MAX_REFS`] or [`MAX_LOOKUP_BYTES`].
    pub async fn list_refs_within(&self, time: Duration) -> Result<RemoteRefs, RemoteError> {
        let refs = self.look_up(time, |session| session.list_refs(&[BRANCHES, TAGS].map(str::to_owned))).await?;
        bounded(refs, MAX_REFS)
    }

    /// Lists the refs whose full names start with one of the prefixes, and the default branch. The server sends no others if it
    /// supports that.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`] or [`MAX_LOOKUP_BYTES`], or if there are more than `max`.
    pub async fn list_refs_with(&self, prefixes: Vec<String>, max: u64) -> Result<RemoteRefs, RemoteError> {
        let refs = self.look_up(LOOKUP_TIME, move |session| session.list_refs(&prefixes)).await?;
        bounded(refs, max)
    }

    /// Finds the commit that a revision names, with its texts. Both are read over one connection. Asks only for refs that the
    /// revision may stand for. The SHA of an annotated tag is peeled. The texts are `None` if the server does not tell them.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`] or [`MAX_LOOKUP_BYTES`], in a repository without commits, and for a ref that points to no commit.
    /// A missing ref or commit is no error.
    pub async fn resolve(&self, revision: &Revision) -> Result<Option<(Resolved, Option<CommitTexts>)>, RemoteError> {
        let revision = revision.clone();
        self.look_up(LOOKUP_TIME, move |session| session.resolve(&revision)).await
    }

    /// Finds a branch or tag that is meant, by its full name, and that points to this commit or annotated tag, or else one that has the
    /// commit in its history. Prefers the default branch. Believes the server.
    ///
    /// # Errors
    ///
    /// Fails after the time limit or [`MAX_LOOKUP_BYTES`], or if the server does not have the commit.
    pub async fn reach(
        &self,
        sha: CommitSha,
        time: Duration,
        is_meant: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Reach, RemoteError> {
        self.look_up(time, move |session| session.reach(sha, &is_meant)).await
    }

    /// Finds the default branch: this one, or else the one that HEAD points to. Asks for no other ref unless it is missing.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`] or [`MAX_LOOKUP_BYTES`].
    pub async fn default_branch(&self, wanted: Option<String>) -> Result<DefaultBranch, RemoteError> {
        self.look_up(LOOKUP_TIME, move |session| session.default_branch(wanted.as_deref())).await
    }

    /// Returns the texts of this commit, if the repository has it, whether or not a branch or tag reaches it.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`]. A missing commit is no error.
    pub async fn find_commit(&self, sha: CommitSha) -> Result<Option<CommitTexts>, RemoteError> {
        let found = self.look_up(LOOKUP_TIME, move |session| session.find_commit(sha)).await?;
        Ok(found.filter(|(commit, _)| *commit == sha).map(|(_, texts)| texts))
    }

    /// Fetches the source of this commit into the folder `into`: its files as git checks them out, those of its submodules and of
    /// Git LFS, and a `.git`. Creates the folder, which must be empty if it exists.
    ///
    /// Files have the commit's time. The `.git` has the commit's history up to [`FetchLimits::depth`] and the branch or tag that
    /// the commit was found by. With more than one commit of history it has the tags of this history.
    ///
    /// # Errors
    ///
    /// Fails if the repository does not have the commit, if a limit is reached, or if a submodule or a Git LFS object can't be
    /// fetched. Never writes outside of `into`, but a symbolic link may lead anywhere. After an error, `into` contains part of the
    /// files.
    pub async fn fetch_commit(
        &self,
        commit: &Resolved,
        into: &Path,
        limits: FetchLimits,
    ) -> Result<Fetched, RemoteError> {
        let (remote, commit, into) = (self.clone(), commit.clone(), into.to_owned());
        let deadline = Instant::now() + limits.time;
        run(deadline, None, move |interrupt| Source::new(&into, limits, deadline, interrupt).fetch(&remote, &commit))
            .await?
    }

    /// Runs a look-up, again if it fails in a way that may pass.
    async fn look_up<T: Send + 'static>(
        &self,
        time: Duration,
        find: impl Fn(&mut Session) -> Result<T, RemoteError> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let remote = Self { answered: Arc::default(), ..self.clone() };
        let deadline = Instant::now() + time;
        let host = match remote.url.location() {
            Location::Http(uri) => host_of(uri),
            Location::Path(_) => None,
        };
        let question = Question { host, deadline, retries: Retries::Answers, answered: Arc::clone(&remote.answered) };
        let ask = move || match remote.url.location() {
            Location::Http(uri) => {
                let budget = Budget { deadline, bytes: MAX_LOOKUP_BYTES, of: "bytes of refs" };
                find(&mut Session::Server(Box::new(remote.connect(uri, budget)?)))
            }
            Location::Path(path) => find(&mut Session::Folder(Box::new(local::open(path)?), deadline)),
        };
        self.look_ups.ask(question, ask).await
    }

    /// Returns another repository, with the same credential. The credential stays for its own host.
    pub(crate) fn elsewhere(&self, url: CloneUrl) -> Self {
        Self { url, ..self.clone() }
    }

    /// Returns the credential's header for a request, if it is to the credential's host.
    pub(crate) fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        self.credential.as_ref()?.authorization_for(uri).cloned()
    }

    pub(crate) fn connect(&self, uri: &Uri, budget: Budget) -> Result<UploadPack, RemoteError> {
        UploadPack::connect(uri, self.url.hosts(), self.credential.clone(), Arc::clone(&self.answered), budget)
    }
}

fn bounded(refs: RemoteRefs, max: u64) -> Result<RemoteRefs, RemoteError> {
    match refs.refs.len() as u64 > max {
        true => Err(RemoteError::TooLarge("branches and tags", max)),
        false => Ok(refs),
    }
}
