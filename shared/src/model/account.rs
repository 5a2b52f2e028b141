//! Accounts and their settings.

use serde::{Deserialize, Serialize};

use crate::attempts::Attempts;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::AccountId;
use crate::model::{Quota, key};
use crate::name::{AccountSlug, EmailDomain};
use crate::permission::BasePermission;
use crate::permitted::TenantId;
use crate::table::{Change, ConditionFailed, Consistency, Table, TableError, Values, read_item};

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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub slug: AccountSlug,
    pub plan: Plan,
    /// Takes the place of the plan's limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_quota: Option<Quota>,
    /// Whether the account's users may create tokens that never expire.
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

/// What holds for accounts that were made before there was a choice.
fn allowed() -> bool {
    true
}

impl Account {
    pub fn quota(&self) -> Quota {
        self.custom_quota.unwrap_or(self.plan.quota())
    }

    pub(crate) async fn load(table: &Table, id: &AccountId) -> Result<Option<Self>, TableError> {
        table.get(key::account(id), Consistency::Eventual).await
    }

    /// The caller's account as it is now, which an environment that knows the caller may not have seen yet.
    ///
    /// # Errors
    /// `not_found` when it is gone.
    pub async fn of_caller(table: &Table, tenant: &TenantId) -> Result<Self> {
        let found: Option<Self> = table.get(key::account(tenant), Consistency::Strong).await?;
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
        let mut attempts = Attempts::new();
        while attempts.begin().await {
            expected(&before)?;
            let base = change.base_permission.unwrap_or(before.base_permission);
            let permanent = change.permanent_tokens.unwrap_or(before.permanent_tokens);
            let values = Values::new()
                .set(":base", base.as_str())
                .set(":permanent", permanent)
                .set(":next", before.revision + 1);
            let (condition, values) = match before.revision {
                0 => ("attribute_exists(pk) AND attribute_not_exists(revision)", values),
                revision => ("revision = :version", values.set(":version", revision)),
            };
            let update = Change {
                expression: "SET base_permission = :base, permanent_tokens = :permanent, revision = :next".to_owned(),
                condition: Some(condition),
                values,
                ..Change::default()
            };
            before = match table.update(key::account(&before.id), update).await? {
                Ok(changed) => return Ok(read_item(changed)?),
                Err(ConditionFailed { current }) => read_item(current.ok_or_else(not_found)?)?,
            };
        }
        Err(TableError::Contended.into())
    }
}

fn not_found() -> Error {
    Error::not_found("Account")
}
