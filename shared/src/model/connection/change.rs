//! Changes of connections.

use serde_bytes::ByteBuf;

use super::{Connection, Login, Provider, reserved_names};
use crate::clock::{Rfc3339, Timestamp};
use crate::error::{Error, Result};
use crate::model::{Action, Author};
use crate::name::{DisplayName, GitUsername};
use crate::permitted::TenantId;
use crate::table::{Change, Table, TableError, Transaction, Value, Values, Write};

/// The requested changes of a connection. `None` keeps the current value.
#[derive(Clone, Debug, Default)]
pub struct ConnectionChange {
    /// The new name.
    pub name: Option<DisplayName>,
    /// The new provider.
    pub provider: Option<Provider>,
    /// The new user name. Only a `basic` connection takes one.
    pub username: Option<GitUsername>,
    /// The new installation, or `Some(None)` to find it by the repository. Only a `github_app` connection takes one.
    pub installation_id: Option<Option<u64>>,
    /// The new secret, sealed.
    pub sealed: Option<Vec<u8>>,
}

impl Connection {
    /// Changes the connection if it meets the precondition `expected`. Retries after concurrent changes. A change that changes
    /// nothing writes nothing.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the connection is gone.
    pub async fn change(
        self,
        table: &Table,
        tenant: &TenantId,
        change: ConnectionChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&before)?;
            let after = before.changed(&change, now);
            if after.revision == before.revision {
                return Ok(before);
            }
            let event = author
                .event(Action::ConnectionUpdated, before.target(), now)
                .changing("name", &before.name, &after.name)
                .changing("provider", before.provider, after.provider)
                .changing("username", before.login.username(), after.login.username())
                .changing("installation_id", before.login.installation_id(), after.login.installation_id())
                .changing(
                    "secret_updated_at",
                    Rfc3339::from(before.secret_updated_at),
                    Rfc3339::from(after.secret_updated_at),
                );
            let row = after.update(before.revision, change.sealed.as_deref())?;
            match Transaction::new().by(author, &event)?.write(row).or(|_| ()).commit(table).await? {
                Ok(()) => return Ok(after),
                Err(()) => {
                    let current = Self::find(table, tenant, &before.id).await?;
                    before = current.ok_or_else(|| Error::not_found("Connection"))?;
                }
            }
        }
        Err(TableError::Contended.into())
    }

    /// Returns the connection with the changes, and with another revision if it differs.
    fn changed(&self, change: &ConnectionChange, now: Timestamp) -> Self {
        let login = match &self.login {
            Login::Basic { username } => {
                Login::Basic { username: change.username.clone().unwrap_or_else(|| username.clone()) }
            }
            Login::GithubApp { app_id, installation_id } => Login::GithubApp {
                app_id: *app_id,
                installation_id: change.installation_id.unwrap_or(*installation_id),
            },
        };
        let after = Self {
            name: change.name.clone().unwrap_or_else(|| self.name.clone()),
            provider: change.provider.unwrap_or(self.provider),
            login,
            secret_updated_at: if change.sealed.is_some() { now } else { self.secret_updated_at },
            ..self.clone()
        };
        match after == *self && change.sealed.is_none() {
            true => after,
            false => Self { updated_at: now, revision: self.revision + 1, ..after },
        }
    }

    /// Returns the write of the changed fields. It leaves alone the number of repositories, which other transactions count.
    fn update(&self, before: u64, sealed: Option<&[u8]>) -> Result<Write, TableError> {
        let mut sets = vec![
            "#name = :name",
            "provider = :provider",
            "updated_at = :updated_at",
            "secret_updated_at = :secret_updated_at",
            "revision = :revision",
        ];
        let mut values = Values::new()
            .set(":before", before)
            .set(":name", self.name.to_string())
            .set(":provider", Value::of(&self.provider)?)
            .set(":updated_at", self.updated_at)
            .set(":secret_updated_at", self.secret_updated_at)
            .set(":revision", self.revision);
        let mut removes = "";
        match &self.login {
            Login::Basic { username } => {
                sets.push("username = :username");
                values = values.set(":username", username.to_string());
            }
            Login::GithubApp { installation_id: Some(id), .. } => {
                sets.push("installation_id = :installation_id");
                values = values.set(":installation_id", *id);
            }
            Login::GithubApp { installation_id: None, .. } => removes = " REMOVE installation_id",
        }
        if let Some(sealed) = sealed {
            sets.push("sealed = :sealed");
            values = values.set(":sealed", Value::of(&ByteBuf::from(sealed))?);
        }
        let change = Change {
            expression: format!("SET {}{removes}", sets.join(", ")),
            condition: Some("revision = :before"),
            names: reserved_names(),
            values,
        };
        Ok(Write::Update { key: self.key(), change })
    }
}
