//! Stored variables: those of an account, of a repository and of an environment, which builds get.
//!
//! A scope has one set of variables. Each change makes a version of the whole set, and writes it twice in one transaction: as the
//! current set, and as a version that nothing changes any more. A deployment only refers to versions, so that its creation copies
//! no value. A retry or a rollback refers to the same versions.
//!
//! Versions are kept as long as the account or the repository. A secret that was deleted stays in the versions that had it, encrypted: an earlier
//! deployment needs it, and no response has it. A secret is sealed by itself, so that a change of another variable opens none.

mod frozen;
mod scope;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorCode, Result};
use crate::hex::hex;
use crate::id::{AccountId, RepositoryId};
use crate::model::key::VariableKeys;
use crate::model::{Action, AuditActor, AuditEvent, Author, Environment};
use crate::name::VariableName;
use crate::table::{Consistency, Table, TableError, Transaction, Write};

pub use frozen::*;
pub use scope::*;

/// The maximum number of variables in a scope.
pub const MAX_STORED_VARIABLES: usize = 100;
/// The maximum size of all names and values in a scope, in bytes.
pub const MAX_STORED_BYTES: usize = 64 * 1024;

/// The variables of a scope, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableSet {
    /// The number of changes of the set so far. 0 if it has never had a variable.
    pub version: u64,
    /// The variables.
    pub variables: BTreeMap<String, StoredVariable>,
}

/// A variable of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVariable {
    /// The value.
    pub value: StoredValue,
    /// The size of the value, in bytes, before it was encrypted.
    pub bytes: usize,
    /// The version of the set in which the variable got its value.
    pub version: u64,
    /// The time at which the variable got its value.
    pub updated_at: Timestamp,
    /// Whoever gave the variable its value.
    pub updated_by: AuditActor,
}

/// The value of a stored variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredValue {
    /// A value that everybody may read who may read the scope.
    Plain(String),
    /// A secret, sealed to the context of its scope and its name.
    Sealed(ByteBuf),
}

/// The reasons to refuse a change of a set.
enum ChangeRefused {
    /// Another request has changed the set.
    Changed,
    RepositoryGone,
    EnvironmentGone,
}

impl StoredValue {
    /// Returns whether the value is secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(text) => text.as_bytes(),
            Self::Sealed(sealed) => sealed,
        }
    }
}

impl VariableSet {
    /// Reads the current set of a scope. Strongly consistent.
    pub async fn load(table: &Table, scope: &VariableScope) -> Result<Self, TableError> {
        Ok(table.get(scope.keys().current(), Consistency::Strong).await?.unwrap_or_default())
    }

    /// Reads a version of a set, unless its scope was deleted.
    pub async fn load_version(table: &Table, scope: &VariableScope, version: u64) -> Result<Option<Self>, TableError> {
        table.get(scope.keys().version(version), Consistency::Strong).await
    }

    /// Creates a variable, or replaces its value. Writes nothing if the variable has this plain value. `bytes` is the size of the
    /// value before it was sealed.
    ///
    /// # Errors
    /// Fails with `limit_reached` if the scope would have too many variables or too large ones, and with `not_found` if its
    /// repository or environment is gone.
    pub async fn put(
        table: &Table,
        scope: &VariableScope,
        name: &VariableName,
        (value, bytes): (StoredValue, usize),
        author: &Author,
        now: Timestamp,
    ) -> Result<StoredVariable> {
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let before = Self::load(table, scope).await?;
            let replaced = before.variables.get(name.as_str());
            if let Some(same) = replaced.filter(|same| !value.is_secret() && same.value == value) {
                return Ok(same.clone());
            }
            let (action, was_secret) = match replaced {
                None => (Action::VariableCreated, None),
                Some(replaced) => (Action::VariableUpdated, Some(replaced.value.is_secret())),
            };
            let version = before.version + 1;
            let event = scope.event(author, action, name, now).changing(
                "version",
                replaced.map(|replaced| replaced.version),
                version,
            );
            let event = match was_secret {
                Some(was) if was == value.is_secret() => event.about("secret", was),
                was => event.changing("secret", was, value.is_secret()),
            };
            let updated_by = author.actor().clone();
            let variable = StoredVariable { value: value.clone(), bytes, version, updated_at: now, updated_by };
            let mut after = before;
            after.variables.insert(name.as_str().to_owned(), variable.clone());
            after.check_size(scope)?;
            if after.write(table, scope, author, &event).await? {
                return Ok(variable);
            }
        }
        Err(TableError::Contended.into())
    }

    /// Deletes a variable.
    ///
    /// # Errors
    /// Fails with `not_found` if the scope has no such variable, or its repository is gone.
    pub async fn delete(
        table: &Table,
        scope: &VariableScope,
        name: &VariableName,
        author: &Author,
        now: Timestamp,
    ) -> Result<()> {
        let mut attempts = table.attempts();
        while attempts.begin().await {
            let mut set = Self::load(table, scope).await?;
            let deleted = set.variables.remove(name.as_str()).ok_or_else(|| Error::not_found("Variable"))?;
            let event = scope
                .event(author, Action::VariableDeleted, name, now)
                .changing("secret", deleted.value.is_secret(), serde_json::Value::Null)
                .changing("version", deleted.version, serde_json::Value::Null);
            if set.write(table, scope, author, &event).await? {
                return Ok(());
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the write that deletes the current set of an environment. Its versions stay, for the deployments that have them.
    pub(super) fn deletion(account: &AccountId, repository: &RepositoryId, environment: Environment) -> Write {
        Write::Delete { key: VariableKeys::of_environment(account, repository, environment).current() }
    }

    /// Writes the set as the version after the one that it was read in. Returns `false` if there is one already.
    async fn write(
        mut self,
        table: &Table,
        scope: &VariableScope,
        author: &Author,
        event: &AuditEvent,
    ) -> Result<bool> {
        let was = self.version;
        self.version = was + 1;
        let keys = scope.keys();
        let current = match was {
            0 => Write::create(keys.current(), &self, Vec::new())?,
            _ => Write::replace(keys.current(), &self, Vec::new(), "version = :version", was)?,
        };
        let mut transaction = Transaction::new()
            .by(author, event)?
            .write(current)
            .or(|_| ChangeRefused::Changed)
            // A set that was deleted with its environment starts with the first version again.
            .write(Write::put(keys.version(self.version), &self)?);
        if let Some(exists) = scope.repository_exists() {
            transaction = transaction.write(exists).or(|_| ChangeRefused::RepositoryGone);
        }
        if let Some(exists) = scope.environment_exists() {
            transaction = transaction.write(exists).or(|_| ChangeRefused::EnvironmentGone);
        }
        match transaction.commit(table).await? {
            Ok(()) => Ok(true),
            Err(ChangeRefused::Changed) => Ok(false),
            Err(ChangeRefused::RepositoryGone) => Err(Error::not_found("Repository")),
            Err(ChangeRefused::EnvironmentGone) => Err(Error::not_found("Environment")),
        }
    }

    fn check_size(&self, scope: &VariableScope) -> Result<()> {
        let refused = |message| Err(Error::new(ErrorCode::LimitReached, message));
        let noun = scope.level().noun();
        if self.variables.len() > MAX_STORED_VARIABLES {
            return refused(format!(
                "The {noun} has {MAX_STORED_VARIABLES} variables, the most that it may have; delete one first"
            ));
        }
        if self.variables.iter().map(|(name, variable)| name.len() + variable.bytes).sum::<usize>() > MAX_STORED_BYTES {
            let kib = MAX_STORED_BYTES / 1024;
            return refused(format!(
                "The names and values of the {noun}'s variables would exceed {kib} KiB; delete some, or make values shorter"
            ));
        }
        Ok(())
    }

    /// Returns the SHA-256 of the names and values, in hexadecimal digits. Secrets count in their encrypted form, so that the digest
    /// tells nothing about them.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (name, variable) in &self.variables {
            for part in [name.as_bytes(), &[u8::from(variable.value.is_secret())], variable.value.bytes()] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        hex(&digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::model::ActorKind;
    use crate::table::{Item, read_item};

    fn set(variables: &[(&str, StoredValue)]) -> VariableSet {
        let actor = AuditActor { kind: ActorKind::User, id: UserId::random(), name: "ada@acme.example".to_owned() };
        let variable = |value: &StoredValue| StoredVariable {
            bytes: value.bytes().len(),
            value: value.clone(),
            version: 1,
            updated_at: Timestamp::from_millis(0),
            updated_by: actor.clone(),
        };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), variable(value))).collect();
        VariableSet { version: 1, variables }
    }

    fn plain(text: &str) -> StoredValue {
        StoredValue::Plain(text.to_owned())
    }

    fn sealed(text: &str) -> StoredValue {
        StoredValue::Sealed(ByteBuf::from(text))
    }

    #[test]
    fn a_row_has_all_of_a_set() {
        let set = set(&[("A", plain("1")), ("B", sealed("x"))]);
        let row: Item = serde_dynamo::to_item(&set).unwrap();
        assert_eq!(read_item::<VariableSet>(row).unwrap(), set);
    }

    #[test]
    fn different_variables_have_different_digests() {
        let sets = [
            set(&[]),
            set(&[("A", plain("1"))]),
            set(&[("A", sealed("1"))]),
            set(&[("A", plain("2"))]),
            set(&[("B", plain("1"))]),
            set(&[("A", plain("1")), ("B", plain("2"))]),
            set(&[("A", plain("1B")), ("B", plain(""))]),
            set(&[("A", plain("")), ("B", plain("12"))]),
        ];
        for (at, one) in sets.iter().enumerate() {
            let same: Vec<_> = sets.iter().filter(|other| other.digest() == one.digest()).collect();
            assert_eq!(same.len(), 1, "{at}");
        }
        let later = VariableSet { version: 2, ..sets[1].clone() };
        assert_eq!(later.digest(), sets[1].digest(), "the digest is that of what a build gets");
    }
}
