//! Members of an account.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::UserId;
use crate::model::User;
use crate::name::Email;
use crate::permission::Role;

/// A user of the account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Member)]
pub struct MemberBody {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) role: Role,
    /// The time at which the user joined the account.
    pub(crate) created_at: Rfc3339,
}

impl From<User> for MemberBody {
    fn from(row: User) -> Self {
        Self { id: row.id, email: row.email, role: row.role, created_at: row.created_at.into() }
    }
}
