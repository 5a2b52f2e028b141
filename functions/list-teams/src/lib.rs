//! `GET /v1/teams`: lists the teams that the caller may see.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Scope, Tenant};
use shared::body::TeamBody;
use shared::extract::Query;
use shared::model::Team;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/teams").requires(Scope::TeamsRead).lists(LIST);

const LIST: List = List { name: "teams", sorts: &[Sort::Created, Sort::Updated, Sort::Name] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_teams, app.clone()))
}

/// List teams
///
/// Returns a paginated list of teams. Owners and admins see all teams of the account; members see the teams that they
/// belong to.
#[utoipa::path(get, path = ROUTE.path, tag = "Teams", params(PageQuery), responses((status = 200, body = Page<TeamBody>)))]
pub async fn list_teams(State(app): State<App>, tenant: Tenant, Query(page): Query<PageQuery>) -> Result<Response> {
    let page = page.of(LIST)?;
    let (rows, total) = if tenant.sees_all_teams() {
        let rows = page.read::<Team>(app.table(), Team::listed(&tenant, page.sort()));
        try_join(rows, Team::total(app.table(), &tenant)).await?
    } else {
        let teams = Team::by_ids(app.table(), &tenant, &tenant.user().teams).await?;
        let total = teams.len() as u64;
        (page.cut(teams), total)
    };
    Ok(page.respond(rows, total, &app.url(ROUTE.path), TeamBody::from))
}
