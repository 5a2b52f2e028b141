//! The caller of a request.

use serde::Serialize;

use crate::authentication::Caller;
use crate::clock::Rfc3339;
use crate::id::{AccountId, TokenId, UserId};
use crate::model::{Plan, Role};
use crate::name::{ClientId, DisplayName, Email};
use crate::scope::Scope;

/// The caller of a request, with the rights of its token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Caller)]
pub struct CallerBody {
    /// The user that the token belongs to. Null if it belongs to an application.
    #[schema(required)]
    user: Option<CallingUserBody>,
    /// The application that the token belongs to. Null if it belongs to a user.
    #[schema(required)]
    application: Option<CallingApplicationBody>,
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
        let user = match application {
            Some(_) => None,
            None => {
                let user = caller.user();
                Some(CallingUserBody { id: user.id.clone(), email: user.email.clone(), role: user.role })
            }
        };
        Self {
            user,
            application,
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
