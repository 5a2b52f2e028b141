//! `DELETE /v1/invitations/{invitation_id}`: revokes an invitation.

use axum::Json;
use axum::extract::State;
use shared::access::{AuthorizedInvitation, Scope};
use shared::body::Deleted;
use shared::model::{Author, Role};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/invitations/{invitation_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_invitation, app.clone()))
}

/// Delete an invitation
///
/// Revokes an invitation, so that it can no longer be accepted. Only an owner may revoke the invitation of an owner.
#[utoipa::path(delete, path = ROUTE.path, tag = "Members", responses((status = 200, body = Deleted)))]
pub async fn delete_invitation(
    State(app): State<App>,
    author: Author,
    invitation: AuthorizedInvitation,
) -> Result<Json<Deleted>> {
    invitation.tenant().may_assign(invitation.role)?;
    invitation.revoke(app.table(), &author, app.clock().now()).await?;
    Ok(Json(Deleted::new(&invitation.id)))
}
