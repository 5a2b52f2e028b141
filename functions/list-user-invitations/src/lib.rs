//! `GET /v1/user/invitations`: lists the accounts that a person who signed in may join.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::access::SignedIn;
use shared::clock::Rfc3339;
use shared::id::{AccountId, InvitationId};
use shared::model::{Account, Email, Invitation, Openings, Role};
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/user/invitations").admits_newcomers();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_user_invitations, app.clone()).calls_at_once(1))
}

/// The accounts that the person may join.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Openings)]
pub struct OpeningsBody {
    /// The verified address of the person.
    email: Email,
    /// The open invitations to the address, newest first. Empty for a caller who belongs to an account. If an account claims
    /// the domain of the address, only its invitations are listed.
    data: Vec<ReceivedInvitationBody>,
    /// The account that claims the domain of the address. Null if there is none, and for a caller who belongs to an account.
    #[schema(required)]
    domain_account: Option<OpenAccountBody>,
}

/// An invitation that the person may accept.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReceivedInvitation)]
struct ReceivedInvitationBody {
    id: InvitationId,
    account: OpenAccountBody,
    /// The role that the person will have.
    role: Role,
    /// The time of the creation.
    created_at: Rfc3339,
    /// The time at which the invitation expires.
    expires_at: Rfc3339,
}

/// An account that the person may join.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = OpenAccount)]
struct OpenAccountBody {
    id: AccountId,
    /// The account's short name.
    #[schema(examples("acme"))]
    slug: String,
}

impl From<Account> for OpenAccountBody {
    fn from(account: Account) -> Self {
        Self { id: account.id, slug: account.slug.to_string() }
    }
}

impl From<(Invitation, Account)> for ReceivedInvitationBody {
    fn from((invitation, account): (Invitation, Account)) -> Self {
        Self {
            id: invitation.id,
            account: account.into(),
            role: invitation.role,
            created_at: invitation.created_at.into(),
            expires_at: invitation.valid_until.into(),
        }
    }
}

/// List the user's invitations
///
/// Returns the accounts that a person who signed in may join with `POST /v1/user/join`: the open invitations to the person's
/// verified email address, and the account that claims the address's domain. Takes the OAuth2 token of a person who belongs
/// to no account yet.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = OpeningsBody)))]
pub async fn list_user_invitations(State(app): State<App>, signed_in: SignedIn) -> Result<Json<OpeningsBody>> {
    let (email, Openings { invitations, home }) = match signed_in {
        SignedIn::Newcomer(newcomer) => {
            let openings = newcomer.openings(app.table(), app.clock().now()).await?;
            (newcomer.email().clone(), openings)
        }
        SignedIn::Caller(caller) => (caller.user().email.clone(), Openings { invitations: Vec::new(), home: None }),
    };
    let data = invitations.into_iter().map(Into::into).collect();
    Ok(Json(OpeningsBody { email, data, domain_account: home.map(Into::into) }))
}
