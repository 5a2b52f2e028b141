//! `POST /v1/user/join`: makes a person who signed in a user of the account that they choose.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::access::SignedIn;
use shared::body::MemberBody;
use shared::id::{AccountId, InvitationId};
use shared::model::RequestOrigin;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::post(env!("CARGO_PKG_NAME"), "/v1/user/join").takes_body().admits_newcomers().refuses_with(&[
        ErrorCode::InsufficientPermission,
        ErrorCode::NotFound,
        ErrorCode::EmailTaken,
        ErrorCode::LimitReached,
    ]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, join_account, app.clone()))
}

/// The choice of the account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Joining {
    /// The invitation to accept, one of those that `GET /v1/user/invitations` lists. Without it, the person joins the account
    /// that claims the domain of their email address.
    invitation_id: Option<InvitationId>,
}

/// The account, and the user in it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = JoinedAccount)]
pub struct JoinedBody {
    account_id: AccountId,
    member: MemberBody,
}

/// Join an account
///
/// Links the person of an OAuth2 token to a user. Accepts an invitation to the person's verified email address, or else joins
/// the account that claims the address's domain: as the user with the address, if there is one, or as a new member. Requires
/// a token with at least one scope of the API. A person belongs to one account. For a caller who belongs to one already, the
/// request without an invitation returns it and changes nothing.
#[utoipa::path(
    post, path = ROUTE.path, tag = "API", request_body = Joining, responses((status = 200, body = JoinedBody))
)]
pub async fn join_account(
    State(app): State<App>,
    signed_in: SignedIn,
    origin: RequestOrigin,
    extract::Json(Joining { invitation_id }): extract::Json<Joining>,
) -> Result<Json<JoinedBody>> {
    let now = app.clock().now();
    let user = match (signed_in, invitation_id) {
        (SignedIn::Newcomer(newcomer), Some(id)) => newcomer.accept(app.table(), &id, origin, now).await?,
        (SignedIn::Newcomer(newcomer), None) => newcomer.join_home(app.table(), origin, now).await?,
        (SignedIn::Caller(caller), None) if caller.is_a_person() => caller.user().clone(),
        (SignedIn::Caller(_), _) => {
            let message =
                "Only a person who belongs to no account can join one; the token's caller belongs to an account";
            return Err(Error::new(ErrorCode::InsufficientPermission, message));
        }
    };
    Ok(Json(JoinedBody { account_id: user.account_id.clone(), member: user.into() }))
}
