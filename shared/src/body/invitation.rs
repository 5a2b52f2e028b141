//! Invitations.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::{InvitationId, TeamId, UserId};
use crate::model::Invitation;
use crate::name::Email;
use crate::permission::Role;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationBody {
    pub id: InvitationId,
    pub email: Email,
    /// The role that the user will have.
    pub role: Role,
    /// The teams that the user will join.
    pub teams: Vec<TeamId>,
    pub invited_by: UserId,
    pub created_at: Rfc3339,
    /// Seven days after its creation.
    pub expires_at: Rfc3339,
}

impl From<Invitation> for InvitationBody {
    fn from(row: Invitation) -> Self {
        Self {
            id: row.id,
            email: row.email,
            role: row.role,
            teams: row.teams,
            invited_by: row.invited_by,
            created_at: row.created_at.into(),
            expires_at: row.valid_until.into(),
        }
    }
}
