//! Changes of a repository's settings.

use std::collections::HashMap;

use super::Repository;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::ConnectionId;
use crate::model::{Action, Author, BuildMachine, ComputeType, Connection, DeployRules};
use crate::name::{BuildImage, BuildspecPath, RepositoryName, RootFolder};
use crate::permission::Visibility;
use crate::permitted::TenantId;
use crate::table::{Change, Index, IndexKey, Table, TableError, Transaction, Value, Values, Write};

/// The requested changes of a repository. Absent ones stay as they are.
#[derive(Clone, Debug, Default)]
pub struct RepositoryChange {
    /// The new name. The old one leads to the repository until another one takes it.
    pub name: Option<RepositoryName>,
    /// The new visibility.
    pub visibility: Option<Visibility>,
    /// The new URL, from which the repository can be cloned.
    pub clone_url: Option<String>,
    /// The new connection, which is for the host of the URL, or none.
    pub connection_id: Option<Option<ConnectionId>>,
    /// The new default branch, which exists.
    pub default_branch: Option<String>,
    /// The new folder in which a build starts.
    pub root_folder: Option<RootFolder>,
    /// The new path of the buildspec.
    pub buildspec_path: Option<BuildspecPath>,
    /// The new number of commits of the history that a build has.
    pub fetch_depth: Option<u16>,
    /// Whether builds have caches.
    pub cache: Option<bool>,
    /// The new image of builds in CodeBuild, or the operator's.
    pub image: Option<Option<BuildImage>>,
    /// The new size of the machine of builds in CodeBuild, or the operator's.
    pub compute_type: Option<Option<ComputeType>>,
    /// Whether builds in CodeBuild may run Docker.
    pub privileged: Option<bool>,
    /// The new rules.
    pub deploy_rules: Option<DeployRules>,
}

impl RepositoryChange {
    /// Returns the parts of the machine that the change sets.
    pub fn machine(&self) -> BuildMachine {
        BuildMachine {
            image: self.image.clone().flatten(),
            compute_type: self.compute_type.flatten(),
            privileged: self.privileged.unwrap_or_default(),
        }
    }

    fn applied_to(self, mut repository: Repository) -> Repository {
        fn set<T>(value: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *value = new;
            }
        }
        set(&mut repository.name, self.name);
        set(&mut repository.visibility, self.visibility);
        set(&mut repository.clone_url, self.clone_url);
        set(&mut repository.connection_id, self.connection_id);
        set(&mut repository.default_branch, self.default_branch);
        set(&mut repository.source.root_folder, self.root_folder);
        set(&mut repository.source.buildspec_path, self.buildspec_path);
        set(&mut repository.source.fetch_depth, self.fetch_depth);
        set(&mut repository.source.cache, self.cache);
        set(&mut repository.machine.image, self.image);
        set(&mut repository.machine.compute_type, self.compute_type);
        set(&mut repository.machine.privileged, self.privileged);
        set(&mut repository.deploy_rules, self.deploy_rules);
        repository
    }
}

/// The reasons to refuse a change of a repository.
enum ChangeRefused {
    /// The repository has another revision, or is gone.
    Changed,
    NameTaken,
    ConnectionGone,
}

impl Repository {
    /// Changes the repository if it meets the precondition `expected`. Retries after concurrent changes. Writes nothing if all
    /// fields have these values.
    ///
    /// # Errors
    /// Fails with the error of `expected`, with `name_taken` if another repository of the account has the new name, with `invalid_request` on `connection_id`
    /// if the new connection was deleted meanwhile, or with `not_found` if the repository is gone.
    pub async fn change(
        self,
        table: &Table,
        tenant: &TenantId,
        change: RepositoryChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&before)?;
            let changed = change.clone().applied_to(before.clone());
            let after = Self { revision: before.revision + 1, updated_at: now, ..changed };
            let event = author
                .event(Action::RepositoryUpdated, before.target(), now)
                .in_repository(&before.id)
                .changing("name", &before.name, &after.name)
                .changing("visibility", before.visibility, after.visibility)
                .changing("clone_url", &before.clone_url, &after.clone_url)
                .changing("connection_id", &before.connection_id, &after.connection_id)
                .changing("default_branch", &before.default_branch, &after.default_branch)
                .changing("root_folder", &before.source.root_folder, &after.source.root_folder)
                .changing("buildspec_path", &before.source.buildspec_path, &after.source.buildspec_path)
                .changing("fetch_depth", before.source.fetch_depth, after.source.fetch_depth)
                .changing("cache", before.source.cache, after.source.cache)
                .changing("image", &before.machine.image, &after.machine.image)
                .changing("compute_type", before.machine.compute_type, after.machine.compute_type)
                .changing("privileged", before.machine.privileged, after.machine.privileged)
                .changing("deploy_rules", &before.deploy_rules, &after.deploy_rules);
            if event.changes.is_empty() {
                return Ok(before);
            }
            let mut transaction = Transaction::new()
                .by(author, &event)?
                .write(after.replace_settings(before.revision)?)
                .or(|_| ChangeRefused::Changed);
            if after.name.folded() != before.name.folded() {
                let [claim, others @ ..] = before.rename(&after)?;
                transaction = transaction.write(claim).or(|_| ChangeRefused::NameTaken).writes(others);
            }
            if after.connection_id != before.connection_id {
                if let Some(used) = before.connection_use() {
                    transaction = transaction.no_longer_using(used);
                }
                if let Some(used) = after.connection_use() {
                    transaction = transaction.using(used, |_| ChangeRefused::ConnectionGone)?;
                }
            }
            match transaction.commit(table).await? {
                Ok(()) => return Ok(after),
                Err(ChangeRefused::NameTaken) => return Err(after.name_taken()),
                Err(ChangeRefused::ConnectionGone) => return Err(Connection::unknown()),
                Err(ChangeRefused::Changed) => {
                    let found = Self::by_id(table, tenant, &before.id).await?;
                    before = found.ok_or_else(|| Error::not_found("Repository"))?;
                }
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the write of all settings, if the repository has this revision. The grants stay as they are.
    fn replace_settings(&self, revision: u64) -> Result<Write, TableError> {
        let fields: [(&str, Value); 10] = [
            ("name", Value::of(&self.name)?),
            ("visibility", Value::of(&self.visibility)?),
            ("clone_url", Value::of(&self.clone_url)?),
            ("default_branch", Value::of(&self.default_branch)?),
            ("root_folder", Value::of(&self.source.root_folder)?),
            ("buildspec_path", Value::of(&self.source.buildspec_path)?),
            ("fetch_depth", Value::of(&self.source.fetch_depth)?),
            ("cache", Value::of(&self.source.cache)?),
            ("deploy_rules", Value::of(&self.deploy_rules)?),
            ("updated_at", Value::of(&self.updated_at)?),
        ];
        let in_index = |keys: &[IndexKey]| -> Vec<(&'static str, Value)> {
            let attributes = |key: &IndexKey| {
                let (partition, sort) = key.index.key_attributes();
                [(partition, Value::from(key.partition.as_str())), (sort, Value::from(key.sort.as_str()))]
            };
            keys.iter().flat_map(attributes).collect()
        };
        let BuildMachine { image, compute_type, privileged } = &self.machine;
        // A row has these only if they are not the defaults.
        let optional: [(&str, Option<Value>); 4] = [
            ("connection_id", self.connection_id.as_ref().map(Value::of).transpose()?),
            ("image", image.as_ref().map(Value::of).transpose()?),
            ("compute_type", compute_type.as_ref().map(Value::of).transpose()?),
            ("privileged", privileged.then(|| Value::of(privileged)).transpose()?),
        ];
        let absent: Vec<_> = optional.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        let present = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fields: Vec<_> = fields.into_iter().chain(present).chain(in_index(&self.index_keys())).collect();
        let sets: Vec<_> = fields.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let names: HashMap<_, _> = fields.iter().map(|(name, _)| (format!("#{name}"), (*name).to_owned())).collect();
        let values: Values = fields.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        let (public, public_sort) = Index::Public.key_attributes();
        let hidden = match self.visibility {
            Visibility::Public => Vec::new(),
            Visibility::Private => vec![public, public_sort],
        };
        let removed: Vec<_> = hidden.into_iter().chain(absent).collect();
        let remove = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let change = Change {
            expression: format!("SET {} ADD revision :one{remove}", sets.join(", ")),
            // A row from before revisions has none, and no change has been made to it.
            condition: Some("attribute_exists(pk) AND (revision = :was OR attribute_not_exists(revision))"),
            names: Some(names),
            values: values.set(":was", revision).set(":one", 1),
        };
        Ok(Write::Update { key: self.key(), change })
    }
}
