//! Applications.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::UserId;
use crate::model::Application;
use crate::name::{ClientId, DisplayName};
use crate::scope::Scope;

/// An OAuth2 client that acts for the account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Application)]
pub struct ApplicationBody {
    /// The client's identifier at the identity provider.
    pub(crate) id: ClientId,
    pub(crate) name: DisplayName,
    /// The application's scopes. Its tokens have no other scopes.
    pub(crate) scopes: Vec<Scope>,
    /// The ID that stands for the application in fields that name a user, such as a deployment's `created_by`.
    pub(crate) user_id: UserId,
    /// The user who registered the application.
    pub(crate) created_by: UserId,
    /// The owner who answers for the application. An application is handed over to another owner when its owner is removed
    /// or loses the role.
    pub(crate) owned_by: UserId,
    /// The time of the registration.
    pub(crate) created_at: Rfc3339,
}

impl From<Application> for ApplicationBody {
    fn from(row: Application) -> Self {
        let owned_by = row.owned_by().clone();
        Self {
            id: row.id,
            name: row.name,
            scopes: row.scopes,
            user_id: row.user_id,
            created_by: row.created_by,
            owned_by,
            created_at: row.created_at.into(),
        }
    }
}
