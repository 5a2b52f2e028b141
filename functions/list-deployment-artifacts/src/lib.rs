//! `GET /v1/deployments/{deployment_id}/artifacts`: lists the files that a deployment has produced.

use archive::{Archive, Artifact};
use axum::extract::State;
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use shared::access::{AuthorizedDeployment, Scope};
use shared::extract::Query;
use shared::page::{Page, PageQuery, Sort, place};
use shared::route::List;
use shared::sort::Position;
use shared::{App, Endpoint, InitError, Result, Route, With};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/artifacts")
    .requires(Scope::DeploymentsRead)
    .lists(LIST);

const LIST: List = List { name: "artifacts", sorts: &[Sort::Name] };

/// The characters of a path that need no encoding (RFC 3986, section 2.3) are letters, digits, these and slashes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Returns the endpoint with its archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_deployment_artifacts, With(app.clone(), Archive::new(app)?)).calls_at_once(2))
}

/// A file that a deployment has produced.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Artifact)]
pub struct ArtifactBody {
    /// The path, separated by slashes.
    #[schema(examples("report.xml"))]
    path: String,
    /// The size in bytes.
    #[schema(examples(2048))]
    size: u64,
    /// The media type that the path's extension stands for.
    #[schema(examples("text/xml"))]
    content_type: String,
    /// The URL of the file in the API.
    #[schema(examples("https://api.git.dev/v1/deployments/deploy_k3vyq2w7x5m4n6pa/artifacts/report.xml"))]
    url: String,
}

impl Position for ArtifactBody {
    fn position(&self, _: Sort) -> String {
        place(&self.path)
    }
}

/// List a deployment's artifacts
///
/// Returns a paginated list of the files that the buildspec names as artifacts, in the order of their paths, also of a deployment
/// that has failed. They are kept as long as the deployment's log. The only sort is `name`, which is the path.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Deployments", params(PageQuery), responses((status = 200, body = Page<ArtifactBody>))
)]
pub async fn list_deployment_artifacts(
    State(With(app, archive)): State<With<Archive>>,
    Query(page): Query<PageQuery>,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let found = archive.kept_artifacts(&deployment).await?;
    let url = app.url(&format!("/v1/deployments/{}/artifacts", deployment.id));
    let artifacts: Vec<_> = found.into_iter().map(|artifact| body(artifact, &url)).collect();
    let total = artifacts.len() as u64;
    Ok(page.respond(page.cut(artifacts), total, &url, |artifact| artifact))
}

fn body(artifact: Artifact, url: &str) -> ArtifactBody {
    ArtifactBody {
        content_type: artifact.content_type().to_owned(),
        url: format!("{url}/{}", utf8_percent_encode(&artifact.path, ENCODED)),
        path: artifact.path,
        size: artifact.size,
    }
}
