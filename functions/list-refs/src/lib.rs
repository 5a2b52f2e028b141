//! `GET /v1/repositories/{repo_id}/refs`: lists the branches and tags that the git host has now.

use axum::extract::State;
use axum::response::Response;
use connections::Connections;
use git::{MAX_REFS, RemoteError, RemoteRef};
use serde::Serialize;
use shared::access::{AuthorizedRepository, Scope};
use shared::extract::Filtered;
use shared::page::{Page, PageQuery, Sort, place};
use shared::route::List;
use shared::sort::Position;
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route};

mod filter;

pub use filter::{RefKind, RefPrefix, RefsFilter};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/refs")
    .requires(Scope::RepositoriesRead)
    .lists(LIST)
    .takes(&["type", "prefix"])
    .refuses_with(&[ErrorCode::InvalidCloneUrl, ErrorCode::RemoteUnavailable]);

const LIST: List = List { name: "refs", sorts: &[Sort::Name] };

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, list_refs, Connections::new(app)?).calls_at_once(2))
}

/// A branch or a tag.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Ref)]
pub struct RefBody {
    /// The name without `refs/heads/` or `refs/tags/`.
    #[schema(examples("main"))]
    name: String,
    /// The full name.
    #[schema(examples("refs/heads/main"))]
    full_name: String,
    r#type: RefKind,
    /// The commit that the branch or tag points to. An annotated tag has the commit that it was made for.
    #[schema(examples("d5b1a0d1c2f34e5a6b7c8d9e0f1a2b3c4d5e6f70"))]
    sha: String,
}

impl RefBody {
    /// Returns the body of a branch or tag, and `None` for any other ref.
    fn of(found: RemoteRef) -> Option<Self> {
        let (kind, name) = RefKind::of(&found.name)?;
        Some(Self { name: name.to_owned(), r#type: kind, sha: found.target.to_string(), full_name: found.name })
    }
}

/// The place in the list. A cursor has at most 512 characters.
impl Position for RefBody {
    fn position(&self, _: Sort) -> String {
        place(&self.full_name)
    }
}

/// List branches and tags
///
/// Returns a paginated list of the branches, followed by the tags, each in the order of their names. They are read from the git
/// host with each request. The only sort is `name`.
#[utoipa::path(
    get, path = ROUTE.path, tag = "Repositories", params(PageQuery, RefsFilter), responses((status = 200, body = Page<RefBody>))
)]
pub async fn list_refs(
    State(app): State<App>,
    State(connections): State<Connections>,
    Filtered(page, filter): Filtered<PageQuery, RefsFilter>,
    repository: AuthorizedRepository,
) -> Result<Response> {
    let page = page.of(LIST)?;
    let remote = connections.remote(&**repository).await;
    let remote = remote.map_err(|failed| failed.of_repository(&repository.clone_url))?;
    let found = remote.list_refs_with(filter.prefixes(), MAX_REFS).await;
    let found = found.map_err(|error| match error {
        RemoteError::TooLarge(..) => {
            let message =
                format!("must narrow the list: more branches and tags match than the {MAX_REFS} that can be listed");
            Error::invalid("prefix", message).because(error)
        }
        error => remote.url().unreadable(error),
    })?;
    let refs: Vec<_> = found.refs.into_iter().filter_map(RefBody::of).collect();
    let total = refs.len() as u64;
    let url = app.url(&format!("/v1/repositories/{}/refs{}", repository.id, filter.query()));
    Ok(page.respond(page.cut(refs), total, &url, |found| found))
}
