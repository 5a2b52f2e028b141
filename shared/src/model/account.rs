//! Accounts and their settings.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::AccountId;
use crate::model::{Action, AuditRetention, Author, Failure, FailureCode, Quota, Target, TargetKind, key};
use crate::name::{AccountSlug, EmailDomain};
use crate::permission::BasePermission;
use crate::permitted::TenantId;
use crate::table::{Change, Consistency, Guard, Table, TableError, Transaction, Values, Write, read_item};

/// The plan of an account, which sets its rate limits, the number and the time of its builds, and the size of what they may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// 60 requests a minute, 20 at once. One deployment runs at once, for 2,000 minutes a month in all.
    Starter,
    /// 600 requests a minute, 100 at once. Ten deployments run at once.
    Pro,
    /// Rate limits and numbers of builds agreed for the account, or those of Pro until they are set. Audit events are kept as long as is
    /// agreed.
    Enterprise,
}

impl Plan {
    /// Returns the plan's rate limits, as in the public contract. An Enterprise account has limits of its own in
    /// [`Account::custom_quota`]; Pro's apply until they are set.
    pub const fn quota(self) -> Quota {
        match self {
            Self::Starter => Quota { per_minute: 60, burst: 20 },
            Self::Pro | Self::Enterprise => Quota { per_minute: 600, burst: 100 },
        }
    }

    /// Returns the number of deployments that may be in progress at once.
    pub const fn concurrent_builds(self) -> u32 {
        match self {
            Self::Starter => 1,
            Self::Pro | Self::Enterprise => 10,
        }
    }

    /// Returns the number of build minutes in a calendar month after which no deployment is created, or `None` if there is no bound.
    pub const fn build_minutes(self) -> Option<u32> {
        match self {
            Self::Starter => Some(2_000),
            Self::Pro | Self::Enterprise => None,
        }
    }

    /// Returns the most that a deployment may keep as artifacts.
    pub const fn artifact_quota(self) -> ArtifactQuota {
        let mebibytes = match self {
            Self::Starter => 100,
            Self::Pro => 1024,
            Self::Enterprise => 5 * 1024,
        };
        ArtifactQuota { files: 10_000, mebibytes }
    }

    /// Returns the maximum size of the files in a cache together, in bytes.
    pub const fn cache_bytes(self) -> u64 {
        let mebibytes = match self {
            Self::Starter => 100,
            Self::Pro => 512,
            Self::Enterprise => 1024,
        };
        mebibytes << 20
    }

    /// Returns the plan of an account. An account that is gone has the smallest one.
    pub async fn of_account(table: &Table, id: &AccountId) -> Result<Self, TableError> {
        Ok(Account::load(table, id).await?.map_or(Self::Starter, |account| account.plan))
    }
}

impl ArtifactQuota {
    /// Returns whether so many files of so many bytes are more than may be kept.
    pub const fn is_exceeded(self, files: usize, bytes: u64) -> bool {
        files > self.files || bytes > self.mebibytes << 20
    }

    /// Returns the failure of a deployment whose artifacts exceed the quota. `found` says how many artifacts there are.
    pub fn failure(self, found: &str) -> Failure {
        let Self { files, mebibytes } = self;
        let message = format!(
            "The artifacts are not kept: they are {found}, and the account's plan allows {files} files of {mebibytes} MiB together; name \
             fewer files in the buildspec's artifacts"
        );
        Failure::new(FailureCode::ArtifactsTooLarge, message)
    }
}

/// The most that a deployment may keep as artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactQuota {
    /// The number of files.
    pub files: usize,
    /// The size of all files together, in MiB.
    pub mebibytes: u64,
}

/// The row of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's ID, which is part of the key of each of its items.
    pub id: AccountId,
    /// The first half of the full names of the account's repositories. No other account has it.
    pub slug: AccountSlug,
    /// The plan, whose rate limits apply unless the account has its own.
    pub plan: Plan,
    /// Rate limits that replace the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_quota: Option<Quota>,
    /// The time for which the account's audit events are kept, instead of that of all plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_audit_retention: Option<AuditRetention>,
    /// The number of deployments that may be in progress at once, instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_concurrent_builds: Option<u32>,
    /// The number of build minutes in a month, instead of the plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_build_minutes: Option<u32>,
    /// Whether the account's users may create tokens that never expire.
    #[serde(default = "allowed")]
    pub permanent_tokens: bool,
    /// The permission of every member on every repository of the account.
    #[serde(default)]
    pub base_permission: BasePermission,
    /// The email domains whose users become members once the OAuth2 issuer has verified their address. A domain belongs
    /// to one account only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email_domains: Vec<EmailDomain>,
    /// The time at which the account was created.
    pub created_at: Timestamp,
    /// The version that each conditional write checks, and that of the ETag. Each change adds one. Rows from before versions
    /// were kept have none.
    #[serde(default)]
    pub revision: u64,
}

/// The requested changes of an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountChange {
    /// The new base permission, or `None` to keep the current one.
    pub base_permission: Option<BasePermission>,
    /// Whether tokens may have no end from now on, or `None` to keep the current setting. Existing tokens keep theirs.
    pub permanent_tokens: Option<bool>,
}

/// Returns the setting of accounts that were created before the setting existed.
fn allowed() -> bool {
    true
}

impl Account {
    /// Returns the version of the settings. Another account has another one.
    pub fn version(&self) -> String {
        format!("{}-{}", self.id, self.revision)
    }

    /// Returns the rate limits that apply to the account.
    pub fn quota(&self) -> Quota {
        self.custom_quota.unwrap_or(self.plan.quota())
    }

    /// Returns the time for which the account's audit events are kept.
    pub fn audit_retention(&self) -> AuditRetention {
        self.custom_audit_retention.unwrap_or_default()
    }

    /// Returns the number of deployments that may be in progress at once.
    pub fn concurrent_builds(&self) -> u32 {
        self.custom_concurrent_builds.unwrap_or(self.plan.concurrent_builds())
    }

    /// Returns the number of build minutes in a calendar month after which no deployment is created, if there is one.
    pub fn build_minutes(&self) -> Option<u32> {
        self.custom_build_minutes.or(self.plan.build_minutes())
    }

    /// Reads the account as it was a moment ago.
    pub async fn load(table: &Table, id: &AccountId) -> Result<Option<Self>, TableError> {
        table.get(key::account(id), Consistency::Eventual).await
    }

    /// Returns the current row of the caller's account. The row that authentication cached may be older.
    ///
    /// # Errors
    /// Fails with `not_found` if the account is gone.
    pub async fn of_caller(table: &Table, tenant: &TenantId) -> Result<Self> {
        let found: Option<Self> = table.get(key::account(tenant), Consistency::Strong).await?;
        found.ok_or_else(not_found)
    }

    pub(super) fn target(&self) -> Target {
        Target::new(TargetKind::Account, &self.id, Some(&self.slug))
    }

    /// Returns the condition that the account allows permanent tokens.
    pub(super) fn allows_permanent_tokens(account: &AccountId) -> Guard {
        Guard {
            key: key::account(account),
            condition: "attribute_not_exists(permanent_tokens) OR permanent_tokens = :guard_permanent",
            names: None,
            values: Values::new().set(":guard_permanent", true),
        }
    }

    /// Changes the account if it meets the precondition `expected`. Retries after concurrent changes.
    ///
    /// # Errors
    /// Fails with the error of `expected`, or with `not_found` if the account is gone.
    pub async fn change(
        self,
        table: &Table,
        change: AccountChange,
        expected: impl Fn(&Self) -> Result<()>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Self> {
        let mut before = self;
        let mut attempts = table.attempts();
        while attempts.begin().await {
            expected(&before)?;
            let base = change.base_permission.unwrap_or(before.base_permission);
            let permanent = change.permanent_tokens.unwrap_or(before.permanent_tokens);
            if (base, permanent) == (before.base_permission, before.permanent_tokens) {
                return Ok(before);
            }
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
            let after = Self {
                base_permission: base,
                permanent_tokens: permanent,
                revision: before.revision + 1,
                ..before.clone()
            };
            let event = author
                .event(Action::AccountUpdated, before.target(), now)
                .changing("base_permission", before.base_permission, after.base_permission)
                .changing("permanent_tokens", before.permanent_tokens, after.permanent_tokens);
            let transaction = Transaction::new()
                .write(Write::Update { key: key::account(&before.id), change: update })
                .or(|current| current)
                .by(author, &event)?;
            before = match transaction.commit(table).await? {
                Ok(()) => return Ok(after),
                Err(current) => read_item(current.ok_or_else(not_found)?)?,
            };
        }
        Err(TableError::Contended.into())
    }
}

fn not_found() -> Error {
    Error::not_found("Account")
}
