//! Values that only a request can make, for tests that run without a stack.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{FromRef, FromRequestParts, State};
use lambda_http::RequestExt;
use serde_json::json;
use shared::access::{AuthorizedRepository, Scope};
use shared::id::{RepositoryId, TeamId};
use shared::model::{Author, Repository, Team, Visibility};
use shared::token::SESSION_PREFIX;
use shared::{App, Endpoint, Error, Result, Route, pipeline};
use tower::ServiceExt;

/// Creates an account with a repository, which runs so many deployments at once. Returns the repository as an endpoint gets it, and an author of changes in it.
pub async fn repository_of_a_new_account(app: &App, slug: &str, builds: u32) -> (AuthorizedRepository, Author) {
    let request = json!({
        "account": slug, "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
        "owner_email": "owner@example.com", "concurrent_builds": builds,
    });
    let created = bootstrap::bootstrap(app, serde_json::from_value(request).unwrap()).await.unwrap();
    let now = app.clock().now();
    let repository = Repository {
        id: RepositoryId::random(),
        account_id: created.account_id.clone(),
        account_slug: slug.parse().unwrap(),
        name: "app".parse().unwrap(),
        visibility: Visibility::Private,
        clone_url: "https://git.example.com/acme/app.git".to_owned(),
        connection_id: None,
        default_branch: "main".to_owned(),
        machine: Default::default(),
        source: Default::default(),
        deploy_rules: Default::default(),
        revision: 0,
        grants: Default::default(),
        created_at: now,
        updated_at: now,
    };
    let author = Author::operator(&created.account_id, &created.user_id);
    repository.create(app.table(), &author).await.unwrap();
    let route = Route::get("found", "/v1/repositories/{repo_id}").requires(Scope::RepositoriesRead);
    let repository = extracted(app, &created.token, route, &[("repo_id", repository.id.as_str())]).await;
    (repository, author)
}

/// Returns what an endpoint with this route extracts from a request with these path parameters, and with this bearer token or
/// session.
pub async fn extracted<T>(app: &App, token: &str, route: Route, parameters: &[(&str, &str)]) -> T
where
    T: FromRequestParts<Extraction<T>, Rejection = Error> + Clone + Send + 'static,
{
    let extraction = Extraction { app: app.clone(), value: Arc::default() };
    let keep = async |State(extraction): State<Extraction<T>>, value: T| {
        *extraction.value.lock().unwrap() = Some(value);
    };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
    let parameters: HashMap<_, _> = parameters.iter().map(owned).collect();
    let request = http::Request::builder().method(route.method).uri(route.path);
    let request = match token.starts_with(SESSION_PREFIX) {
        true => request.header("cookie", format!("__Host-session={token}")).header("sec-fetch-site", "same-origin"),
        false => request.header("authorization", format!("Bearer {token}")),
    };
    let request = request.body(lambda_http::Body::Empty).unwrap();
    let service = pipeline::service(app.clone(), Endpoint::new(route, keep, extraction.clone()));
    let answer = service.oneshot(request.with_path_parameters(parameters)).await.unwrap();
    let value = extraction.value.lock().unwrap().take();
    value.unwrap_or_else(|| panic!("{answer:?}"))
}

/// Creates a team by an author whose request has been decided.
///
/// # Errors
/// Fails if the author has lost the right since.
pub async fn create_team(app: &App, author: &Author, name: &str) -> Result<()> {
    let now = app.clock().now();
    let team = Team {
        id: TeamId::random(),
        account_id: author.account_id().clone(),
        name: name.parse().unwrap(),
        description: "".parse().unwrap(),
        revision: 1,
        created_at: now,
        updated_at: now,
        deleting: false,
    };
    team.create(app.table(), author).await
}

/// The state of an endpoint that keeps what it extracts.
#[derive(Clone)]
pub struct Extraction<T> {
    app: App,
    value: Arc<Mutex<Option<T>>>,
}

impl<T> FromRef<Extraction<T>> for App {
    fn from_ref(extraction: &Extraction<T>) -> App {
        extraction.app.clone()
    }
}
