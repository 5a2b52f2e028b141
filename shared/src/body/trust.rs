//! Trusts.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::{RepositoryId, TrustId, UserId};
use crate::model::{Conditions, Environment, Trust};
use crate::name::{Audience, DisplayName, IssuerUrl};
use crate::scope::Scope;

/// A trust in an issuer's tokens.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Trust)]
pub struct TrustBody {
    pub(crate) id: TrustId,
    pub(crate) name: DisplayName,
    pub(crate) issuer: IssuerUrl,
    pub(crate) audience: Audience,
    pub(crate) claims: Conditions,
    /// The scopes that the trust's tokens may have.
    pub(crate) scopes: Vec<Scope>,
    /// The only repository that the trust's tokens may touch. Null for every repository of the account.
    #[schema(required)]
    pub(crate) repository_id: Option<RepositoryId>,
    /// The environments that the trust's tokens may deploy to. Null for every environment.
    #[schema(required)]
    pub(crate) environments: Option<BTreeSet<Environment>>,
    /// The ID that stands for the trust in fields that name a user, such as a deployment's `created_by`.
    pub(crate) user_id: UserId,
    pub(crate) created_by: UserId,
    /// The person who answers for the trust. A trust is handed over to an owner when the person is removed or is no owner or
    /// admin any more.
    pub(crate) owned_by: UserId,
    pub(crate) created_at: Rfc3339,
}

impl From<Trust> for TrustBody {
    fn from(row: Trust) -> Self {
        let owned_by = row.owned_by().clone();
        Self {
            id: row.id,
            name: row.name,
            issuer: row.terms.issuer,
            audience: row.terms.audience,
            claims: row.terms.claims,
            scopes: row.terms.scopes,
            repository_id: row.terms.repository_id,
            environments: row.terms.environments,
            user_id: row.user_id,
            created_by: row.created_by,
            owned_by,
            created_at: row.created_at.into(),
        }
    }
}
