//! `POST /v1/trusts`: makes the account trust an issuer's tokens.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use shared::access::{Caller, Scope, Tenant, distinct};
use shared::body::TrustBody;
use shared::hosts::Hosts;
use shared::id::{RepositoryId, TrustId, UserId};
use shared::model::{
    Audience, Author, Conditions, DisplayName, Environment, IssuerUrl, Repository, Role, Trust, TrustTerms,
};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With, extract};
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/trusts")
    .takes_body()
    .requires(Scope::AccountWrite)
    .by(Role::Admin)
    .needs_recent_sign_in()
    .refuses_with(&[ErrorCode::LimitReached])
    .takes_idempotency_key();

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_trust, With(app.clone(), Hosts::of(app.settings())?)))
}

/// The trust to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrust {
    name: DisplayName,
    issuer: IssuerUrl,
    /// The audience that tokens must have. Default: the base URL of the API.
    audience: Option<Audience>,
    claims: Conditions,
    #[schema(schema_with = scopes_of_trusts)]
    scopes: Vec<Scope>,
    /// The only repository that the trust's tokens may touch. Default: every repository of the account.
    repository_id: Option<RepositoryId>,
    /// The environments that the trust's tokens may deploy to, at least one. Default: every environment.
    #[schema(min_items = 1)]
    environments: Option<Vec<Environment>>,
}

fn scopes_of_trusts() -> Array {
    let scope = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Trust::SCOPES.map(Scope::as_str)));
    let description = "The scopes that the trust's tokens may have, at least one. The token of this request must have all of \
                       them.";
    ArrayBuilder::new().description(Some(description)).items(scope.build()).min_items(Some(1)).build()
}

/// Create a trust
///
/// Makes the account trust tokens of an OpenID Connect issuer, such as those that a job of continuous integration gets. A
/// program exchanges such a token at `POST /v1/token` for one of this API, and needs no other secret. The token may read, and
/// may deploy to the given environments of the given repository. It can't approve, and can't change settings.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Trusts", request_body = NewTrust, responses((status = 201, body = TrustBody))
)]
pub async fn create_trust(
    State(With(app, hosts)): State<With<Hosts>>,
    author: Author,
    caller: Caller,
    tenant: Tenant,
    extract::Json(new): extract::Json<NewTrust>,
) -> Result<(StatusCode, Json<TrustBody>)> {
    let scopes = distinct(&new.scopes);
    caller.check_grant(&scopes)?;
    Error::all([new.check_scopes(), new.check_issuer(hosts), new.check_place(&app, &tenant).await])?;
    let audience = match new.audience {
        Some(audience) => audience,
        None => app.url("").parse().map_err(Error::internal)?,
    };
    let trust = Trust {
        audit_retention: author.retention(),
        id: TrustId::random(),
        account_id: tenant.account().id.clone(),
        user_id: UserId::random(),
        name: new.name,
        terms: TrustTerms {
            issuer: new.issuer,
            audience,
            claims: new.claims,
            scopes,
            repository_id: new.repository_id,
            environments: new.environments.map(BTreeSet::from_iter),
        },
        created_by: tenant.user_id().clone(),
        owned_by: None,
        created_at: app.clock().now(),
    };
    trust.create(app.table(), &author).await?;
    Ok((StatusCode::CREATED, Json(trust.into())))
}

impl NewTrust {
    fn check_scopes(&self) -> Result<()> {
        Error::items("scopes", &self.scopes, |scope| {
            let is_foreign = !Trust::SCOPES.contains(scope);
            is_foreign.then(|| format!("must not be '{}', which trusts can't have", scope.as_str()))
        })
    }

    fn check_issuer(&self, hosts: Hosts) -> Result<()> {
        match self.issuer.is_allowed_by(hosts) {
            true => Ok(()),
            false => Err(Error::invalid("issuer", "must name a host on the public internet, with https")),
        }
    }

    /// Checks that the account has the repository, and the repository has the environments.
    async fn check_place(&self, app: &App, tenant: &Tenant) -> Result<()> {
        let Some(id) = &self.repository_id else { return Ok(()) };
        let Some(found) = Repository::by_id(app.table(), tenant, id).await? else {
            return Err(Error::invalid("repository_id", "must be the ID of a repository of the account"));
        };
        let named = self.environments.iter().flatten().enumerate();
        let named = named.map(|(at, environment)| (format!("environments[{at}]"), *environment));
        found.check_environments(app.table(), named).await
    }
}
