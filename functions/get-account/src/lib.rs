//! `GET /v1/account`: the caller's account, with the ETag that a change can name.

use axum::extract::State;
use shared::access::{Scope, Tenant};
use shared::body::AccountBody;
use shared::model::Account;
use shared::precondition::Revised;
use shared::{App, Endpoint, InitError, Result, Route};

pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/account").requires(Scope::AccountRead);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_account, app.clone()))
}

/// Get the account
///
/// Every member may see the settings, as they are now: what was just changed may not have taken effect everywhere yet.
#[utoipa::path(get, path = ROUTE.path, tag = "Account", responses((status = 200, body = AccountBody)))]
pub async fn get_account(State(app): State<App>, tenant: Tenant) -> Result<Revised<AccountBody>> {
    let account = Account::of_caller(app.table(), &tenant).await?;
    Ok(Revised(account.revision, account.into()))
}
