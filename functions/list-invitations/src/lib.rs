//! `GET /v1/invitations`: lists the account's open invitations, newest first.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::InvitationBody;
use shared::extract::Query;
use shared::model::{Invitation, Role};
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::get(env!("CARGO_PKG_NAME"), "/v1/invitations").requires(Scope::AccountRead).by(Role::Admin).lists(LIST);

const LIST: List = List { name: "invitations", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_invitations, app.clone()))
}

/// List invitations
///
/// Returns a paginated list of the invitations that are neither accepted nor revoked. An expired invitation stays in
/// the list until it is revoked or its address is invited again. The only sort is `created`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Members", params(PageQuery), responses((status = 200, body = Page<InvitationBody>))
)]
pub async fn list_invitations(
    State(app): State<App>,
    tenant: Tenant,
    Query(page): Query<PageQuery>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let rows = page.read::<Invitation>(app.table(), Invitation::listed(&tenant));
    let (rows, total) = try_join(rows, Invitation::total(app.table(), &tenant)).await?;
    Ok(page.respond(rows, total, &app.url(ROUTE.path), InvitationBody::from))
}
