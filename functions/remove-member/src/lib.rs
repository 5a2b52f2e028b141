//! `DELETE /v1/members/{user_id}`: removes a user from the account.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::access::{AuthorizedMember, Scope};
use shared::body::{ApplicationBody, HookBody, InvitationBody, TrustBody};
use shared::id::UserId;
use shared::model::{Author, Role};
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/members/{user_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::LastOwner]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, remove_member, app.clone()).calls_at_once(4))
}

/// The removed member, with the grants that ended with them.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RemovedMember)]
pub struct RemovedMemberBody {
    id: UserId,
    /// Always true.
    #[schema(default = true)]
    deleted: bool,
    /// The member's open invitations, which can't be accepted any more.
    ended_invitations: Vec<InvitationBody>,
    /// The member's applications, which now belong to the owner in `owned_by`.
    handed_over_applications: Vec<ApplicationBody>,
    /// The member's trusts, which now belong to the owner in `owned_by`.
    handed_over_trusts: Vec<TrustBody>,
    /// The hooks that the member answered for, which now belong to the owner in `owned_by`.
    handed_over_hooks: Vec<HookBody>,
}

/// Remove a member
///
/// Removes the user from the account and from every team, and revokes their tokens. Ends the user's open invitations. Hands
/// the user's applications, trusts and hooks over to the calling owner, or else to the account's longest-standing owner; delete those that
/// must end. If the request fails halfway, the same request completes it. Only an owner may remove an owner. The last owner
/// can't be removed.
#[utoipa::path(delete, path = ROUTE.path, tag = "Members", responses((status = 200, body = RemovedMemberBody)))]
pub async fn remove_member(
    State(app): State<App>,
    author: Author,
    member: AuthorizedMember,
) -> Result<Json<RemovedMemberBody>> {
    member.tenant().may_assign(member.role)?;
    let now = app.clock().now();
    let withdrawal = member.remove(app.table(), &author, now).await?;
    Ok(Json(RemovedMemberBody {
        id: member.id.clone(),
        deleted: true,
        ended_invitations: withdrawal.invitations.into_iter().map(Into::into).collect(),
        handed_over_applications: withdrawal.applications.into_iter().map(Into::into).collect(),
        handed_over_trusts: withdrawal.trusts.into_iter().map(Into::into).collect(),
        handed_over_hooks: withdrawal.hooks.into_iter().map(|hook| HookBody::new(&app, hook, now)).collect(),
    }))
}
