//! Audit events: who changed what, and from where.
//!
//! An event is written in the transaction that makes the change, so that there is no change without its event and no event
//! without its change. An [`Author`] makes the events of requests, and [`AuditEvent::by_system`] those of deployments that the
//! API moves on by itself.

mod action;
mod author;
mod listing;
mod retention;

pub use action::*;
pub use author::*;
pub use listing::*;
pub use retention::*;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::id::{AccountId, AuditEventId, RepositoryId, RequestId, SessionId, TokenId, UserId};
use crate::model::{Environment, key};
use crate::name::ClientId;
use crate::sort::{Position, Sort};
use crate::table::{Consistency, Index, IndexKey, Key, Table, TableError, Transaction, Values, Write};

/// A change that somebody made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The event's ID.
    pub id: AuditEventId,
    /// The account that was changed.
    pub account_id: AccountId,
    /// The time of the change.
    pub created_at: Timestamp,
    /// The kind of the change.
    pub action: Action,
    /// Whoever made the change. `None` if the API made it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<AuditActor>,
    /// The proof of the actor's rights.
    pub credential: Credential,
    /// The address that the request came from. `None` if no request made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// The request that made the change. `None` if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The changed resource.
    pub target: Target,
    /// The repository that the target belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<RepositoryId>,
    /// The number of the event among those with its ordering key. `None` until the transaction that writes the event finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The changed fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// The row's TTL for DynamoDB, in seconds since the Unix epoch.
    expires_at: i64,
}

/// Whoever made a change. The name is that of the time of the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditActor {
    /// The kind of the actor.
    pub kind: ActorKind,
    /// The id of the user, of the user that stands for the application, the trust or the hook, or of the user in whose place an
    /// operator acts.
    pub id: UserId,
    /// The user's email address, the application's, the trust's or the hook's name, or `operator`.
    pub name: String,
}

/// The kinds of actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A person.
    User,
    /// A program with OAuth2 client credentials.
    Application,
    /// A program with a token of an issuer that the account trusts.
    Trust,
    /// A hook, to which a git host or another program has sent a push.
    Hook,
    /// An operator of the stack, who needs no token.
    Operator,
    /// The API itself, which starts and ends deployments.
    System,
}

/// The proof of an actor's rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A token of this API: a personal access token, or one that a trust issued.
    Token(TokenId),
    /// A token of the OAuth2 issuer, by its client.
    OAuth(ClientId),
    /// A session of the dashboard.
    Session(SessionId),
    /// An invitation's or a hook's secret, or the rights of an operator or of the API itself.
    Other,
}

/// The resource that a change is about. The name is that of the time of the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The kind of the resource.
    pub kind: TargetKind,
    /// The resource's ID. That of an environment is its repository's ID, a slash and its name.
    pub id: String,
    /// The resource's name, if it has one.
    pub name: Option<String>,
}

impl Target {
    pub(crate) fn new(kind: TargetKind, id: impl ToString, name: Option<&dyn ToString>) -> Self {
        Self { kind, id: id.to_string(), name: name.map(ToString::to_string) }
    }
}

/// A field with its values before and after a change. A secret value is never among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's name in the API.
    pub field: String,
    /// Null for a new resource.
    pub from: Value,
    /// Null for a deleted resource.
    pub to: Value,
}

impl AuditEvent {
    /// Returns the event of a change that no request made, without the changed fields.
    pub(crate) fn by_system(
        account: &AccountId,
        retention: AuditRetention,
        action: Action,
        target: Target,
        at: Timestamp,
    ) -> Self {
        Self {
            id: AuditEventId::random(),
            account_id: account.clone(),
            created_at: at,
            action,
            actor: None,
            credential: Credential::Other,
            source_address: None,
            request_id: None,
            target,
            repository_id: None,
            sequence: action.is_first().then_some(1),
            changes: Vec::new(),
            expires_at: retention.end(at).as_seconds(),
        }
    }

    /// Records a field, if its value changed.
    pub(crate) fn changing(mut self, field: &str, from: impl Serialize, to: impl Serialize) -> Self {
        let value = |value: serde_json::Result<Value>| value.expect("fields of resources are plain data");
        let (from, to) = (value(serde_json::to_value(from)), value(serde_json::to_value(to)));
        if from != to {
            self.changes.push(FieldChange { field: field.to_owned(), from, to });
        }
        self
    }

    /// Records a field of a new resource.
    pub(crate) fn setting(self, field: &str, to: impl Serialize) -> Self {
        self.changing(field, Value::Null, to)
    }

    /// Records a field that tells more about the target, and that the change keeps.
    pub(crate) fn about(mut self, field: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("fields of resources are plain data");
        self.changes.push(FieldChange { field: field.to_owned(), from: value.clone(), to: value });
        self
    }

    /// Records the repository that the target belongs to.
    pub(crate) fn in_repository(self, repository: &RepositoryId) -> Self {
        Self { repository_id: Some(repository.clone()), ..self }
    }

    /// Records the number of the event, if the target counts its events itself.
    pub(crate) fn numbered(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// Returns the environment that the change is about: the target, or the one that the changed fields name.
    pub fn environment(&self) -> Option<Environment> {
        let field = self.changes.iter().find(|change| change.field == "environment");
        let named = field.and_then(|change| change.to.as_str().or(change.from.as_str()));
        let own = self.target.id.rsplit_once('/').filter(|_| self.target.kind == TargetKind::Environment);
        own.map(|(_, name)| name).or(named)?.parse().ok()
    }

    /// Returns the resource whose events have an order: the target. The exchange of a token does not change the trust, so the issued
    /// token is in its place.
    pub fn ordering_key(&self) -> &str {
        match (self.action, &self.credential) {
            (Action::TrustExchanged, Credential::Token(token)) => token.as_str(),
            _ => &self.target.id,
        }
    }

    /// Returns the number of the event: a later one with the same ordering key has a higher one, whatever the clocks of the functions
    /// say. An event that has no number yet has the time in its place, from which its number is counted.
    pub fn sequence(&self) -> u64 {
        self.sequence.unwrap_or_else(|| u64::try_from(self.created_at.as_millis()).unwrap_or_default())
    }

    /// Returns the event of an account with this time and ID.
    pub async fn load(
        table: &Table,
        account: &AccountId,
        at: Timestamp,
        id: &AuditEventId,
    ) -> Result<Option<Self>, TableError> {
        table.get(Key::new(key::audit_events(account), position(at, id)), Consistency::Strong).await
    }

    /// Adds the row to a transaction, and the number of the event if the target does not count its events itself. The counter of a
    /// target's events stays when the target is deleted, because an environment or a variable of the same name has the same ID.
    pub(super) fn record<R>(self, transaction: Transaction<'_, R>) -> Result<Transaction<'_, R>, TableError> {
        if self.sequence.is_some() {
            return Ok(transaction.write(self.row()?));
        }
        Ok(transaction.counted(self.sequence(), move |number| {
            let key = key::last_audit_event(&self.account_id, self.ordering_key());
            let counter = LastEvent { last_number: number, expires_at: self.expires_at };
            let condition = "attribute_not_exists(last_number) OR last_number < :number";
            let counter = Write::put_if(key, &counter, Vec::new(), condition, Values::new().set(":number", number))?;
            Ok([counter, self.clone().numbered(number).row()?])
        }))
    }

    fn row(&self) -> Result<Write, TableError> {
        let account = &self.account_id;
        let index_key = |(index, partition)| IndexKey { index, partition, sort: self.position(Sort::Created) };
        let by = |actor: &AuditActor| (Index::ByActor, key::audit_events_by(account, actor.id.as_str()));
        let by = self.actor.as_ref().map(by);
        let on = (Index::ByTarget, key::audit_events_on(account, &self.target.id));
        let index_keys = by.into_iter().chain([on]).map(index_key).collect();
        let key = Key::new(key::audit_events(account), self.position(Sort::Created));
        Write::create(key, self, index_keys)
    }
}

/// The row of the counter of the events with an ordering key. It is kept as long as the last event. A later event has the time as its
/// number, which is higher.
#[derive(Serialize)]
struct LastEvent {
    last_number: u64,
    expires_at: i64,
}

impl Position for AuditEvent {
    fn position(&self, _: Sort) -> String {
        position(self.created_at, &self.id)
    }
}

fn position(at: Timestamp, id: &AuditEventId) -> String {
    format!("{:015}#{id}", at.as_millis())
}
