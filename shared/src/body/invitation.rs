//! Invitations.

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::{InvitationId, TeamId, UserId};
use crate::model::Invitation;
use crate::name::Email;
use crate::permission::Role;

/// An invitation to the account that is neither accepted nor revoked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationBody {
    pub(crate) id: InvitationId,
    pub(crate) email: Email,
    /// The role that the invited person will have.
    pub(crate) role: Role,
    /// The teams that the invited person will join.
    pub(crate) teams: Vec<TeamId>,
    /// The user who created the invitation.
    pub(crate) invited_by: UserId,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
    /// The time at which the invitation expires: seven days after its creation.
    pub(crate) expires_at: Rfc3339,
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
