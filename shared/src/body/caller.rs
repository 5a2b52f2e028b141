//! The caller of a request.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::authentication::Caller;
use crate::clock::Rfc3339;
use crate::id::{AccountId, RepositoryId, TokenId, TrustId, UserId};
use crate::model::{Environment, Plan, Role};
use crate::name::{ClientId, DisplayName, Email};
use crate::scope::Scope;

/// The caller of a request, with the rights of its token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Caller)]
pub struct CallerBody {
    /// The user that the token belongs to. Null if it belongs to an application or a trust.
    #[schema(required)]
    user: Option<CallingUserBody>,
    /// The application that the token belongs to. Null if it belongs to a user or a trust.
    #[schema(required)]
    application: Option<CallingApplicationBody>,
    /// The trust that issued the token. Null if it belongs to a user or an application.
    #[schema(required)]
    trust: Option<CallingTrustBody>,
    account: CallersAccountBody,
    /// The scopes of the request's token. Those of a session are those of its token or of its sign-in.
    scopes: Vec<Scope>,
    token: CallersTokenBody,
}

/// The user who calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallingUser)]
pub struct CallingUserBody {
    id: UserId,
    email: Email,
    role: Role,
}

/// The application that calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallingApplication)]
pub struct CallingApplicationBody {
    id: ClientId,
    name: DisplayName,
    /// The ID that stands for the application in fields that name a user.
    user_id: UserId,
}

/// The trust that issued the token, with the limits of the token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallingTrust)]
pub struct CallingTrustBody {
    id: TrustId,
    name: DisplayName,
    /// The ID that stands for the trust in fields that name a user.
    user_id: UserId,
    /// The only repository that the token may touch. Null for every repository of the account.
    #[schema(required)]
    repository_id: Option<RepositoryId>,
    /// The environments that the token may deploy to. Null for every environment.
    #[schema(required)]
    environments: Option<BTreeSet<Environment>>,
}

/// The account that the token belongs to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallersAccount)]
pub struct CallersAccountBody {
    id: AccountId,
    /// The account's short name.
    #[schema(examples("acme"))]
    slug: String,
    plan: Plan,
    /// Whether the account's users may create tokens that never expire.
    permanent_tokens: bool,
}

/// The token of the request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallersToken)]
pub struct CallersTokenBody {
    /// The token's ID. Null for an OAuth2 token. With a session, it is the token that the person signed in with.
    #[schema(required)]
    id: Option<TokenId>,
    /// The time at which the token or the session expires. Null if it never does.
    #[schema(required)]
    expires_at: Option<Rfc3339>,
}

impl From<&Caller> for CallerBody {
    fn from(caller: &Caller) -> Self {
        let account = caller.account();
        let application = caller.application().map(|application| CallingApplicationBody {
            id: application.id.clone(),
            name: application.name.clone(),
            user_id: application.user_id.clone(),
        });
        let trust = caller.trust().map(|trust| CallingTrustBody {
            id: trust.id.clone(),
            name: trust.name.clone(),
            user_id: trust.user_id.clone(),
            repository_id: trust.terms.repository_id.clone(),
            environments: trust.terms.environments.clone(),
        });
        let user = caller.is_a_person().then(|| {
            let user = caller.user();
            CallingUserBody { id: user.id.clone(), email: user.email.clone(), role: user.role }
        });
        Self {
            user,
            application,
            trust,
            account: CallersAccountBody {
                id: account.id.clone(),
                slug: account.slug.to_string(),
                plan: account.plan,
                permanent_tokens: account.permanent_tokens,
            },
            scopes: caller.scopes().to_vec(),
            token: CallersTokenBody { id: caller.token_id().cloned(), expires_at: caller.expires_at().map(Into::into) },
        }
    }
}
