//! Accounts.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::AccountId;
use crate::model::{Account, Plan, Quota};
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
    /// The permission of every member on every repository of the account.
    pub(crate) base_permission: BasePermission,
    /// Whether the account's users may create tokens that never expire.
    pub(crate) permanent_tokens: bool,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
}

impl From<Account> for AccountBody {
    fn from(row: Account) -> Self {
        Self {
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
