//! Accounts.

use serde::Serialize;

use crate::clock::{Rfc3339, Timestamp};
use crate::id::AccountId;
use crate::model::{Account, CapacityUsage, Month, Plan, Quota};
use crate::permission::BasePermission;

/// An account with its plan and its settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Account)]
pub struct AccountBody {
    pub(crate) id: AccountId,
    /// The account's short name, the first part of its repositories' full names.
    #[schema(examples("acme"))]
    pub(crate) slug: String,
    pub(crate) plan: Plan,
    pub(crate) rate_limit: Quota,
    /// The time for which an audit event is kept, in days: 400, unless an Enterprise account has its own.
    #[schema(minimum = 30, maximum = 3653, examples(400))]
    pub(crate) audit_retention_days: u16,
    pub(crate) concurrent_builds: ConcurrentBuildsBody,
    pub(crate) build_minutes: BuildMinutesBody,
    /// The permission of every member on every repository of the account.
    pub(crate) base_permission: BasePermission,
    /// Whether the account's users may create tokens that never expire.
    pub(crate) permanent_tokens: bool,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
}

/// The deployments of the account that are in progress. Further ones wait in the queue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConcurrentBuilds)]
pub struct ConcurrentBuildsBody {
    /// The number of deployments in progress.
    #[schema(examples(3))]
    pub(crate) running: usize,
    /// The number of deployments that may be in progress at once.
    #[schema(minimum = 1, examples(10))]
    pub(crate) limit: u32,
}

/// The time that the account's deployments have run in this calendar month, in UTC.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BuildMinutes)]
pub struct BuildMinutesBody {
    /// The minutes of all deployments that have ended in this month, of which the last has begun.
    #[schema(examples(128))]
    pub(crate) used: u64,
    /// The number of minutes after which no deployment is created. Null if there is no bound.
    #[schema(required, minimum = 1, examples(2000))]
    pub(crate) limit: Option<u32>,
    /// The time at which the next month begins.
    pub(crate) resets_at: Rfc3339,
}

impl AccountBody {
    /// Returns the body of an account that uses this capacity.
    pub fn new(row: Account, usage: CapacityUsage, now: Timestamp) -> Self {
        Self {
            concurrent_builds: ConcurrentBuildsBody {
                running: usage.permits.running.len(),
                limit: row.concurrent_builds(),
            },
            build_minutes: BuildMinutesBody {
                used: usage.minutes.minutes(),
                limit: row.build_minutes(),
                resets_at: Month::of(now).end().into(),
            },
            rate_limit: row.quota(),
            audit_retention_days: row.audit_retention().days(),
            id: row.id,
            slug: row.slug.to_string(),
            plan: row.plan,
            base_permission: row.base_permission,
            permanent_tokens: row.permanent_tokens,
            created_at: row.created_at.into(),
        }
    }
}
