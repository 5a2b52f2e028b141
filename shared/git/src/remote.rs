//! The operations on a remote repository.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Uri;
use shared::model::CommitTexts;

use crate::clone_url::{CloneUrl, Location};
use crate::credential::Credential;
use crate::error::RemoteError;
use crate::http::Budget;
use crate::limits::{FetchLimits, LOOKUP_TIME, MAX_LOOKUP_BYTES, MAX_REFS};
use crate::revision::{CommitSha, RemoteRefs, Resolved, Revision};
use crate::upload_pack::UploadPack;
use crate::{checkout, local};

/// A repository on a git host, with the credential that the host may ask for.
#[derive(Clone, Debug)]
pub struct Remote {
    url: CloneUrl,
    credential: Option<Credential>,
}

impl Remote {
    /// Describes a repository, without connecting to it.
    pub fn new(url: CloneUrl, credential: Option<Credential>) -> Self {
        Self { url, credential }
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
        let remote = self.clone();
        let refs = run(time, move |deadline, _| match remote.url.location() {
            Location::Http(uri) => remote.connect(uri, lookup(deadline, "bytes of refs"))?.list_refs(),
            Location::Path(path) => local::list_refs(path),
        })
        .await?;
        bounded(refs)
    }

    /// Finds a branch or tag, with the texts of its commit. Both are read over one connection. The texts are `None` if the
    /// server does not tell them.
    ///
    /// # Errors
    ///
    /// Fails as [`list_refs`](Self::list_refs) does. A missing branch or tag is no error.
    pub async fn resolve(&self, revision: &Revision) -> Result<Option<(Resolved, Option<CommitTexts>)>, RemoteError> {
        let (remote, revision) = (self.clone(), revision.clone());
        run(LOOKUP_TIME, move |deadline, _| match remote.url.location() {
            Location::Http(uri) => {
                let mut server = remote.connect(uri, lookup(deadline, "bytes of refs"))?;
                let Some(found) = bounded(server.list_refs()?)?.resolve(&revision) else { return Ok(None) };
                let texts = server.find_commit(found.sha).ok().flatten();
                Ok(Some((found, texts)))
            }
            Location::Path(path) => {
                let Some(found) = bounded(local::list_refs(path)?)?.resolve(&revision) else { return Ok(None) };
                let texts = local::find_commit(&local::open(path)?, found.sha);
                Ok(Some((found, texts)))
            }
        })
        .await
    }

    /// Returns the texts of this commit, if the repository has it, whether or not a branch or tag reaches it.
    ///
    /// # Errors
    ///
    /// Fails after [`LOOKUP_TIME`]. A missing commit is no error.
    pub async fn find_commit(&self, sha: CommitSha) -> Result<Option<CommitTexts>, RemoteError> {
        let remote = self.clone();
        run(LOOKUP_TIME, move |deadline, _| match remote.url.location() {
            Location::Http(uri) => remote.connect(uri, lookup(deadline, "bytes of objects"))?.find_commit(sha),
            Location::Path(path) => Ok(local::find_commit(&local::open(path)?, sha)),
        })
        .await
    }

    /// Writes the files of this commit into the folder `into`, without a `.git`. Creates the folder, which must be
    /// empty if it exists. Keeps executable bits and symbolic links. Submodules become empty folders.
    ///
    /// # Errors
    ///
    /// Fails if the repository does not have the commit, if a limit is reached, or if a symbolic link leads out of
    /// `into`. Never writes outside of `into`. After an error, `into` contains part of the files.
    pub async fn fetch_commit(&self, sha: CommitSha, into: &Path, limits: FetchLimits) -> Result<(), RemoteError> {
        let (remote, into) = (self.clone(), into.to_owned());
        run(limits.time, move |deadline, interrupt| {
            let folder = tempfile::tempdir()?;
            let repository = checkout::scratch(folder.path())?;
            let objects = repository.objects.store_ref().path();
            match remote.url.location() {
                Location::Http(uri) => {
                    let budget = Budget { deadline, bytes: limits.pack_bytes, of: "compressed bytes" };
                    let mut server = remote.connect(uri, budget)?;
                    server.fetch(sha, &objects.join("pack"), limits.tree_bytes, interrupt)?;
                }
                Location::Path(path) => local::share_objects(path, objects)?,
            }
            checkout::write(&repository, sha, &into, limits, interrupt)
        })
        .await
    }

    fn connect(&self, uri: &Uri, budget: Budget) -> Result<UploadPack, RemoteError> {
        UploadPack::connect(uri, self.url.hosts(), self.credential.clone(), budget)
    }
}

fn bounded(refs: RemoteRefs) -> Result<RemoteRefs, RemoteError> {
    match refs.refs.len() as u64 > MAX_REFS {
        true => Err(RemoteError::TooLarge("branches and tags", MAX_REFS)),
        false => Ok(refs),
    }
}

fn lookup(deadline: Instant, of: &'static str) -> Budget {
    Budget { deadline, bytes: MAX_LOOKUP_BYTES, of }
}

/// Runs blocking work until its deadline. Raises the work's flag at the deadline and when the caller goes away,
/// and the work ends soon after that. Returns once the work has ended, so that its files can be removed.
async fn run<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce(Instant, &AtomicBool) -> Result<T, RemoteError> + Send + 'static,
) -> Result<T, RemoteError> {
    struct RaiseOnDrop(Arc<AtomicBool>);
    impl Drop for RaiseOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let interrupt = Arc::new(AtomicBool::new(false));
    let raise_on_drop = RaiseOnDrop(Arc::clone(&interrupt));
    let deadline = Instant::now() + time;
    let mut task = tokio::task::spawn_blocking(move || work(deadline, &interrupt));
    match tokio::time::timeout(time, &mut task).await {
        // A server's data may make gix panic. The caller must not.
        Ok(ended) => ended.unwrap_or_else(|panic| Err(RemoteError::Protocol(panic.into()))),
        Err(_) => {
            drop(raise_on_drop);
            // The result is ignored, because an interrupted checkout reports success.
            let _late = task.await;
            Err(RemoteError::TimedOut)
        }
    }
}
