//! `GET /v1/tokens`: lists the caller's personal access tokens, newest first, or those of the whole account.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join;
use serde::Deserialize;
use shared::access::{Caller, Scope, oversees_tokens};
use shared::body::TokenBody;
use shared::extract::Filtered;
use shared::model::TokenRecord;
use shared::page::{Page, PageQuery, Sort};
use shared::route::List;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/tokens")
    .requires(Scope::TokensRead)
    .refuses_with(&[ErrorCode::InsufficientPermission])
    .lists(LIST)
    .takes(&["user"]);

const LIST: List = List { name: "tokens", sorts: &[Sort::Created] };

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_tokens, app.clone()))
}

/// The users whose tokens a list has.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = "me")]
pub enum Whose {
    /// The calling user.
    #[default]
    Me,
    /// Every user of the account. Only owners and admins may ask for it.
    All,
}

/// The filter of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenFilter {
    /// The users whose tokens to list: `me` for the caller, or `all` for every user of the account. Only owners and
    /// admins may choose `all`.
    #[serde(default)]
    #[param(inline)]
    user: Whose,
}

/// List tokens
///
/// Returns a paginated list of personal access tokens. The only sort is `created`. Expired tokens are listed until they are
/// deleted.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Tokens", params(PageQuery, TokenFilter),
    responses((status = 200, body = Page<TokenBody>))
)]
pub async fn list_tokens(
    State(app): State<App>,
    caller: Caller,
    Filtered(page, filter): Filtered<PageQuery, TokenFilter>,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let (user, query) = match filter.user {
        Whose::Me => (Some(caller.user_id()), ""),
        Whose::All if oversees_tokens(&caller) => (None, "?user=all"),
        Whose::All => {
            return Err(Error::not_permitted("Only owners and admins may list the tokens of all users"));
        }
    };
    let account = &caller.account().id;
    let rows = page.read::<TokenRecord>(app.table(), TokenRecord::listed(account, user));
    let (rows, total) = try_join(rows, TokenRecord::total(app.table(), account, user)).await?;
    Ok(page.respond(rows, total, &app.url(&format!("{}{query}", ROUTE.path)), TokenBody::from))
}
