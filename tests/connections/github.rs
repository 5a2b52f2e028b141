//! Connections that are GitHub Apps, against a host that plays GitHub.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use shared::clock::Clock;
use tests::git_server::{GitServer, Reply, authorization};
use tests::{Actor, Answer, GitRepository, World};
use tokio::time::sleep;

use super::{ANOTHER_APP_KEY, APP_KEY, path, register};

const APP_ID: u64 = 123_456;
const INSTALLATION: u64 = 987_654;

/// The host's knowledge of the app.
#[derive(Clone)]
pub(super) struct Github(Arc<Parts>);

struct Parts {
    clock: Clock,
    /// The app's public key. The host never has the private one.
    public_key: Vec<u8>,
    /// The seconds at which tokens expire.
    tokens: Mutex<HashMap<String, i64>>,
    asked: Mutex<Vec<String>>,
    /// Whether the repository is found by its owner alone, because it was renamed.
    renamed: bool,
    /// The time before each answer.
    late: Duration,
    /// The failures of the next calls for a token, the last one first, and `None` for a call that makes one.
    failures: Mutex<Vec<Option<Failure>>>,
}

type Outcome<E = StatusCode> = Result<(StatusCode, Json<Value>), E>;
type Failure = (StatusCode, HeaderMap);

/// The time before each answer of a late host. Three of them take longer than a look-up may.
const LATE: Duration = Duration::from_secs(2);

impl Github {
    /// Starts a host with an app, and a repository that the app's installation may read.
    pub(super) async fn start(world: &World, source: &GitRepository, renamed: bool) -> (Self, GitServer) {
        Self::start_late(world, source, renamed, Duration::ZERO).await
    }

    /// Starts a host that answers each call after this time.
    async fn start_late(world: &World, source: &GitRepository, renamed: bool, late: Duration) -> (Self, GitServer) {
        let github = Self(Arc::new(Parts {
            clock: world.clock.clone(),
            public_key: key_pair(APP_KEY).public().as_ref().to_vec(),
            tokens: Mutex::default(),
            asked: Mutex::default(),
            renamed,
            late,
            failures: Mutex::default(),
        }));
        let api = Router::new()
            .route("/api/v3/app", get(Self::app))
            .route("/api/v3/repos/{owner}/{name}/installation", get(Self::installation_of_repository))
            .route("/api/v3/orgs/{owner}/installation", get(Self::installation_of_owner))
            .route("/api/v3/users/{owner}/installation", get(Self::installation_of_owner))
            .route("/api/v3/app/installations/{id}/access_tokens", post(Self::new_token))
            .route("/api/v3/installation/repositories", get(Self::repositories))
            .with_state(github.clone());
        let known = github.clone();
        let server = GitServer::with_api(source, api, move |seen| {
            let token = seen.authorization.as_deref().and_then(|value| value.strip_prefix("Basic x-access-token:"));
            if token.is_some_and(|token| known.knows(token)) {
                Reply::Git
            } else {
                Reply::Status(StatusCode::UNAUTHORIZED)
            }
        })
        .await;
        (github, server)
    }

    /// Returns the number of tokens that were made.
    fn made(&self) -> usize {
        self.0.tokens.lock().unwrap().len()
    }

    fn knows(&self, token: &str) -> bool {
        let expires_at = self.0.tokens.lock().unwrap().get(token).copied();
        expires_at.is_some_and(|at| self.0.clock.now().as_seconds() < at)
    }

    /// Checks that the app authenticates itself as GitHub's documentation says.
    async fn check_app(&self, headers: &HeaderMap, what: &str) -> Result<(), StatusCode> {
        self.0.asked.lock().unwrap().push(what.to_owned());
        sleep(self.0.late).await;
        let refused = StatusCode::UNAUTHORIZED;
        let bearer = authorization(headers).and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned()));
        let bearer = bearer.ok_or(refused)?;
        let (signed, signature) = bearer.rsplit_once('.').ok_or(refused)?;
        let (header, claims) = signed.split_once('.').ok_or(refused)?;
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| refused);
        let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| refused);
        let (header, claims) = (read(header)?, read(claims)?);
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0.public_key);
        key.verify(signed.as_bytes(), &decoded(signature)?).map_err(|_| refused)?;
        let now = self.0.clock.now().as_seconds();
        let (issued, expires) = (claims["iat"].as_i64().ok_or(refused)?, claims["exp"].as_i64().ok_or(refused)?);
        let is_timely = issued <= now - 60 && now < expires && expires <= now + 600 && expires - issued <= 600;
        match header["alg"] == "RS256" && claims["iss"] == APP_ID && is_timely {
            true => Ok(()),
            false => Err(refused),
        }
    }

    async fn app(State(github): State<Self>, headers: HeaderMap) -> Outcome {
        github.check_app(&headers, "app").await?;
        Ok((StatusCode::OK, Json(json!({"id": APP_ID, "slug": "acme-deploys"}))))
    }

    async fn installation_of_repository(
        State(github): State<Self>,
        Path((owner, name)): Path<(String, String)>,
        headers: HeaderMap,
    ) -> Outcome {
        github.check_app(&headers, "repository").await?;
        match (owner.as_str(), name.as_str()) {
            ("acme", "app") if !github.0.renamed => Ok((StatusCode::OK, Json(json!({"id": INSTALLATION})))),
            ("acme", "app") => Err(StatusCode::MOVED_PERMANENTLY),
            _ => Err(StatusCode::NOT_FOUND),
        }
    }

    async fn installation_of_owner(
        State(github): State<Self>,
        Path(owner): Path<String>,
        headers: HeaderMap,
    ) -> Outcome {
        github.check_app(&headers, "owner").await?;
        if owner == "acme" {
            Ok((StatusCode::OK, Json(json!({"id": INSTALLATION}))))
        } else {
            Err(StatusCode::NOT_FOUND)
        }
    }

    async fn new_token(
        State(github): State<Self>,
        Path(id): Path<u64>,
        headers: HeaderMap,
        Json(wanted): Json<Value>,
    ) -> Outcome<Failure> {
        let plain = |status| (status, HeaderMap::new());
        github.check_app(&headers, "token").await.map_err(plain)?;
        if let Some(failure) = github.0.failures.lock().unwrap().pop().flatten() {
            return Err(failure);
        }
        if id != INSTALLATION {
            return Err(plain(StatusCode::NOT_FOUND));
        }
        assert_eq!(wanted, json!({"permissions": {"contents": "read", "metadata": "read"}}));
        let expires_at = github.0.clock.now().plus(Duration::from_secs(3600));
        let mut tokens = github.0.tokens.lock().unwrap();
        let token = format!("ghs_16C7e42F292c6912E7710c838347Ae178B4a{:04}", tokens.len());
        tokens.insert(token.clone(), expires_at.as_seconds());
        Ok((StatusCode::CREATED, Json(json!({"token": token, "expires_at": expires_at.to_string()}))))
    }

    async fn repositories(State(github): State<Self>, headers: HeaderMap) -> Outcome {
        sleep(github.0.late).await;
        let token = authorization(&headers).and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned()));
        if !token.is_some_and(|token| github.knows(&token)) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let repositories = json!([{"full_name": "acme/app"}, {"full_name": "acme/site"}]);
        Ok((StatusCode::OK, Json(json!({"total_count": 2, "repositories": repositories}))))
    }
}

fn key_pair(pem: &str) -> RsaKeyPair {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    RsaKeyPair::from_der(&BASE64_STANDARD.decode(body).unwrap()).unwrap()
}

/// Creates a connection that is the app.
pub(super) async fn connect(owner: &Actor, host: &str, private_key: &str, installation: Option<u64>) -> Value {
    let new = json!({
        "name": "Acme deploys", "kind": "github_app", "host": host, "app_id": APP_ID, "private_key": private_key,
        "installation_id": installation,
    });
    let created = owner.post("/v1/connections", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body
}

async fn preflight(owner: &Actor) -> Answer {
    owner.post("/v1/repositories/app/deployments/preflight", json!({"ref": "main"})).await
}

#[tokio::test]
async fn a_repository_is_read_with_tokens_that_are_kept_below_their_hour() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["env"]);
    let (github, server) = Github::start(&world, &source, false).await;
    for secret in ["ghs_16C7e42F292c6912E7710c838347Ae178B4a", APP_KEY.lines().nth(2).unwrap()] {
        world.hide(secret);
    }
    let connection = connect(&owner, &server.host(), APP_KEY, Some(INSTALLATION)).await;
    assert_eq!((&connection["provider"], &connection["app_id"]), (&json!("github"), &json!(APP_ID)));
    let registered = register(&owner, "app", &server.url("/acme/app.git"), &connection).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(owner.ended(&deployment).await["status"], "succeeded");
    let log = owner.log(&deployment).await.join("\n");
    assert!(log.contains("DEPLOYMENT_ID=") && !log.contains("ghs_"), "{log}");

    // Each function has a memory of its own.
    let made = github.made();
    assert_eq!(preflight(&owner).await.body["outcome"], "starts");
    assert_eq!(github.made(), made + 1);
    world.clock.advance(Duration::from_secs(54 * 60));
    assert_eq!(preflight(&owner).await.body["outcome"], "starts");
    assert_eq!(github.made(), made + 1, "a token that is valid for more than five minutes is used again");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(preflight(&owner).await.body["outcome"], "starts");
    assert_eq!(github.made(), made + 2, "a token in its last minutes is not used");
    let rows = world.items_in_clear().await;
    assert!(!rows.contains("PRIVATE KEY") && !rows.contains("ghs_"));
}

#[tokio::test]
async fn an_installation_is_found_by_the_repository_and_a_renamed_one_by_its_owner() {
    let world = World::start_without_queue().await;
    let source = GitRepository::with_commands(&["true"]);
    for (account, renamed, expected) in
        [("acme", false, &["repository", "token"][..]), ("rival", true, &["repository", "owner", "token"])]
    {
        let owner = world.owner(account).await;
        let (github, server) = Github::start(&world, &source, renamed).await;
        let connection = connect(&owner, &server.host(), APP_KEY, None).await;
        let registered = register(&owner, "app", &server.url("/acme/app.git"), &connection).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        assert_eq!(*github.0.asked.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn an_app_that_can_not_be_used_says_why() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (github, server) = Github::start(&world, &source, false).await;
    let (url, other) = (server.url("/acme/app.git"), server.url("/globex/app.git"));
    let in_folder = server.url("/a/b/c.git");
    for (key, installation, clone_url, message) in [
        (ANOTHER_APP_KEY, None, &url, "the GitHub App's host does not accept its ID with its private key"),
        (APP_KEY, Some(1), &url, "the GitHub App has no installation 1"),
        (APP_KEY, None, &other, "the GitHub App is not installed for globex/app"),
        (APP_KEY, None, &in_folder, "clone_url has not the form https://host/owner/repository"),
    ] {
        let connection = connect(&owner, &server.host(), key, installation).await;
        let refused = register(&owner, "app", clone_url, &connection).await;
        refused.refused(400, "invalid_clone_url");
        let told = refused.body["error"]["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
        assert_eq!(refused.body["error"]["details"][0]["field"], "connection_id");
    }
    assert_eq!((github.made(), server.seen()), (0, vec![]));

    // A host that does not answer is another matter.
    let connection = connect(&owner, "127.0.0.1:1", APP_KEY, None).await;
    let refused = register(&owner, "app", "http://127.0.0.1:1/acme/app.git", &connection).await;
    refused.refused(503, "remote_unavailable");
    for message in ["could not be reached", "could not be reached", "has not answered lately, and is asked again in"] {
        let refused = register(&owner, "app", "http://127.0.0.1:1/acme/app.git", &connection).await;
        refused.refused(503, "remote_unavailable");
        let told = refused.body["error"]["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
    }
}

#[tokio::test]
async fn a_host_that_fails_for_a_moment_is_asked_again_for_a_token() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (github, server) = Github::start(&world, &source, false).await;
    // The registration, the creation and the runner each have a memory of their own.
    let (bad, busy, failed) = (StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
    let answers = [Some(bad), None, Some(busy), None, Some(failed), Some(bad), None];
    let answers = answers.map(|status| status.map(|status| (status, HeaderMap::new())));
    github.0.failures.lock().unwrap().extend(answers.into_iter().rev());
    let connection = connect(&owner, &server.host(), APP_KEY, Some(INSTALLATION)).await;
    let registered = register(&owner, "app", &server.url("/acme/app.git"), &connection).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let deployment = owner.deploy("app", json!({"ref": "main"})).await;
    let ended = owner.ended(&deployment).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert!(github.0.failures.lock().unwrap().is_empty());
}

/// GitHub answers with 403 when an app asks for too much, as it does to a key that it does not accept.
#[tokio::test]
async fn a_host_that_takes_no_more_requests_is_busy_and_refuses_no_key() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (github, server) = Github::start(&world, &source, false).await;
    let connection = connect(&owner, &server.host(), APP_KEY, Some(INSTALLATION)).await;
    let answer = async |headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let failure = (StatusCode::FORBIDDEN, HeaderMap::from_iter(headers));
        github.0.failures.lock().unwrap().push(Some(failure));
        register(&owner, "app", &server.url("/acme/app.git"), &connection).await
    };
    let used_up = [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1767272490"),
        ("date", "Thu, 01 Jan 2026 13:00:00 GMT"),
    ];
    // The wait is longer than a request may take, so nobody waits for it.
    for (headers, seconds) in [(&[("retry-after", "60")][..], "60"), (&used_up, "90")] {
        let busy = answer(headers).await;
        busy.refused(503, "remote_unavailable");
        assert_eq!(busy.header("retry-after"), seconds);
        let told = busy.body["error"]["message"].as_str().unwrap();
        assert!(told.contains("takes no more requests at the moment (HTTP status 403)"), "{told}");
    }
    let refused = answer(&[("x-ratelimit-remaining", "12"), used_up[1]]).await;
    refused.refused(400, "invalid_clone_url");
    let told = refused.body["error"]["message"].as_str().unwrap();
    assert!(told.contains("does not accept its ID with its private key"), "{told}");
    assert_eq!((github.made(), server.seen()), (0, vec![]));
    assert_eq!(register(&owner, "app", &server.url("/acme/app.git"), &connection).await.status, 201);
}

#[tokio::test]
async fn all_calls_for_a_token_have_the_time_of_one_look_up() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (github, server) = Github::start_late(&world, &source, false, LATE).await;
    let connection = connect(&owner, &server.host(), APP_KEY, None).await;
    let refused = register(&owner, "app", &server.url("/globex/app.git"), &connection).await;
    refused.refused(503, "remote_unavailable");
    let told = refused.body["error"]["message"].as_str().unwrap();
    assert!(told.contains("took too long to answer"), "{told}");
    assert_eq!(github.made(), 0);

    let connection = connect(&owner, &server.host(), APP_KEY, Some(INSTALLATION)).await;
    let checked = owner.post(&format!("{}/check", path(&connection)), json!({})).await;
    assert_eq!((checked.status, &checked.body["ok"]), (200, &json!(false)), "{checked:?}");
    let told = checked.body["message"].as_str().unwrap();
    assert!(told.ends_with("took too long to answer"), "{told}");
}

#[tokio::test]
async fn a_new_private_key_and_a_new_installation_are_used_at_once() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let (github, server) = Github::start(&world, &source, false).await;
    let connection = connect(&owner, &server.host(), APP_KEY, Some(INSTALLATION)).await;
    assert_eq!(register(&owner, "app", &server.url("/acme/app.git"), &connection).await.status, 201);
    assert_eq!(preflight(&owner).await.status, 200);
    let made = github.made();
    for (change, status) in [
        (json!({"private_key": ANOTHER_APP_KEY}), 400),
        (json!({"private_key": APP_KEY}), 200),
        (json!({"installation_id": 1}), 400),
        (json!({"installation_id": null}), 200),
    ] {
        let changed = owner.patch(&path(&connection), change.clone()).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(preflight(&owner).await.status, status, "{change}");
    }
    assert_eq!(github.made(), made + 2);
    assert_eq!(owner.get(&path(&connection)).await.body["installation_id"], json!(null));
}
