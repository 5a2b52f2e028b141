//! `POST /v1/invitations/{invitation_id}/accept`: makes the invited person a user and returns their first token.
//!
//! The endpoint is public because the invited person has no token yet. The invitation's secret authenticates the
//! request.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::Scope;
use shared::body::MemberBody;
use shared::clock::Rfc3339;
use shared::extract::NamedInvitation;
use shared::id::{AccountId, TokenId};
use shared::model::{AccessToken, Invitation, InvitationSecret, Lifetime, RequestOrigin, User};
use shared::token::TokenSecret;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/invitations/{invitation_id}/accept")
    .takes_body()
    .public()
    .refuses_with(&[ErrorCode::InvitationExpired, ErrorCode::LimitReached]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, accept_invitation, app.clone()))
}

/// The body that accepts an invitation.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The secret that creating the invitation returned.
    secret: InvitationSecret,
}

/// The new user with their first token.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AcceptedBody {
    account_id: AccountId,
    member: MemberBody,
    token_id: TokenId,
    /// The user's first token, returned once. It has every scope; the user's role and teams limit it.
    #[schema(examples("dgp_0000000000000000000000000000003A6u5b"))]
    token: String,
    #[schema(required)]
    token_expires_at: Option<Rfc3339>,
}

/// Accept an invitation
///
/// Accepts an invitation with its secret. Returns the new user and their first token. Requires no token, and counts
/// against the rate limit of the source address. A wrong secret returns 404, like an invitation that does not exist.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Members", request_body = Acceptance, responses((status = 200, body = AcceptedBody))
)]
pub async fn accept_invitation(
    State(app): State<App>,
    origin: RequestOrigin,
    NamedInvitation(id): NamedInvitation,
    extract::Json(Acceptance { secret }): extract::Json<Acceptance>,
) -> Result<Json<AcceptedBody>> {
    let now = app.clock().now();
    let invitation = Invitation::opened_by(app.table(), &id, &secret, now).await?;
    let (token_id, token, expires_at) = (TokenId::random(), TokenSecret::random(), Lifetime::DEFAULT.end(now));
    let first_token = |user: &User| AccessToken {
        id: token_id.clone(),
        account_id: user.account_id.clone(),
        user_id: user.id.clone(),
        name: "invitation".parse().expect("it is a name"),
        scopes: Scope::ALL.to_vec(),
        last_four: token.last_four().to_owned(),
        created_at: now,
        expires_at,
        revoked_at: None,
        superseded_at: None,
        version: 1,
    };
    let user =
        invitation.accept_with_token(app.table(), Some(origin), now, &token, Lifetime::DEFAULT, first_token).await?;
    Ok(Json(AcceptedBody {
        account_id: user.account_id.clone(),
        member: user.into(),
        token_id,
        token: token.reveal().to_owned(),
        token_expires_at: expires_at.map(Into::into),
    }))
}
