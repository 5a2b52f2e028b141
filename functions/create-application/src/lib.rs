//! `POST /v1/applications`: registers an OAuth2 client whose client credentials act for the account.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use shared::access::{Caller, Scope, distinct};
use shared::body::ApplicationBody;
use shared::id::UserId;
use shared::model::{Application, Author, ClientId, DisplayName, Role};
use shared::oauth::Jwt;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, extract};
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/applications")
    .takes_body()
    .requires(Scope::AccountWrite)
    .needs_recent_sign_in()
    .by(Role::Owner)
    .refuses_with(&[ErrorCode::NameTaken])
    .takes_idempotency_key();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_application, app.clone()))
}

/// The OAuth2 client to register.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApplication {
    name: DisplayName,
    /// The client's identifier at the identity provider.
    client_id: ClientId,
    /// An access token that the client got with the client credentials grant in the last ten minutes. It proves that the
    /// client is yours.
    #[schema(write_only)]
    access_token: Jwt,
    #[schema(schema_with = scopes_of_applications)]
    scopes: Vec<Scope>,
}

fn scopes_of_applications() -> Array {
    let scope =
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Application::SCOPES.map(Scope::as_str)));
    let description = "The application's scopes, at least one. The token of this request must have all of them. Tokens of \
                       the application have no other scopes.";
    ArrayBuilder::new().description(Some(description)).items(scope.build()).min_items(Some(1)).build()
}

/// Create an application
///
/// Registers an OAuth2 client of the identity provider. The client's own access token proves that the client is yours. Tokens that the client gets with the client credentials grant
/// then act for the account, on all of its repositories and within the given scopes. A client can be registered with
/// only one account. Only an owner may register a client.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Applications", request_body = NewApplication,
    responses((status = 201, body = ApplicationBody))
)]
pub async fn create_application(
    State(app): State<App>,
    author: Author,
    caller: Caller,
    extract::Json(new): extract::Json<NewApplication>,
) -> Result<(StatusCode, Json<ApplicationBody>)> {
    Error::items("scopes", &new.scopes, |scope| {
        let is_foreign = !Application::SCOPES.contains(scope);
        is_foreign.then(|| format!("must not be '{}', which applications can't have", scope.as_str()))
    })?;
    let scopes = distinct(&new.scopes);
    caller.check_grant(&scopes)?;
    app.check_possession(&new.access_token, &new.client_id).await?;
    let application = Application {
        id: new.client_id,
        account_id: caller.account().id.clone(),
        user_id: UserId::random(),
        name: new.name,
        scopes,
        created_by: caller.user_id().clone(),
        owned_by: None,
        created_at: app.clock().now(),
    };
    application.create(app.table(), &author).await?;
    Ok((StatusCode::CREATED, Json(application.into())))
}
