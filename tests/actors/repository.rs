//! A repository for tests that run without a stack.

use std::sync::{Arc, Mutex};

use axum::extract::{FromRef, State};
use lambda_http::RequestExt;
use serde_json::json;
use shared::access::{AuthorizedRepository, Scope};
use shared::id::{RepositoryId, UserId};
use shared::model::{Repository, Visibility};
use shared::{App, Endpoint, Route, pipeline};
use tower::ServiceExt;

/// Creates an account with a repository. Returns the repository as an endpoint gets it, and the id of the account's owner.
pub async fn repository_of_a_new_account(app: &App) -> (AuthorizedRepository, UserId) {
    let request = json!({
        "account": "acme", "plan": "enterprise", "rate_limit": {"per_minute": 1_000_000, "burst": 1_000_000},
        "owner_email": "owner@example.com",
    });
    let created = bootstrap::bootstrap(app, serde_json::from_value(request).unwrap()).await.unwrap();
    let now = app.clock().now();
    let repository = Repository {
        id: RepositoryId::random(),
        account_id: created.account_id.clone(),
        account_slug: "acme".parse().unwrap(),
        name: "app".parse().unwrap(),
        visibility: Visibility::Private,
        clone_url: "https://git.example.com/acme/app.git".to_owned(),
        default_branch: "main".to_owned(),
        grants: Default::default(),
        created_at: now,
        updated_at: now,
    };
    repository.create(app.table()).await.unwrap();

    let found = Found { app: app.clone(), repository: Arc::default() };
    let keep = async |State(found): State<Found>, repository: AuthorizedRepository| {
        *found.repository.lock().unwrap() = Some(repository);
    };
    let route = Route::get("found", "/v1/repositories/{repo_id}").requires(Scope::RepositoriesRead);
    let parameters = std::collections::HashMap::from([("repo_id".to_owned(), vec![repository.id.to_string()])]);
    let request =
        http::Request::get("/v1/repositories/app").header("authorization", format!("Bearer {}", created.token));
    let request = request.body(lambda_http::Body::Empty).unwrap().with_path_parameters(parameters);
    let service = pipeline::service(app.clone(), Endpoint::new(route, keep, found.clone()));
    let answer = service.oneshot(request).await.unwrap();
    let repository = found.repository.lock().unwrap().take();
    (repository.unwrap_or_else(|| panic!("{answer:?}")), created.user_id)
}

#[derive(Clone)]
struct Found {
    app: App,
    repository: Arc<Mutex<Option<AuthorizedRepository>>>,
}

impl FromRef<Found> for App {
    fn from_ref(found: &Found) -> App {
        found.app.clone()
    }
}
