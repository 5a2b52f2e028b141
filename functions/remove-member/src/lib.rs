//! `DELETE /v1/members/{user_id}`: removes a user from the account.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedMember, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/members/{user_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LastOwner]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, remove_member, app.clone()))
}

/// Remove a member
///
/// Removes the user from the account and from every team, and revokes their tokens. Only an owner may remove an owner.
/// The last owner can't be removed.
#[utoipa::path(delete, path = ROUTE.path, tag = "Members", responses((status = 200, body = Deleted)))]
pub async fn remove_member(State(app): State<App>, author: Author, member: AuthorizedMember) -> Result<Json<Deleted>> {
    member.tenant().may_assign(member.role)?;
    member.remove(app.table(), &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&member.id)))
}
