//! `DELETE /v1/sessions/{session_id}`: ends one of the caller's sessions of the dashboard.

use axum::Json;
use axum::extract::State;
use shared::access::{OwnSession, Scope};
use shared::body::Deleted;
use shared::model::Author;
use shared::{App, Endpoint, Error, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route =
    Route::delete(env!("CARGO_PKG_NAME"), "/v1/sessions/{session_id}").requires(Scope::TokensWrite);

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, delete_session, app.clone()))
}

/// End a session
///
/// Ends one of the caller's sessions of the dashboard, also that of the request. Its reads are refused everywhere within 30 seconds,
/// and its writes at once.
#[utoipa::path(delete, path = ROUTE.path, tag = "Sessions", responses((status = 200, body = Deleted)))]
pub async fn delete_session(State(app): State<App>, author: Author, session: OwnSession) -> Result<Json<Deleted>> {
    let ended = session.end(app.table(), Some(&author), app.clock().now()).await?;
    if ended { Ok(Json(Deleted::new(&session.id))) } else { Err(Error::not_found("Session")) }
}
