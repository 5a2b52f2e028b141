//! The caches of builds: files that one build leaves to the next of the same branch.
//!
//! # Invariant: a cache stays where it came from
//!
//! A build can change whatever it saves. So a cache belongs to a repository, an environment and a branch or tag, its
//! [`CacheScope`], and only builds of that scope save it. What a build restores was saved in its own scope, or in that of the
//! repository's default branch in the same environment. So a build of a branch that may not be deployed to an environment
//! changes nothing that the builds of that environment restore.
//!
//! The row of a scope lists its caches and is the only way to them: each is an object of the archive with a name of 128 random bits.
//! An object never changes. Deleting the row deletes the caches for all builds, and the archive deletes the objects when
//! [`CACHE_LIFETIME`] is over.
//!
//! # AWS CodeBuild
//!
//! CodeBuild reads and writes a cache in S3 by itself, at the place that a build is started with. The row of a scope has the random
//! name of a folder for such files, because all builds share a role that may use whatever it knows the name of. Builds of the scope
//! get the same name for [`CACHE_LIFETIME`], and then a new one.

use std::convert::Infallible;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::repository::Repository;
use crate::capability;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, RepositoryId};
use crate::model::{Action, Author, Deployment, Environment, RepositoryPartition, key};
use crate::table::{Consistency, Key, Table, TableError, Transaction, Values, Write, read_item, read_items};

/// The time after which a cache that no build saves again is gone. The archive's rule for the objects has the same.
pub const CACHE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The maximum size of a cache's key, in bytes.
pub const MAX_CACHE_KEY_BYTES: usize = 512;
/// The maximum number of caches of a scope, each with another key or other paths. The newest are kept.
pub const MAX_CACHES: usize = 5;
/// The number of rows that one transaction deletes. DynamoDB takes 100 operations.
const AT_ONCE: usize = 80;

/// The builds that share caches: those of a branch or tag of a repository, deployed to an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheScope {
    account_id: AccountId,
    repository_id: RepositoryId,
    environment: Environment,
    ref_name: String,
}

/// The row of a scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildCaches {
    /// The caches, the newest first.
    #[serde(default)]
    caches: Vec<BuildCache>,
    /// The folder of CodeBuild's files, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codebuild: Option<CodeBuildFolder>,
    /// A new random text with each change, which the next change checks.
    revision: String,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    expires_at: i64,
}

/// A cache: an object of the archive that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildCache {
    /// The key in the buildspec, after its expressions have got their values. Empty if it has none.
    pub key: String,
    /// A digest of the paths in the buildspec: a build with other paths has another cache.
    pub paths: String,
    /// The size of the object in bytes.
    pub bytes: u64,
    /// The time at which the cache was saved.
    pub saved_at: Timestamp,
    /// The random name of the object's folder.
    name: String,
}

/// The folder in which CodeBuild keeps the caches of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CodeBuildFolder {
    /// The random name.
    name: String,
    /// The time at which the first build got the name.
    created_at: Timestamp,
}

/// The caches that a build asks for.
#[derive(Clone, Copy, Debug)]
pub struct CacheKeys<'a> {
    /// The digest of the paths.
    pub paths: &'a str,
    /// The key, which is compared as a whole.
    pub key: &'a str,
    /// The beginnings of the keys of caches that will do instead, in the order of preference.
    pub fallbacks: &'a [String],
}

/// The refusal to save a cache: another build has saved one since, or the caches or the repository were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheChanged;

impl CacheScope {
    /// Returns the scope of a deployment's build. `None` if the deployment is of a commit and not of a branch or tag: anybody who
    /// can write to the git host, and in a public repository anybody at all, can make a commit that the host serves.
    pub fn of(deployment: &Deployment) -> Option<Self> {
        let Deployment { account_id, repository_id, environment, ref_name, .. } = deployment;
        Some(Self {
            account_id: account_id.clone(),
            repository_id: repository_id.clone(),
            environment: *environment,
            ref_name: ref_name.clone().filter(|name| name.starts_with("refs/"))?,
        })
    }

    /// Returns the scope of the repository's default branch in the same environment, unless it is this one.
    pub async fn of_default_branch(&self, table: &Table) -> Result<Option<Self>, TableError> {
        #[derive(Deserialize)]
        struct DefaultBranch {
            default_branch: String,
        }
        let row: Option<DefaultBranch> =
            table.get(key::repository(&self.account_id, &self.repository_id), Consistency::Strong).await?;
        let Some(DefaultBranch { default_branch }) = row else { return Ok(None) };
        let scope = Self { ref_name: format!("refs/heads/{default_branch}"), ..self.clone() };
        Ok((scope != *self).then_some(scope))
    }

    /// Returns the branch or tag by its full name.
    pub fn ref_name(&self) -> &str {
        &self.ref_name
    }

    /// Returns the archive's prefix for the caches of the repository.
    pub fn folder(&self) -> String {
        format!("caches/{}/{}", self.account_id, self.repository_id)
    }

    /// Returns the archive's prefix for the object of a cache.
    pub fn prefix(&self, cache: &BuildCache) -> String {
        self.named(&cache.name)
    }

    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }

    fn key(&self) -> Key {
        RepositoryPartition::new(&self.account_id, &self.repository_id).build_caches(&self.ref_name, self.environment)
    }
}

impl BuildCache {
    /// Returns a cache with a new name.
    pub fn new(keys: CacheKeys<'_>, bytes: u64, now: Timestamp) -> Self {
        Self {
            key: keys.key.to_owned(),
            paths: keys.paths.to_owned(),
            bytes,
            saved_at: now,
            name: capability::random_name(),
        }
    }

    /// Returns whether the cache must be saved again so that it does not expire while builds use it.
    pub fn is_half_over(&self, now: Timestamp) -> bool {
        now.since(self.saved_at) > CACHE_LIFETIME / 2
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.saved_at) >= CACHE_LIFETIME
    }
}

impl BuildCaches {
    /// Reads the row of a scope. Strongly consistent.
    pub async fn load(table: &Table, scope: &CacheScope) -> Result<Option<Self>, TableError> {
        table.get(scope.key(), Consistency::Strong).await
    }

    /// Returns the cache that a build restores: the one with its key, or the newest one whose key begins with a fallback.
    pub fn find(&self, keys: CacheKeys<'_>, now: Timestamp) -> Option<&BuildCache> {
        let usable = || self.caches.iter().filter(|cache| cache.paths == keys.paths && !cache.is_over(now));
        let exact = usable().find(|cache| cache.key == keys.key);
        exact.or_else(|| keys.fallbacks.iter().find_map(|start| usable().find(|cache| cache.key.starts_with(start))))
    }

    /// Adds a saved cache to the row of its scope, in place of an earlier one with its key and paths. `before` is the row as the build
    /// found it, and `by` the deployment that runs the build. Returns the caches that the row does not list any more.
    ///
    /// # Errors
    /// Fails with [`CacheChanged`] if the row has changed since: a build must not bring back what somebody has deleted. Fails with it too
    /// if the deployment is not in progress any more: the deletion of a repository waits for its deployments, and then deletes the caches.
    pub async fn save(
        before: Option<&Self>,
        table: &Table,
        by: &Deployment,
        scope: &CacheScope,
        saved: BuildCache,
    ) -> Result<Result<Vec<BuildCache>, CacheChanged>, TableError> {
        let expires_at = saved.saved_at.plus(CACHE_LIFETIME).as_seconds();
        let earlier = before.map(|row| row.caches.as_slice()).unwrap_or_default();
        let now = saved.saved_at;
        let (mut caches, mut dropped) = (vec![saved], Vec::new());
        for cache in earlier {
            let is_replaced = (&cache.key, &cache.paths) == (&caches[0].key, &caches[0].paths);
            let list = if is_replaced || cache.is_over(now) || caches.len() == MAX_CACHES {
                &mut dropped
            } else {
                &mut caches
            };
            list.push(cache.clone());
        }
        let codebuild = before.and_then(|row| row.codebuild.clone());
        let row = Self { caches, codebuild, revision: capability::random_name(), expires_at };
        Ok(row.replace(before, table, by, scope).await?.map(|()| dropped))
    }

    /// Returns the archive's prefix of the folder in which CodeBuild keeps the caches of a scope. After [`CACHE_LIFETIME`], and after
    /// the caches were deleted, the folder is a new one, which is empty.
    ///
    /// # Errors
    /// Fails with [`CacheChanged`] if other builds keep changing the row, or the deployment is not in progress any more.
    pub async fn codebuild_folder(
        table: &Table,
        by: &Deployment,
        scope: &CacheScope,
        now: Timestamp,
    ) -> Result<Result<String, CacheChanged>, TableError> {
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let before = Self::load(table, scope).await?;
            let known = before.as_ref().and_then(|row| row.codebuild.as_ref());
            if let Some(folder) = known.filter(|folder| now.since(folder.created_at) < CACHE_LIFETIME) {
                return Ok(Ok(scope.named(&folder.name)));
            }
            let folder = CodeBuildFolder { name: capability::random_name(), created_at: now };
            let prefix = scope.named(&folder.name);
            let row = Self {
                caches: before.as_ref().map(|row| row.caches.clone()).unwrap_or_default(),
                codebuild: Some(folder),
                revision: capability::random_name(),
                expires_at: now.plus(CACHE_LIFETIME).as_seconds(),
            };
            if row.replace(before.as_ref(), table, by, scope).await?.is_ok() {
                return Ok(Ok(prefix));
            }
        }
        Ok(Err(CacheChanged))
    }

    /// Writes the row in place of the one that a build has read, while its deployment is in progress.
    async fn replace(
        &self,
        before: Option<&Self>,
        table: &Table,
        by: &Deployment,
        scope: &CacheScope,
    ) -> Result<Result<(), CacheChanged>, TableError> {
        let write = match before {
            None => Write::create(scope.key(), self, Vec::new())?,
            Some(before) => Write::put_if(
                scope.key(),
                self,
                Vec::new(),
                "revision = :was",
                Values::new().set(":was", before.revision.as_str()),
            )?,
        };
        let transaction = Transaction::new().write(write).or(|_| CacheChanged);
        transaction.write(by.lane().is_held(by)).or(|_| CacheChanged).commit(table).await
    }

    /// Returns the random names of the caches and of CodeBuild's folder.
    fn names(&self) -> impl Iterator<Item = &str> {
        let caches = self.caches.iter().map(|cache| cache.name.as_str());
        caches.chain(self.codebuild.iter().map(|folder| folder.name.as_str()))
    }
}

impl Repository {
    /// Deletes the caches of all environments, branches and tags, and returns the archive's prefixes that have their objects.
    ///
    /// # Errors
    /// Fails with `not_found` if the repository is gone.
    pub async fn clear_caches(&self, table: &Table, author: &Author, now: Timestamp) -> Result<Vec<String>> {
        let event = author.event(Action::RepositoryCacheCleared, self.target(), now).in_repository(&self.id);
        let partition = self.partition();
        let folder = format!("caches/{}/{}", self.account_id, self.id);
        let noted = Transaction::new().by(author, &event)?.write(self.exists()).or(|_| Error::not_found("Repository"));
        noted.commit(table).await??;
        let mut prefixes = Vec::new();
        loop {
            let (items, _) = table.range(partition.items(), key::BUILD_CACHES, Some(AT_ONCE as i32)).await?;
            if items.is_empty() {
                return Ok(prefixes);
            }
            for item in &items {
                let row: BuildCaches = read_item(item.clone())?;
                prefixes.extend(row.names().map(|name| format!("{folder}/{name}")));
            }
            let rows: Vec<Key> = read_items(items)?;
            let deletions = rows.into_iter().map(|key| Write::Delete { key });
            match Transaction::<Infallible>::new().writes(deletions).commit(table).await? {
                Ok(()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(key: &str, paths: &str, saved: i64) -> BuildCache {
        let keys = CacheKeys { paths, key, fallbacks: &[] };
        BuildCache::new(keys, 1, Timestamp::from_millis(saved))
    }

    #[test]
    fn a_build_finds_the_cache_of_its_key_or_the_newest_that_will_do() {
        let caches =
            vec![cache("npm-3", "a", 30), cache("npm-2", "a", 20), cache("npm-9", "b", 15), cache("", "a", 10)];
        let row = BuildCaches { caches, codebuild: None, revision: String::new(), expires_at: 0 };
        let now = Timestamp::from_millis(40);
        let fallbacks = |starts: &[&str]| starts.iter().map(|start| (*start).to_owned()).collect::<Vec<_>>();
        for (paths, key, starts, expected) in [
            ("a", "npm-2", vec!["npm-"], Some("npm-2")),
            ("a", "npm-7", vec!["yarn-", "npm-", ""], Some("npm-3")),
            ("a", "npm-7", vec!["npm-2", "npm-"], Some("npm-2")),
            ("a", "npm-", vec![], None),
            ("b", "npm-2", vec!["npm-"], Some("npm-9")),
            ("c", "npm-2", vec!["npm-"], None),
            ("a", "", vec![], Some("")),
        ] {
            let found = row.find(CacheKeys { paths, key, fallbacks: &fallbacks(&starts) }, now);
            assert_eq!(found.map(|cache| cache.key.as_str()), expected, "{paths} {key} {starts:?}");
        }
        let late = Timestamp::from_millis(20).plus(CACHE_LIFETIME);
        let keys = CacheKeys { paths: "a", key: "npm-2", fallbacks: &[] };
        assert_eq!(row.find(keys, late), None, "its object may be gone");
    }
}
