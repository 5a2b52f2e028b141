//! `PATCH /v1/account`: changes the account's settings.

use axum::extract::State;
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::AccountBody;
use shared::model::{Account, AccountChange, Author, BasePermission, CapacityUsage, Role};
use shared::precondition::{IfMatch, Versioned};
use shared::{App, Endpoint, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::patch(env!("CARGO_PKG_NAME"), "/v1/account")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Owner)
    .compares_etag();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_account, app.clone()))
}

/// The fields to change. An absent field keeps its value.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPatch {
    /// The permission of every member on every repository of the account.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    base_permission: Option<BasePermission>,
    /// Whether users may create tokens that never expire. Existing permanent tokens stay valid.
    #[serde(default, deserialize_with = "extract::given")]
    #[schema(required = false, nullable = false)]
    permanent_tokens: Option<bool>,
}

/// Update the account
///
/// Changes the given settings. Only an owner may change them. A change takes effect within 30 seconds.
#[utoipa::path(
    patch, path = ROUTE.path, tag = "Account", request_body = AccountPatch,
    responses((status = 200, body = AccountBody))
)]
pub async fn update_account(
    State(app): State<App>,
    author: Author,
    tenant: Tenant,
    expected: IfMatch,
    extract::Json(AccountPatch { base_permission, permanent_tokens }): extract::Json<AccountPatch>,
) -> Result<Versioned<String, AccountBody>> {
    // It is current, because the pipeline has read the caller's rows for this change.
    let account = tenant.account().clone();
    let change = AccountChange { base_permission, permanent_tokens };
    let expected = |account: &Account| expected.check(account.version());
    let (table, now) = (app.table(), app.clock().now());
    let changed = account.change(table, change, expected, &author, now).await?;
    let usage = CapacityUsage::load(table, &changed.id, now).await?;
    Ok(Versioned(changed.version(), AccountBody::new(changed, usage, now)))
}
