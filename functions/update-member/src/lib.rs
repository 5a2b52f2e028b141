//! `PUT /v1/members/{user_id}`: changes a member's role.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedMember, Scope};
use shared::body::MemberBody;
use shared::model::{Author, Role};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::put(env!("CARGO_PKG_NAME"), "/v1/members/{user_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LastOwner]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_member, app.clone()))
}

/// The member's new role.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRole {
    role: Role,
}

/// Update a member
///
/// Sets the member's role in the account. Only an owner may grant the role `owner` or change an owner's role. The last
/// owner's role can't be changed.
#[utoipa::path(
    put, path = ROUTE.path, tag = "Members", request_body = MemberRole, responses((status = 200, body = MemberBody))
)]
pub async fn update_member(
    State(app): State<App>,
    author: Author,
    member: AuthorizedMember,
    extract::Json(MemberRole { role }): extract::Json<MemberRole>,
) -> Result<Json<MemberBody>> {
    member.tenant().may_assign(role)?;
    member.tenant().may_assign(member.role)?;
    let changed = member.set_role(app.table(), role, &author, app.clock().now()).await?;
    Ok(Json(changed.into()))
}
