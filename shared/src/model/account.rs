//! Accounts and their users.

use std::collections::BTreeSet;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::access::{Permission, Tenant};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AccountId, TeamId, UserId};
use crate::model::identity::claim_domain;
use crate::model::{AccessToken, Email, EmailDomain, Lifetime};
use crate::rate_limit::Quota;
use crate::table::{
    Change, ConditionFailed, Consistency, Item, Key, Table, TableError, TransactFailed, Write, read_item,
};
use crate::token::TokenSecret;

/// The short name of an account, the first half of a repository's full name: 1 to 39 characters of a-z, 0-9 and
/// single hyphens inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AccountSlug(String);

impl AccountSlug {
    /// Whether a path means this account: as with a repository's name, case does not matter.
    pub fn is(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 39 characters of a-z, 0-9 and single hyphens inside")]
pub struct InvalidSlug;

impl FromStr for AccountSlug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let words_are_fine = text.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if words_are_fine && text.len() <= 39 { Ok(Self(text.to_owned())) } else { Err(InvalidSlug) }
    }
}

impl TryFrom<String> for AccountSlug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl std::fmt::Display for AccountSlug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    Starter,
    Pro,
    Enterprise,
}

impl Plan {
    /// The plan's rate limits (the public contract's table). Enterprise has its own on the account; these stand in
    /// until they are set.
    pub const fn quota(self) -> Quota {
        match self {
            Self::Starter => Quota { per_minute: 60, burst: 20 },
            Self::Pro | Self::Enterprise => Quota { per_minute: 600, burst: 100 },
        }
    }
}

/// What every member may do in every repository of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BasePermission {
    None,
    #[default]
    Read,
    Deploy,
    Admin,
}

impl BasePermission {
    pub const fn as_str(self) -> &'static str {
        match self.permission() {
            None => "none",
            Some(permission) => permission.as_str(),
        }
    }

    pub const fn permission(self) -> Option<Permission> {
        match self {
            Self::None => None,
            Self::Read => Some(Permission::Read),
            Self::Deploy => Some(Permission::Deploy),
            Self::Admin => Some(Permission::Admin),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub slug: AccountSlug,
    pub plan: Plan,
    /// Takes the place of the plan's limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_quota: Option<Quota>,
    /// Whether its users may make tokens that never expire.
    #[serde(default = "allowed")]
    pub permanent_tokens: bool,
    #[serde(default)]
    pub base_permission: BasePermission,
    /// Who has a verified address of these at the OAuth2 issuer is a member. No other account has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email_domains: Vec<EmailDomain>,
    pub created_at: Timestamp,
    /// Grows with each change; what each conditional write names, and the ETag. Rows from before it was kept have none.
    #[serde(default)]
    pub revision: u64,
}

/// What a change of an account asks for.
#[derive(Clone, Copy, Debug)]
pub struct AccountChange {
    pub base_permission: Option<BasePermission>,
    pub permanent_tokens: Option<bool>,
}

/// Changes of the same account that one gives way to.
const MAX_ATTEMPTS: usize = 8;

/// What holds for accounts that were made before there was a choice.
fn allowed() -> bool {
    true
}

impl Account {
    pub fn quota(&self) -> Quota {
        self.custom_quota.unwrap_or(self.plan.quota())
    }

    pub(crate) async fn load(table: &Table, id: &AccountId) -> Result<Option<Self>, TableError> {
        table.get(account_key(id), Consistency::Eventual).await
    }

    /// The caller's account as it is now, which an environment that knows the caller may not have seen yet.
    ///
    /// # Errors
    /// `not_found` when it is gone.
    pub async fn of_caller(table: &Table, tenant: &Tenant) -> Result<Self> {
        let found: Option<Self> = table.get(account_key(&tenant.account().id), Consistency::Strong).await?;
        found.ok_or_else(not_found)
    }

    /// Makes the change if the account is as `expected` says of it, whatever others change meanwhile.
    ///
    /// # Errors
    /// What `expected` says, and `not_found` when the account is gone.
    pub async fn change(
        self,
        table: &Table,
        change: AccountChange,
        expected: impl Fn(&Self) -> Result<()>,
    ) -> Result<Self> {
        let mut before = self;
        for _ in 0..MAX_ATTEMPTS {
            expected(&before)?;
            let base = change.base_permission.unwrap_or(before.base_permission);
            let permanent = change.permanent_tokens.unwrap_or(before.permanent_tokens);
            let number = |n: u64| AttributeValue::N(n.to_string());
            let mut values = Item::from([
                (":base".to_owned(), AttributeValue::S(base.as_str().to_owned())),
                (":permanent".to_owned(), AttributeValue::Bool(permanent)),
                (":next".to_owned(), number(before.revision + 1)),
            ]);
            let condition = match before.revision {
                0 => "attribute_exists(pk) AND attribute_not_exists(revision)",
                revision => {
                    values.insert(":version".to_owned(), number(revision));
                    "revision = :version"
                }
            };
            let update = Change {
                expression: "SET base_permission = :base, permanent_tokens = :permanent, revision = :next".to_owned(),
                condition: Some(condition),
                values,
                ..Change::default()
            };
            before = match table.update(account_key(&before.id), update).await? {
                Ok(changed) => return Ok(read_item(changed)?),
                Err(ConditionFailed { current }) => read_item(current.ok_or_else(not_found)?)?,
            };
        }
        Err(TransactFailed::Conflict.into())
    }
}

fn not_found() -> Error {
    Error::not_found("Account")
}

#[derive(Serialize)]
struct SlugClaim {
    account_id: AccountId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub account_id: AccountId,
    pub email: Email,
    pub role: Role,
    pub created_at: Timestamp,
    /// The teams that the user is in. Here, so that they are known as soon as the caller is.
    #[serde(default, with = "serde_dynamo::string_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<TeamId>,
}

/// What somebody is in the account. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Member,
    /// Manages members, invitations, teams and repositories.
    Admin,
    /// Makes owners as well.
    Owner,
}

impl Role {
    pub const ALL: [Role; 3] = [Self::Member, Self::Admin, Self::Owner];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// Everything that a new account starts with, written at once.
pub struct NewAccount<'a> {
    pub account: &'a Account,
    pub owner: &'a User,
    pub token: &'a AccessToken,
    pub lifetime: Lifetime,
    pub secret: &'a TokenSecret,
}

impl NewAccount<'_> {
    /// # Errors
    /// [`TransactFailed::Conditions`] when the slug, which comes first, or a mail domain is taken.
    pub async fn create(self, table: &Table) -> Result<(), TransactFailed> {
        let writes = || {
            let mut writes = vec![
                Write::create(
                    slug_key(&self.account.slug),
                    &SlugClaim { account_id: self.account.id.clone() },
                    Vec::new(),
                )?,
                Write::create(account_key(&self.account.id), self.account, Vec::new())?,
            ];
            for domain in &self.account.email_domains {
                writes.push(claim_domain(domain, &self.account.id)?);
            }
            writes.extend(self.token.first(self.secret, self.lifetime)?);
            writes.extend(self.owner.writes()?);
            Ok(writes)
        };
        table.transact(writes().map_err(TransactFailed::Table)?).await
    }
}

pub(super) fn account_key(id: &AccountId) -> Key {
    Key { pk: format!("ACCT#{id}"), sk: "ACCOUNT".to_owned() }
}

fn slug_key(slug: &AccountSlug) -> Key {
    Key { pk: format!("SLUG#{slug}"), sk: "SLUG".to_owned() }
}
