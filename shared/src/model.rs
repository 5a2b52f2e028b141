//! The items of the table. `key` makes the keys of all items, and [`SCHEMA`] lists the kinds of items. The page
//! `infra/docs/table.md` describes both, and has the cost of each access.

mod account;
mod application;
mod audit;
mod build;
mod build_cache;
mod build_machine;
mod build_minutes;
mod build_policy;
mod connection;
mod counter;
mod deploy_rule;
mod deployment;
mod domain;
mod due;
mod environment;
mod hook;
mod idempotency;
mod identity;
mod invitation;
pub(crate) mod key;
mod member;
mod new_account;
mod ownership;
mod permit;
mod rate_limit;
mod recount;
mod repository;
mod schema;
mod session;
mod standing;
mod team;
mod token;
mod trust;
mod variable;
mod webhook;
mod withdrawal;

pub use account::*;
pub use application::*;
pub use audit::{
    AUDIT_RETENTION_DAYS, Action, ActorKind, AuditActor, AuditEvent, AuditFilter, AuditRetention, Author, Credential,
    FieldChange, RequestOrigin, Target, TargetKind,
};
pub use build::*;
pub use build_cache::*;
pub use build_machine::*;
pub use build_minutes::*;
pub use build_policy::*;
pub use connection::*;
pub use deploy_rule::*;
pub use deployment::*;
pub use due::DueEntry;
pub use environment::{
    DEFAULT_REMOVED_AFTER_DAYS, Destination, DueEnvironment, MAX_ENVIRONMENTS, MatchingPattern, NewEnvironment,
    REMOVED_AFTER_DAYS,
};
pub use hook::*;
pub use idempotency::*;
pub use identity::*;
pub use invitation::*;
pub use key::{CONNECTION_PROBE, LaneKey, RepositoryPartition};
pub use member::*;
pub use new_account::*;
pub use permit::*;
pub use rate_limit::*;
pub use recount::{Finding, Recount};
pub use repository::*;
pub use schema::{IndexEntry, ItemKind, Presence, SCHEMA};
pub use session::*;
pub(crate) use standing::*;
pub use team::*;
pub use token::*;
pub use trust::*;
pub use variable::*;
pub use webhook::*;
pub use withdrawal::*;

pub use crate::name::*;
pub use crate::permission::{BasePermission, Role, Visibility};
