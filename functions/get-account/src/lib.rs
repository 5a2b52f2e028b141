//! `GET /v1/account`: returns the caller's account with its ETag.

use axum::extract::State;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::AccountBody;
use shared::model::{Account, CapacityUsage};
use shared::precondition::Versioned;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/account").requires(Scope::AccountRead).sends_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_account, app.clone()).calls_at_once(3))
}

/// Get the account
///
/// Returns the account with its current settings, the number of deployments in progress and the build minutes of this month. Every
/// member may read them. A change can take up to 30 seconds to take effect.
#[utoipa::path(get, path = ROUTE.path, tag = "Account", responses((status = 200, body = AccountBody)))]
pub async fn get_account(State(app): State<App>, tenant: Tenant) -> Result<Versioned<String, AccountBody>> {
    let (table, now) = (app.table(), app.clock().now());
    let usage = async { Ok(CapacityUsage::load(table, &tenant, now).await?) };
    let (account, usage) = try_join(Account::of_caller(table, &tenant), usage).await?;
    Ok(Versioned(account.version(), AccountBody::new(account, usage, now)))
}
