//! Teams with their members and repositories.

use serde::Serialize;

use super::member::MemberBody;
use super::repository::RepositoryBody;
use crate::clock::Rfc3339;
use crate::id::TeamId;
use crate::model::{Team, TeamGrant, TeamMember, User};
use crate::name::{Description, TeamName};
use crate::permission::Permission;

/// A group of members that share permissions on repositories.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Team)]
pub struct TeamBody {
    pub(crate) id: TeamId,
    pub(crate) name: TeamName,
    pub(crate) description: Description,
    /// The time of the creation.
    pub(crate) created_at: Rfc3339,
    /// The time of the last change of the name or the description.
    pub(crate) updated_at: Rfc3339,
}

impl From<Team> for TeamBody {
    fn from(row: Team) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// A member of a team.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TeamMember)]
pub struct TeamMemberBody {
    pub(crate) member: MemberBody,
    /// The time at which the user joined the team.
    pub(crate) added_at: Rfc3339,
}

impl From<(TeamMember, User)> for TeamMemberBody {
    fn from((row, user): (TeamMember, User)) -> Self {
        Self { member: user.into(), added_at: row.added_at.into() }
    }
}

/// A repository of a team, with the team's permission on it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TeamRepository)]
pub struct TeamRepositoryBody {
    pub(crate) repository: RepositoryBody,
    pub(crate) permission: Permission,
    /// The time at which the team got the repository.
    pub(crate) added_at: Rfc3339,
}

impl From<(TeamGrant, RepositoryBody)> for TeamRepositoryBody {
    fn from((row, repository): (TeamGrant, RepositoryBody)) -> Self {
        Self { repository, permission: row.permission, added_at: row.granted_at.into() }
    }
}
