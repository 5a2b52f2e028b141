//! `PATCH /v1/account`: changes what holds for every member of the account.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::AccountBody;
use shared::model::{Account, AccountChange, BasePermission, Role};
use shared::precondition::{IfMatch, Revised};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/account")
    .requires(Scope::AccountWrite)
    .by(Role::Owner)
    .refuses_with(&[ErrorCode::PreconditionFailed]);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_account, app.clone()))
}

/// What is absent stays as it is.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct AccountPatch {
    /// What every member may do in every repository.
    base_permission: Option<BasePermission>,
    /// Whether users may make tokens that never expire. Those that there are stay.
    permanent_tokens: Option<bool>,
}

/// Update the account
///
/// Only an owner may do this. A change takes effect within 30 seconds. With `If-Match` it is made only if nobody else has
/// changed the account since that ETag was given out.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Account", params(IfMatch), request_body = AccountPatch,
    responses((status = 200, body = AccountBody))
)]
pub async fn update_account(
    State(app): State<App>,
    tenant: Tenant,
    expected: IfMatch,
    extract::Json(AccountPatch { base_permission, permanent_tokens }): extract::Json<AccountPatch>,
) -> Result<Revised<AccountBody>> {
    let account = Account::of_caller(app.table(), &tenant).await?;
    let change = AccountChange { base_permission, permanent_tokens };
    let changed = account.change(app.table(), change, |account| expected.check(account.revision)).await?;
    Ok(Revised(changed.revision, changed.into()))
}
