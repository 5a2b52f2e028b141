//! `GET /v1/tokens`: lists the caller's personal access tokens, newest first, or those of the whole account.

mod filter;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::future::try_join;
use shared::access::{Caller, Scope};
use shared::body::TokenBody;
use shared::extract::Filtered;
use shared::model::TokenRecord;
use shared::page::{PageQuery, SearchPage, Sort};
use shared::route::List;
use shared::{App, Endpoint, ErrorCode, InitError, Result, Route};

pub use crate::filter::TokenFilter;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/tokens")
    .requires(Scope::TokensRead)
    .refuses_with(&[ErrorCode::InsufficientPermission])
    .lists(LIST)
    .takes(&["user", "name", "scope", "expires_before"]);

const LIST: List = List { name: "tokens", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_tokens, app.clone()))
}

/// List tokens
///
/// Returns a paginated list of personal access tokens. The only sort is `created`. Expired tokens are listed until they are
/// deleted.
///
/// With another filter than `user`, a page is the result of a search through up to 1,000 tokens: it can be short, or even empty,
/// although more follow. Follow `next` in `Link` until it is absent. `meta.total` is then null, unless the first page has all of
/// the tokens.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Tokens", params(PageQuery, TokenFilter),
    responses((status = 200, body = SearchPage<TokenBody>))
)]
pub async fn list_tokens(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    Filtered(page, filter): Filtered<PageQuery, TokenFilter>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let user = filter.user(&caller)?;
    let (account, url) = (&caller.account().id, app.url(&ROUTE.path_with_filters(query.as_deref())));
    let list = TokenRecord::listed(account, user);
    if filter.selects() {
        return page.matching(app.table(), list, |token| filter.matches(token), &url, TokenBody::from).await;
    }
    let rows = page.read::<TokenRecord>(app.table(), list);
    let (rows, total) = try_join(rows, TokenRecord::total(app.table(), account, user)).await?;
    Ok(page.respond(rows, total, &url, TokenBody::from))
}
