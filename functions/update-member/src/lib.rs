//! `PUT /v1/members/{user_id}`: changes a member's role.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::{AuthorizedMember, Scope};
use shared::body::{ApplicationBody, HookBody, InvitationBody, TrustBody};
use shared::clock::Rfc3339;
use shared::id::UserId;
use shared::model::{Author, Email, Role};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::put(env!("CARGO_PKG_NAME"), "/v1/members/{user_id}")
    .takes_body()
    .requires(Scope::AccountWrite)
    .needs_recent_sign_in()
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LastOwner]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, update_member, app.clone()).calls_at_once(4))
}

/// The member's new role.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRole {
    role: Role,
}

/// The member with the new role, with the grants that the role does not allow.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = UpdatedMember)]
pub struct UpdatedMemberBody {
    id: UserId,
    email: Email,
    role: Role,
    /// The time at which the user joined the account.
    created_at: Rfc3339,
    /// The member's open invitations to roles that the member may not give any more. They can't be accepted any more.
    ended_invitations: Vec<InvitationBody>,
    /// The applications of a member who is no owner any more. They now belong to the owner in `owned_by`.
    handed_over_applications: Vec<ApplicationBody>,
    /// The trusts of a member who is neither an owner nor an admin any more. They now belong to the owner in `owned_by`.
    handed_over_trusts: Vec<TrustBody>,
    /// The hooks of such a member. They now belong to the owner in `owned_by`.
    handed_over_hooks: Vec<HookBody>,
}

/// Update a member
///
/// Sets the member's role in the account. Ends the member's open invitations to roles that the member may not give any more.
/// Hands the applications of a member who is no owner any more, and the trusts and hooks of one who is neither an owner nor an admin any
/// more, over to the calling owner, or else to the account's longest-standing other owner. If the request fails halfway, the same request completes it. Only an owner may grant the
/// role `owner` or change an owner's role. The last owner's role can't be changed.
#[utoipa::path(
    put, path = ROUTE.path, tag = "Members", request_body = MemberRole, responses((status = 200, body = UpdatedMemberBody))
)]
pub async fn update_member(
    State(app): State<App>,
    author: Author,
    member: AuthorizedMember,
    extract::Json(MemberRole { role }): extract::Json<MemberRole>,
) -> Result<Json<UpdatedMemberBody>> {
    member.tenant().may_assign(role)?;
    member.tenant().may_assign(member.role)?;
    let now = app.clock().now();
    let (changed, withdrawal) = member.set_role(app.table(), role, &author, now).await?;
    Ok(Json(UpdatedMemberBody {
        id: changed.id,
        email: changed.email,
        role: changed.role,
        created_at: changed.created_at.into(),
        ended_invitations: withdrawal.invitations.into_iter().map(Into::into).collect(),
        handed_over_applications: withdrawal.applications.into_iter().map(Into::into).collect(),
        handed_over_trusts: withdrawal.trusts.into_iter().map(Into::into).collect(),
        handed_over_hooks: withdrawal.hooks.into_iter().map(|hook| HookBody::new(&app, hook, now)).collect(),
    }))
}
