//! `DELETE /v1/members/{user_id}`: takes a user out of the account.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedMember, Scope};
use shared::body::Deleted;
use shared::model::Role;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/members/{user_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LastOwner]);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, remove_member, app.clone()))
}

/// Remove a member
///
/// Their teams and tokens are theirs no more. Only an owner may remove an owner, and nobody the last one.
#[utoipa::path(delete, path = ROUTE.path, tag = "Members", responses((status = 200, body = Deleted)))]
pub async fn remove_member(State(app): State<App>, member: AuthorizedMember) -> Result<Json<Deleted>> {
    member.tenant().may_assign(member.role)?;
    member.remove(app.table()).await?;
    Ok(Json(Deleted::new(&member.id)))
}
