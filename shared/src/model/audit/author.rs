//! Authors of changes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Action, ActorKind, AuditActor, AuditEvent, AuditRetention, Credential, Target};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{AccountId, RequestId, UserId};
use crate::model::{
    AccessToken, ActorName, Application, ExchangedToken, Hook, IdempotencyClaim, Session, Trust, User, key,
};
use crate::name::ClientId;
use crate::permission::Role;
use crate::table::{Guard, Key, TableError, Transaction, Value, Values};

/// Whoever makes a change, with the conditions under which they may still make it.
///
/// # Invariant: authority is current
///
/// A change that its author may not make any more is not made. The request is decided on the author's current rows, and the
/// transaction that makes the change repeats the decision: each row that gave the author the right is one of its guards. So
/// whoever takes the right away can count on it from the moment of their answer.
#[derive(Clone, Debug)]
pub struct Author {
    account: AccountId,
    actor: AuditActor,
    credential: Credential,
    origin: Option<RequestOrigin>,
    guards: Vec<Guard>,
    /// The claim on the idempotency key of the request.
    claim: Option<IdempotencyClaim>,
    /// The person who registered the application, or created the trust or the hook, that makes the change.
    registered_by: Option<UserId>,
    /// The time for which the account's events are kept.
    retention: AuditRetention,
}

/// The request that a change is made by.
#[derive(Clone, Debug)]
pub struct RequestOrigin {
    /// The address that the gateway saw.
    pub source_address: IpAddr,
    /// The id of the request.
    pub request_id: RequestId,
}

impl Author {
    /// Returns the holder of a personal access token as an author.
    pub(crate) fn with_token(user: &User, token: &AccessToken) -> Self {
        Self::person(user, Credential::Token(token.id.clone()), vec![user.guard(), token.guard()])
    }

    /// Returns a person with a token of the OAuth2 issuer as an author.
    pub(crate) fn by_oauth(user: &User, client: &ClientId) -> Self {
        Self::person(user, Credential::OAuth(client.clone()), vec![user.guard()])
    }

    /// Returns an application as an author.
    pub(crate) fn of_application(application: &Application) -> Self {
        Self {
            account: application.account_id.clone(),
            actor: AuditActor {
                kind: ActorKind::Application,
                id: application.user_id.clone(),
                name: application.name.to_string(),
            },
            credential: Credential::OAuth(application.id.clone()),
            origin: None,
            guards: vec![program(key::application(&application.id), &application.user_id)],
            claim: None,
            registered_by: Some(application.created_by.clone()),
            retention: AuditRetention::default(),
        }
    }

    /// Returns the holder of a trust's token as an author.
    pub(crate) fn of_trust(trust: &Trust, token: &ExchangedToken) -> Self {
        Self {
            account: trust.account_id.clone(),
            actor: AuditActor { kind: ActorKind::Trust, id: trust.user_id.clone(), name: trust.name.to_string() },
            credential: Credential::Token(token.id.clone()),
            origin: None,
            guards: vec![program(key::trust(&trust.id), &trust.user_id)],
            claim: None,
            registered_by: Some(trust.created_by.clone()),
            retention: trust.audit_retention,
        }
    }

    /// Returns a hook as the author of what a delivery asks for. It has no guards: a hook can't change who may do what, and its
    /// current row is read with each delivery.
    pub(crate) fn of_hook(hook: &Hook, origin: RequestOrigin) -> Self {
        Self {
            account: hook.account_id.clone(),
            actor: AuditActor { kind: ActorKind::Hook, id: hook.user_id.clone(), name: hook.name() },
            credential: Credential::Other,
            origin: Some(origin),
            guards: Vec::new(),
            claim: None,
            registered_by: Some(hook.created_by.clone()),
            retention: hook.audit_retention,
        }
    }

    /// Returns a person whose rights the change itself creates as an author: an invited one, who has no token yet.
    pub(crate) fn newcomer(user: &User, credential: Credential) -> Self {
        Self::person(user, credential, Vec::new())
    }

    /// Returns an operator of the stack, who acts in a user's place, as an author. The operator's rights are those of the
    /// stack, so no row of the table has to prove them.
    pub fn operator(account: &AccountId, user: &UserId) -> Self {
        Self {
            account: account.clone(),
            actor: AuditActor { kind: ActorKind::Operator, id: user.clone(), name: "operator".to_owned() },
            credential: Credential::Other,
            origin: None,
            guards: Vec::new(),
            claim: None,
            registered_by: None,
            retention: AuditRetention::default(),
        }
    }

    fn person(user: &User, credential: Credential, guards: Vec<Guard>) -> Self {
        let actor = AuditActor { kind: ActorKind::User, id: user.id.clone(), name: user.email.to_string() };
        let account = user.account_id.clone();
        let retention = AuditRetention::default();
        Self { account, actor, credential, origin: None, guards, claim: None, registered_by: None, retention }
    }

    /// Returns the user who makes the change, or who stands for the application, the trust or the hook.
    pub fn user_id(&self) -> &UserId {
        &self.actor.id
    }

    /// Returns the name and the kind of whoever makes the change, as events have them.
    pub fn actor(&self) -> &AuditActor {
        &self.actor
    }

    /// Returns the account that the author changes.
    pub fn account_id(&self) -> &AccountId {
        &self.account
    }

    /// Returns the name by which people know the author.
    pub(crate) fn name(&self) -> ActorName {
        let name = self.actor.name.clone();
        let email = (self.actor.kind == ActorKind::User).then(|| name.clone());
        ActorName { kind: Some(self.actor.kind), name, email }
    }

    /// Returns the author of the consequences of a change that has been made. Nothing else has to allow them.
    pub(crate) fn of_consequences(&self) -> Self {
        Self { guards: Vec::new(), claim: None, ..self.clone() }
    }

    /// Adds conditions without which the change is not made.
    pub(crate) fn guarded_by(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }

    /// Returns the person who registered the application, or created the trust or the hook, that makes the change, if one
    /// makes it.
    pub(crate) fn registered_by(&self) -> Option<&UserId> {
        self.registered_by.as_ref()
    }

    /// # Errors
    /// Fails with `insufficient_permission` and this message if an application or a trust's token makes the change.
    pub fn must_be_a_person(&self, message: &'static str) -> Result<(), Error> {
        match self.actor.kind {
            ActorKind::Application | ActorKind::Trust | ActorKind::Hook | ActorKind::System => {
                Err(Error::not_permitted(message))
            }
            ActorKind::User | ActorKind::Operator => Ok(()),
        }
    }

    /// Names the session whose cookie the request has as the credential, without which the change is not made.
    pub(crate) fn in_session(mut self, session: &Session) -> Self {
        self.credential = Credential::Session(session.id.clone());
        self.guards.push(session.guard());
        self
    }

    /// Names the request that the change is made by.
    pub(crate) fn from(self, origin: RequestOrigin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// Has the events of the changes kept for the time that the account has.
    pub fn keeping(self, retention: AuditRetention) -> Self {
        Self { retention, ..self }
    }

    /// Returns the time for which the account's events are kept.
    pub fn retention(&self) -> AuditRetention {
        self.retention
    }

    /// Completes the claim on the request's idempotency key with the change.
    pub(crate) fn once(self, claim: Option<IdempotencyClaim>) -> Self {
        Self { claim, ..self }
    }

    /// Returns the claim on the request's idempotency key, if the request has one.
    pub(crate) fn claim(&self) -> Option<&IdempotencyClaim> {
        self.claim.as_ref()
    }

    /// Returns the event of a change, without the changed fields.
    pub(crate) fn event(&self, action: Action, target: Target, at: Timestamp) -> AuditEvent {
        AuditEvent {
            actor: Some(self.actor.clone()),
            credential: self.credential.clone(),
            source_address: self.origin.as_ref().map(|origin| origin.source_address),
            request_id: self.origin.as_ref().map(|origin| origin.request_id.clone()),
            ..AuditEvent::by_system(&self.account, self.retention, action, target, at)
        }
    }
}

impl<R> Transaction<'_, R> {
    /// Adds the event of the change, the conditions under which its author may make it, and the completion of the claim on the
    /// request's idempotency key.
    pub(crate) fn by(self, author: &Author, event: &AuditEvent) -> Result<Self, TableError> {
        let completion = author.claim.as_ref().map(|claim| claim.complete(&event.target.id));
        Ok(self.recording(event)?.claimed(completion).allowed_to(author))
    }

    /// Adds the conditions under which the author may make a change, for a part of a change that has no event of its own.
    pub(crate) fn allowed_to(self, author: &Author) -> Self {
        self.guarded(author.guards.iter().cloned())
    }

    /// Adds the event of a change that needs no other condition than its own.
    pub(crate) fn recording(self, event: &AuditEvent) -> Result<Self, TableError> {
        event.clone().record(self)
    }
}

impl User {
    /// Returns the condition that the user still has what gave them their rights: the role, and for a member the teams.
    fn guard(&self) -> Guard {
        let values = Values::new().set(":guard_role", self.role.as_str());
        let (condition, values) = match self.role {
            Role::Admin | Role::Owner => ("#guard_role = :guard_role", values),
            Role::Member if self.teams.is_empty() => {
                ("#guard_role = :guard_role AND attribute_not_exists(teams)", values)
            }
            Role::Member => {
                let teams = Value::set(self.teams.iter().map(ToString::to_string));
                ("#guard_role = :guard_role AND teams = :guard_teams", values.set(":guard_teams", teams))
            }
        };
        let names = HashMap::from([("#guard_role".to_owned(), "role".to_owned())]);
        Guard { key: key::user(&self.account_id, &self.id), condition, names: Some(names), values }
    }
}

impl AccessToken {
    /// Returns the condition that the token is unchanged: it is neither revoked nor rotated, and has its scopes.
    fn guard(&self) -> Guard {
        let (condition, values) = match self.version {
            0 => ("attribute_exists(pk)", Values::new()),
            version => ("version = :guard_version", Values::new().set(":guard_version", version)),
        };
        Guard { key: key::token(&self.account_id, &self.id), condition, names: None, values }
    }
}

impl Session {
    /// Returns the condition that the session has not been ended.
    fn guard(&self) -> Guard {
        let key = key::session(self.hash());
        Guard { key, condition: "attribute_exists(pk)", names: None, values: Values::new() }
    }
}

/// Returns the condition that an application or a trust still exists. Another one with the key stands for another user.
fn program(key: Key, user_id: &UserId) -> Guard {
    let values = Values::new().set(":guard_user", user_id.as_str());
    Guard { key, condition: "user_id = :guard_user", names: None, values }
}
