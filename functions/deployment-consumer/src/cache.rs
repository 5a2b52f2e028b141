//! The cache of a build: restored before its first phase and saved after its last one.
//!
//! A build decides what is in its cache, so nothing of it is trusted: its files are found without following links, its size has
//! bounds, and what the commit has is never replaced. Nothing about a cache fails a deployment. What goes wrong is a line of the
//! log.

mod codebuild;
mod folder;
mod key;

pub(crate) use codebuild::place as place_in_codebuild;

use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use archive::Archive;
use sha2::{Digest, Sha256};
use shared::App;
use shared::clock::Timestamp;
use shared::hex::hex;
use shared::model::{BuildCache, BuildCaches, CacheChanged, CacheKeys, CacheScope, Deployment, MAX_CACHE_KEY_BYTES};
use shared::table::TableError;
use tokio::task::spawn_blocking;
use tokio::time::{error::Elapsed, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::folder::{LeftOut, Packing, merge};
use crate::beneath::Folder;
use crate::buildspec::{Cache, CachedFiles};
use crate::process::{Run, RunError};
use crate::run_log::RunLog;
use crate::source::{Bounds, Packer, unpack};

/// The maximum number of files, folders and links in a cache.
const MAX_FILES: usize = 100_000;
/// The time that restoring a cache may take, and the time that saving it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The part of the invocation's time that is left for the deployment's end.
const RESERVE: Duration = Duration::from_secs(10);

/// The reason why a build of a commit has no cache.
const OF_A_COMMIT: &str = "a cache belongs to a branch or tag, and the deployment is of a commit";

/// The surroundings of a build with a cache.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub app: &'a App,
    pub archive: &'a Archive,
    pub log: &'a RunLog,
    /// Canceled when the run must stop.
    pub stop: &'a CancellationToken,
    /// The maximum size of the files together, in bytes.
    pub quota: u64,
    /// The folder of the run.
    pub folder: &'a Path,
    /// The end of the invocation.
    pub deadline: Timestamp,
}

/// The cache of one build.
pub(crate) struct Caching<'a> {
    surroundings: Surroundings<'a>,
    cache: &'a Cache,
    deployment: &'a Deployment,
    scope: CacheScope,
    keys: Keys,
    /// The row of the scope as it was before the first phase.
    before: Option<BuildCaches>,
    source: Folder,
    home: Folder,
}

/// The values by which the cache of a build is found.
struct Keys {
    paths: String,
    key: String,
    fallbacks: Vec<String>,
}

/// The reason why a cache is not restored or saved.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Said(String),
    #[error("the table failed")]
    Table(#[from] TableError),
    #[error("the archive failed")]
    Archive(#[from] archive::Error),
    #[error("a process failed")]
    Run(#[from] RunError),
    #[error("a file can't be read or written")]
    File(#[from] io::Error),
    #[error("it took too long")]
    Late(#[from] Elapsed),
}

impl<'a> Caching<'a> {
    /// Restores the cache of a build. Returns `None` if the build has none, and says why.
    pub(crate) async fn restore(
        surroundings: Surroundings<'a>,
        cache: &'a Cache,
        deployment: &'a Deployment,
        run: &Run<'_>,
    ) -> Option<Self> {
        match Self::begin(surroundings, cache, deployment, run).await {
            Ok(caching) => {
                if cache.action.restores()
                    && let Err(failed) = caching.get().await
                {
                    surroundings.tell("The cache is not restored", &failed).await;
                }
                Some(caching)
            }
            Err(failed) => {
                surroundings.tell("The build has no cache", &failed).await;
                None
            }
        }
    }

    async fn begin(
        surroundings: Surroundings<'a>,
        cache: &'a Cache,
        deployment: &'a Deployment,
        run: &Run<'_>,
    ) -> Result<Self, Failed> {
        let scope = CacheScope::of(deployment).ok_or_else(|| Failed::Said(OF_A_COMMIT.to_owned()))?;
        let keys = Keys::of(cache, deployment, run).await?;
        let before = BuildCaches::load(surroundings.app.table(), &scope).await?;
        let home = run.home();
        fs::create_dir_all(&home)?;
        let (source, home) = (run.source.try_clone()?, Folder::open(&home)?);
        Ok(Self { surroundings, cache, deployment, scope, keys, before, source, home })
    }

    /// Finds the cache and puts its files in their places.
    async fn get(&self) -> Result<(), Failed> {
        let Surroundings { app, archive, log, .. } = self.surroundings;
        let now = app.clock().now();
        let mut found = self.before.as_ref().and_then(|row| row.find(self.keys.all(), now).cloned());
        if found.is_none()
            && let Some(scope) = self.scope.of_default_branch(app.table()).await?
        {
            let row = BuildCaches::load(app.table(), &scope).await?;
            found = row.and_then(|row| row.find(self.keys.all(), now).cloned());
        }
        let Some(found) = found else {
            log.say("There is no cache yet").await;
            return Ok(());
        };
        let zip = unnamed_file().await?;
        let mut content = tokio::fs::File::from_std(zip.try_clone()?);
        if !timeout(LIMIT, archive.get_cache(&self.scope.prefix(&found), found.bytes, &mut content)).await?? {
            return Err(Failed::Said("its file is gone".to_owned()));
        }
        let left = self.put_in_place(zip).await?;
        let key = if found.key.is_empty() { String::new() } else { format!(" {}", found.key) };
        log.say(format!("Restored the cache{key} of {} ({} bytes)", found.saved_at, found.bytes)).await;
        if left > 0 {
            log.say(format!("Left as the commit has them, and not as the cache: {left} file(s)")).await;
        }
        Ok(())
    }

    /// Unpacks the whole zip before it moves a file, so that a damaged one changes nothing.
    async fn put_in_place(&self, zip: File) -> io::Result<usize> {
        let Surroundings { folder, quota, stop, .. } = self.surroundings;
        let unpacked = folder.join("cache");
        let places = [("source", self.source.try_clone()?), ("home", self.home.try_clone()?)];
        in_time(LIMIT, stop, move |stop| {
            let moved = unpack(zip, &unpacked, Bounds::new(quota, MAX_FILES, stop)).and_then(|()| {
                let mut left = 0;
                for (name, place) in &places {
                    let from = unpacked.join(name);
                    if from.is_dir() {
                        left += merge(Folder::open(&from)?.as_fd(), place.as_fd())?;
                    }
                }
                Ok(left)
            });
            fs::remove_dir_all(&unpacked)?;
            moved
        })
        .await
    }

    /// Saves the cache of a build that has succeeded.
    pub(crate) async fn save(self, run: &Run<'_>) {
        if self.cache.action.saves()
            && let Err(failed) = self.put(run).await
        {
            self.surroundings.tell("The cache is not saved", &failed).await;
        }
    }

    async fn put(&self, run: &Run<'_>) -> Result<(), Failed> {
        let Surroundings { app, archive, log, deadline, .. } = self.surroundings;
        let now = app.clock().now();
        let exact = CacheKeys { fallbacks: &[], ..self.keys.all() };
        let current = self.before.as_ref().and_then(|row| row.find(exact, now));
        if self.cache.key.is_some() && current.is_some_and(|current| !current.is_half_over(now)) {
            log.say(format!("The cache {} is not saved again: a cache with a key does not change", self.keys.key))
                .await;
            return Ok(());
        }
        let limit = LIMIT.min(deadline.since(now).saturating_sub(RESERVE));
        let (left_out, zip) = self.pack(run, limit).await?;
        let bytes = zip.metadata()?.len();
        let saved = BuildCache::new(self.keys.all(), bytes, now);
        let prefix = self.scope.prefix(&saved);
        timeout(limit, archive.put_cache(&prefix, &mut tokio::fs::File::from_std(zip))).await??;
        let row = BuildCaches::save(self.before.as_ref(), app.table(), self.deployment, &self.scope, saved).await?;
        let (said, unused) = match row {
            Ok(dropped) => {
                let unused = dropped.iter().map(|cache| self.scope.prefix(cache)).collect();
                (format!("Saved the cache ({bytes} bytes)"), unused)
            }
            Err(CacheChanged) => {
                let why = "another build has saved one meanwhile, or the cache was cleared";
                (format!("The cache is not saved: {why}"), vec![prefix])
            }
        };
        log.say(said).await;
        self.say_left_out(left_out).await;
        delete(archive, app, unused).await;
        Ok(())
    }

    /// Packs the files that the buildspec names. Returns the number of those that are left out, and the zip.
    async fn pack(&self, run: &Run<'_>, limit: Duration) -> Result<(LeftOut, File), Failed> {
        let Surroundings { log, quota, stop, .. } = self.surroundings;
        let (files, unusable) = self.cache.select(run.source.path(), &run.home(), &run.variables_at_start());
        for why in unusable {
            log.say(format!("Left out of the cache: {}", run.redaction.redact(&why))).await;
        }
        let (source, home, mut zip) = (self.source.try_clone()?, self.home.try_clone()?, unnamed_file().await?);
        let packed = in_time(limit, stop, move |stop| {
            let CachedFiles { source: in_source, home: in_home } = files;
            let mut packer = Packer::new(zip.try_clone()?, Bounds::new(quota, MAX_FILES, stop));
            let is_of_git = |path: &Path| path.components().any(|name| name.as_os_str() == ".git");
            let selects_source =
                |path: &Path| in_source.place(path).is_some() && (in_source.names_git() || !is_of_git(path));
            let selects_home = |path: &Path| in_home.place(path).is_some();
            let left_out = Packing::of(&mut packer, &selects_source, source.as_fd(), "source")?;
            let left_out = left_out + Packing::of(&mut packer, &selects_home, home.as_fd(), "home")?;
            packer.finish()?;
            zip.rewind()?;
            Ok((left_out, zip))
        });
        packed.await.map_err(|error| match error.kind() {
            io::ErrorKind::QuotaExceeded => Failed::Said(format!(
                "it would have more than {MAX_FILES} files or {} MiB, which is what the account's plan allows",
                quota >> 20
            )),
            _ => error.into(),
        })
    }

    async fn say_left_out(&self, LeftOut { special, unreadable }: LeftOut) {
        let log = self.surroundings.log;
        if special > 0 {
            log.say(format!("Left out of the cache: {special} special file(s)")).await;
        }
        if unreadable > 0 {
            log.say(format!("Left out of the cache: {unreadable} file(s) or folder(s) that can't be read")).await;
        }
    }
}

impl Surroundings<'_> {
    /// Says in the log of the deployment what is about its build, and in the log of the function what is about the API.
    async fn tell(&self, what: &str, failed: &Failed) {
        let why = match failed {
            Failed::Said(why) => why.clone(),
            Failed::Late(_) => format!("it took longer than {} s", LIMIT.as_secs()),
            Failed::File(error) if error.kind() == io::ErrorKind::TimedOut => "there was no time left".to_owned(),
            Failed::File(error) if error.kind() == io::ErrorKind::QuotaExceeded => "it is too large".to_owned(),
            Failed::File(error) => format!("its files can't be read or written ({})", error.kind()),
            Failed::Table(_) | Failed::Archive(_) | Failed::Run(_) => {
                self.app.log().warn("a cache was not used", failed);
                "the API could not reach it".to_owned()
            }
        };
        self.log.say(format!("{what}: {why}")).await;
    }
}

impl Keys {
    /// Returns the keys with the values of their expressions.
    async fn of(cache: &Cache, deployment: &Deployment, run: &Run<'_>) -> Result<Self, Failed> {
        let paths = digest_of_paths(cache, deployment);
        let key = match &cache.key {
            Some(key) => evaluated(key, run).await?,
            None => String::new(),
        };
        let mut fallbacks = Vec::new();
        for key in &cache.fallback_keys {
            fallbacks.push(evaluated(key, run).await?);
        }
        Ok(Self { paths, key, fallbacks })
    }

    fn all(&self) -> CacheKeys<'_> {
        CacheKeys { paths: &self.paths, key: &self.key, fallbacks: &self.fallbacks }
    }
}

/// Returns a digest of the root folder and of the paths of a cache.
fn digest_of_paths(cache: &Cache, deployment: &Deployment) -> String {
    let mut digest = Sha256::new().chain_update(deployment.source.root_folder.as_str());
    for path in &cache.paths {
        digest.update([0]);
        digest.update(path);
    }
    let mut digest = hex(&digest.finalize());
    digest.truncate(32);
    digest
}

/// Returns a key with the values of its expressions. Keys are in the log, so they have no secrets.
async fn evaluated(key: &str, run: &Run<'_>) -> Result<String, Failed> {
    let refuse = |why: String| Err(Failed::Said(why));
    let (text, source) = (key.to_owned(), run.source.try_clone()?);
    let with_digests = spawn_blocking(move || key::with_digests(&text, &source)).await.map_err(io::Error::other)?;
    let Ok(with_digests) = with_digests else {
        return refuse(format!("its key {key} has a pattern that is none, or a file can't be read"));
    };
    match run.evaluate(&with_digests).await? {
        None => refuse(format!("its key {key} can't be evaluated")),
        Some(value) if value.is_empty() || value.len() > MAX_CACHE_KEY_BYTES || value.chars().any(char::is_control) => {
            refuse(format!("its key {key} must have 1 to {MAX_CACHE_KEY_BYTES} bytes of one line"))
        }
        Some(value) if run.redaction.redact(&value) != value => refuse(format!("its key {key} contains a secret")),
        Some(value) => Ok(value),
    }
}

/// Creates a file that no build can find, because it has no name.
async fn unnamed_file() -> io::Result<File> {
    spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)?
}

/// Deletes caches that no row lists. What fails is deleted by the archive's rule.
async fn delete(archive: &Archive, app: &App, prefixes: Vec<String>) {
    for prefix in prefixes {
        if let Err(error) = archive.delete_cache(&prefix).await {
            app.log().warn("a cache that is not used any more could not be deleted", &error);
        }
    }
}

/// Works in a thread, and tells the work to stop when the time is over, when the run must stop, or when nobody waits any more.
async fn in_time<T: Send + 'static>(
    limit: Duration,
    stop: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let over = stop.child_token();
    let _guard = over.clone().drop_guard();
    let mut done = spawn_blocking({
        let over = over.clone();
        move || work(over)
    });
    let result = tokio::select! {
        result = &mut done => result,
        () = sleep(limit) => {
            over.cancel();
            done.await
        }
    };
    result.map_err(io::Error::other)?
}
