//! Read access to remote git repositories: list their branches and tags, and fetch one commit's files.
//!
//! The address of a repository comes from a user, and so does everything that its server says. A [`CloneUrl`]
//! is checked for what its [`Hosts`] allow, every connection again when its host's name is resolved, and each
//! operation has a limit on time and size. No credentials are sent, and no configuration, hook or filter of
//! the machine is used.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod address;
mod api;
mod checkout;
mod clone_url;
mod error;
mod http;
mod local;
mod revision;
mod upload_pack;

pub use api::{UnknownHosts, hosts, not_found};
pub use clone_url::{CloneUrl, Hosts, InvalidCloneUrl};
pub use error::RemoteError;
pub use revision::{CommitSha, InvalidCommitSha, InvalidRevision, RemoteRef, RemoteRefs, Resolved, Revision};

use clone_url::Location;
use http::Budget;
use upload_pack::UploadPack;

/// How long [`list_refs`] and [`has_commit`] may take.
pub const LOOKUP_TIME: Duration = Duration::from_secs(10);

/// How many branches and tags a repository may have.
pub const MAX_REFS: u64 = 50_000;

/// How many bytes a server may send to [`list_refs`], and to [`has_commit`].
pub const MAX_LOOKUP_BYTES: u64 = 16 * 1024 * 1024;

/// How much [`fetch_commit`] may take.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    pub time: Duration,
    /// What the server sends: the compressed files.
    pub pack_bytes: u64,
    /// The files as they are written, with the lengths of their paths.
    pub tree_bytes: u64,
    /// The number of files and folders.
    pub files: u64,
}

/// Lists the branches and tags, and which branch is the default.
///
/// # Errors
///
/// Fails after [`LOOKUP_TIME`], and if there are more than [`MAX_REFS`] or [`MAX_LOOKUP_BYTES`].
pub async fn list_refs(url: &CloneUrl) -> Result<RemoteRefs, RemoteError> {
    list_refs_within(LOOKUP_TIME, url).await
}

/// Lists the branches and tags like [`list_refs`], with a time limit of its own.
///
/// # Errors
///
/// Fails after the time, and if there are more than [`MAX_REFS`] or [`MAX_LOOKUP_BYTES`].
pub async fn list_refs_within(time: Duration, url: &CloneUrl) -> Result<RemoteRefs, RemoteError> {
    let url = url.clone();
    let refs = run(time, move |deadline, _| match url.location() {
        Location::Http(uri) => UploadPack::connect(uri, url.hosts(), lookup(deadline, "bytes of refs"))?.list_refs(),
        Location::Path(path) => local::list_refs(path),
    })
    .await?;
    if refs.refs.len() as u64 > MAX_REFS {
        return Err(RemoteError::TooLarge("branches and tags", MAX_REFS));
    }
    Ok(refs)
}

/// Whether the repository has this commit, be it reachable from a branch or tag or not.
///
/// # Errors
///
/// Fails after [`LOOKUP_TIME`]. That the commit is not there is no error.
pub async fn has_commit(url: &CloneUrl, sha: CommitSha) -> Result<bool, RemoteError> {
    let url = url.clone();
    run(LOOKUP_TIME, move |deadline, _| match url.location() {
        Location::Http(uri) => {
            UploadPack::connect(uri, url.hosts(), lookup(deadline, "bytes of objects"))?.has_commit(sha)
        }
        Location::Path(path) => Ok(local::has_commit(&local::open(path)?, sha)),
    })
    .await
}

/// Writes the files of exactly this commit into the folder `into`, which is created and must be empty. It has
/// no `.git` afterwards; executable bits and symbolic links are kept, submodules are empty folders.
///
/// # Errors
///
/// Fails if the repository does not have the commit, and where a limit is reached. No path of the commit is
/// written outside of `into`, and a symbolic link that leads out of it is an error. `into` holds a part of
/// the files after an error.
pub async fn fetch_commit(url: &CloneUrl, sha: CommitSha, into: &Path, limits: FetchLimits) -> Result<(), RemoteError> {
    let url = url.clone();
    let into = into.to_owned();
    run(limits.time, move |deadline, interrupt| {
        let folder = tempfile::tempdir()?;
        let repository = checkout::scratch(folder.path())?;
        let objects = repository.objects.store_ref().path();
        match url.location() {
            Location::Http(uri) => {
                let budget = Budget { deadline, bytes: limits.pack_bytes, of: "compressed bytes" };
                UploadPack::connect(uri, url.hosts(), budget)?.fetch(
                    sha,
                    &objects.join("pack"),
                    limits.tree_bytes,
                    interrupt,
                )?;
            }
            Location::Path(path) => local::share_objects(path, objects)?,
        }
        checkout::write(&repository, sha, &into, limits, interrupt)
    })
    .await
}

fn lookup(deadline: Instant, of: &'static str) -> Budget {
    Budget { deadline, bytes: MAX_LOOKUP_BYTES, of }
}

/// Runs blocking work that waits for the network until its deadline at most, and ends soon after its flag is
/// raised, which happens at the deadline and when the caller goes away. Returns when the work has ended, so
/// that its files can be removed.
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
        // What a server sends may bring gix to panic; that is no reason for the caller to.
        Ok(ended) => ended.unwrap_or_else(|panic| Err(RemoteError::Protocol(panic.into()))),
        Err(_) => {
            drop(raise_on_drop);
            // Its result counts no more: an interrupted checkout says that all is well.
            let _late = task.await;
            Err(RemoteError::TimedOut)
        }
    }
}
