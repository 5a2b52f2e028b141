//! `DELETE /v1/session`: signs out of the dashboard.

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderName, HeaderValue};
use shared::access::{SignedIn, clear_session_cookie};
use shared::body::Deleted;
use shared::model::Author;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::delete(env!("CARGO_PKG_NAME"), "/v1/session")
    .admits_newcomers()
    .sets_cookie()
    .refuses_with(&[ErrorCode::NotFound]);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, end_session, app.clone()))
}

/// Sign out
///
/// Ends the session of the request, and takes the cookie from the browser. Returns 404 for a request with a token.
#[utoipa::path(delete, path = ROUTE.path, tag = "Sessions", responses((status = 200, body = Deleted)))]
pub async fn end_session(
    State(app): State<App>,
    signed_in: SignedIn,
    author: Option<Author>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Deleted>)> {
    let missing = || Error::not_found("Session");
    let session = signed_in.session().ok_or_else(missing)?;
    if !session.end(app.table(), author.as_ref(), app.clock().now()).await? {
        return Err(missing());
    }
    Ok(([(SET_COOKIE, clear_session_cookie())], Json(Deleted::new(&session.id))))
}
