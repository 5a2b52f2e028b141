//! `GET /v1/members`: lists the account's users, newest first.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::try_join;
use serde::Deserialize;
use shared::access::{Scope, Tenant};
use shared::body::MemberBody;
use shared::extract::Filtered;
use shared::model::{EmailPrefix, Role, User};
use shared::page::{PageQuery, SearchPage, Sort};
use shared::route::List;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/members")
    .requires(Scope::AccountRead)
    .lists(LIST)
    .takes(&["role", "email"]);

const LIST: List = List { name: "members", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_members, app.clone()))
}

/// The properties of the listed users.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MemberFilter {
    /// Returns only users with this role.
    #[param(inline)]
    role: Option<Role>,
    /// Returns only users whose email addresses start with this text, regardless of case.
    #[param(inline)]
    email: Option<EmailPrefix>,
}

impl MemberFilter {
    const fn is_empty(&self) -> bool {
        self.role.is_none() && self.email.is_none()
    }

    fn matches(&self, user: &User) -> bool {
        self.role.is_none_or(|role| user.role == role)
            && self.email.as_ref().is_none_or(|prefix| prefix.starts(&user.email))
    }
}

/// List members
///
/// Returns a paginated list of the account's users. The only sort is `created`, the time at which each user joined.
///
/// With a filter, a page is the result of a search through up to 1,000 users: it can be short, or even empty, although more follow.
/// Follow `next` in `Link` until it is absent. `meta.total` is then null, unless the first page has all of the users.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Members", params(PageQuery, MemberFilter),
    responses((status = 200, body = SearchPage<MemberBody>))
)]
pub async fn list_members(
    State(app): State<App>,
    tenant: Tenant,
    RawQuery(query): RawQuery,
    Filtered(page, filter): Filtered<PageQuery, MemberFilter>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let (list, url) = (User::listed(&tenant), app.url(&ROUTE.path_with_filters(query.as_deref())));
    if !filter.is_empty() {
        return page.matching(app.table(), list, |user| filter.matches(user), &url, MemberBody::from).await;
    }
    let (rows, total) = try_join(page.read::<User>(app.table(), list), User::total(app.table(), &tenant)).await?;
    Ok(page.respond(rows, total, &url, MemberBody::from))
}
