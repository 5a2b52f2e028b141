//! `POST /v1/invitations`: invites a person to the account.
//!
//! No email is sent. The response contains the secret once, for the caller to pass on.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::access::{Scope, Tenant};
use shared::body::InvitationBody;
use shared::id::{InvitationId, TeamId};
use shared::model::{Author, Email, INVITATION_LIFE, Invitation, InvitationSecret, Role, Team};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/invitations")
    .takes_body()
    .requires(Scope::AccountWrite)
    .needs_recent_sign_in()
    .by(Role::Admin)
    .refuses_with(&[ErrorCode::EmailTaken])
    .takes_idempotency_key();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_invitation, app.clone()))
}

/// The invitation to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    email: Email,
    #[serde(default = "member")]
    #[schema(default = "member")]
    role: Role,
    /// The teams that the invited person will join, at most 20.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeSet<TeamId>, max_items = 20, default = json!([]))]
    teams: Vec<TeamId>,
}

fn member() -> Role {
    Role::Member
}

/// The new invitation with its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewInvitationBody {
    invitation: InvitationBody,
    /// The invitation's secret, returned once. Pass it on to the invited person, who needs it to accept the invitation.
    #[schema(examples("dgi_k3vyq2w7x5m4n6pak3vyq2w7x5m4n6pa"))]
    secret: String,
}

/// Create an invitation
///
/// Creates an invitation that is valid for seven days and returns its secret once. Sends no email. Only an owner may
/// invite an owner.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Members", request_body = NewInvitation,
    responses((status = 201, body = NewInvitationBody))
)]
pub async fn create_invitation(
    State(app): State<App>,
    author: Author,
    tenant: Tenant,
    extract::Json(NewInvitation { email, role, teams }): extract::Json<NewInvitation>,
) -> Result<(StatusCode, Json<NewInvitationBody>)> {
    tenant.may_assign(role)?;
    let different = teams.iter().cloned().collect();
    let found = Team::by_ids(app.table(), &tenant, &different).await?;
    let found: HashSet<_> = found.into_iter().map(|team| team.id).collect();
    Error::items("teams", &teams, |team| {
        (!found.contains(team)).then(|| "must be the ID of a team of the account".to_owned())
    })?;
    let (secret, now) = (InvitationSecret::random(), app.clock().now());
    let invitation = Invitation {
        audit_retention: author.retention(),
        id: InvitationId::random(),
        account_id: tenant.account().id.clone(),
        email,
        role,
        teams: different.into_iter().collect(),
        secret_hash: secret.hash(),
        invited_by: tenant.user_id().clone(),
        created_at: now,
        valid_until: now.plus(INVITATION_LIFE),
    };
    invitation.create(app.table(), &author).await?;
    let body = NewInvitationBody { invitation: invitation.into(), secret: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, Json(body)))
}
