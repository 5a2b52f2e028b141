//! `GET /v1/user`: returns the caller and the rights of the request's token.

use axum::Json;
use serde::Serialize;
use shared::access::{Caller, Scope};
use shared::clock::Rfc3339;
use shared::id::{AccountId, TokenId, UserId};
use shared::model::{ClientId, DisplayName, Email, Plan, Role};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/user");

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_user, app.clone()).calls_at_once(1))
}

/// The caller of a request, with the rights of its token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Caller)]
pub struct CallerBody {
    /// The user that the token belongs to. Null if it belongs to an application.
    #[schema(required)]
    user: Option<UserBody>,
    /// The application that the token belongs to. Null if it belongs to a user.
    #[schema(required)]
    application: Option<ApplicationBody>,
    account: AccountBody,
    /// The scopes of the request's token.
    scopes: Vec<Scope>,
    token: TokenBody,
}

/// The user who calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallingUser)]
pub struct UserBody {
    id: UserId,
    email: Email,
    role: Role,
}

/// The application that calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallingApplication)]
pub struct ApplicationBody {
    id: ClientId,
    name: DisplayName,
    /// The ID that stands for the application in fields that name a user.
    user_id: UserId,
}

/// The account that the token belongs to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CallersAccount)]
pub struct AccountBody {
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
pub struct TokenBody {
    /// The token's ID. Null for an OAuth2 token.
    #[schema(required)]
    id: Option<TokenId>,
    /// The time at which the token expires. Null if it never expires.
    #[schema(required)]
    expires_at: Option<Rfc3339>,
}

/// Get the caller
///
/// Returns the caller: the user or application, the account with its plan, and the token's scopes and expiry.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = CallerBody)))]
pub async fn get_user(caller: Caller) -> Json<CallerBody> {
    let account = caller.account();
    let application = caller.application().map(|application| ApplicationBody {
        id: application.id.clone(),
        name: application.name.clone(),
        user_id: application.user_id.clone(),
    });
    let user = match application {
        Some(_) => None,
        None => {
            let user = caller.user();
            Some(UserBody { id: user.id.clone(), email: user.email.clone(), role: user.role })
        }
    };
    Json(CallerBody {
        user,
        application,
        account: AccountBody {
            id: account.id.clone(),
            slug: account.slug.to_string(),
            plan: account.plan,
            permanent_tokens: account.permanent_tokens,
        },
        scopes: caller.scopes().to_vec(),
        token: TokenBody { id: caller.token_id().cloned(), expires_at: caller.expires_at().map(Into::into) },
    })
}
