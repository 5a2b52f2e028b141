//! `GET /v1/account`: returns the caller's account with its ETag.

use axum::extract::State;
use shared::access::{Scope, Tenant};
use shared::body::AccountBody;
use shared::model::Account;
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/account").requires(Scope::AccountRead).sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_account, app.clone()))
}

/// Get the account
///
/// Returns the account with its current settings. Every member may read them. A change can take up to 30 seconds to
/// take effect.
#[utoipa::path(get, path = ROUTE.path, tag = "Account", responses((status = 200, body = AccountBody)))]
pub async fn get_account(State(app): State<App>, tenant: Tenant) -> Result<Versioned<u64, AccountBody>> {
    let account = Account::of_caller(app.table(), &tenant).await?;
    Ok(Versioned(account.revision, account.into()))
}
