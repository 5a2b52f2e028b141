//! `DELETE /v1/invitations/{invitation_id}`: takes an invitation back.

use axum::extract::State;
use axum::http::StatusCode;
use shared::access::{AuthorizedInvitation, Scope};
use shared::model::Role;
use shared::{App, Endpoint, InitError, Result, Route};

pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/invitations/{invitation_id}")
    .requires(Scope::AccountWrite)
    .by(Role::Admin);

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_invitation, app.clone()))
}

/// Delete an invitation
///
/// Nobody can accept it any more. Only an owner may take back the invitation of an owner.
#[utoipa::path(delete, path = ROUTE.path, tag = "Members", responses((status = 204)))]
pub async fn delete_invitation(State(app): State<App>, invitation: AuthorizedInvitation) -> Result<StatusCode> {
    invitation.tenant().may_assign(invitation.role)?;
    invitation.revoke(app.table()).await?;
    Ok(StatusCode::NO_CONTENT)
}
