use std::cmp::Reverse;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use shared::access::{Access, Scope};
use shared::model::Role;
use shared::token::{TokenHash, TokenSecret};
use tests::{Actor, Answer, GitRepository, NOON, World};

/// Each endpoint and who may call it, written down a second time on purpose.
pub const CASES: [(&str, &str, Access); 49] = [
    ("list-repositories", "GET /v1/repositories", Access::Scope(Scope::RepositoriesRead)),
    ("create-repository", "POST /v1/repositories", Access::Scope(Scope::RepositoriesWrite)),
    ("get-repository", "GET /v1/repositories/{repo_id}", Access::Scope(Scope::RepositoriesRead)),
    ("create-deployment", "POST /v1/repositories/{repo_id}/deployments", Access::Scope(Scope::DeploymentsWrite)),
    ("list-deployments", "GET /v1/repositories/{repo_id}/deployments", Access::Scope(Scope::DeploymentsRead)),
    ("get-deployment", "GET /v1/deployments/{deployment_id}", Access::Scope(Scope::DeploymentsRead)),
    ("get-deployment-log", "GET /v1/deployments/{deployment_id}/log", Access::Scope(Scope::DeploymentsRead)),
    ("list-tokens", "GET /v1/tokens", Access::Scope(Scope::TokensRead)),
    ("create-token", "POST /v1/tokens", Access::Scope(Scope::TokensWrite)),
    ("get-token", "GET /v1/tokens/{token_id}", Access::Scope(Scope::TokensRead)),
    ("update-token", "PATCH /v1/tokens/{token_id}", Access::Scope(Scope::TokensWrite)),
    ("rotate-token", "POST /v1/tokens/{token_id}/rotate", Access::Scope(Scope::TokensWrite)),
    ("delete-token", "DELETE /v1/tokens/{token_id}", Access::Scope(Scope::TokensWrite)),
    ("list-teams", "GET /v1/teams", Access::Scope(Scope::TeamsRead)),
    ("create-team", "POST /v1/teams", Access::Scope(Scope::TeamsWrite)),
    ("get-team", "GET /v1/teams/{team_id}", Access::Scope(Scope::TeamsRead)),
    ("update-team", "PATCH /v1/teams/{team_id}", Access::Scope(Scope::TeamsWrite)),
    ("delete-team", "DELETE /v1/teams/{team_id}", Access::Scope(Scope::TeamsWrite)),
    ("list-team-members", "GET /v1/teams/{team_id}/members", Access::Scope(Scope::TeamsRead)),
    ("add-team-member", "PUT /v1/teams/{team_id}/members/{user_id}", Access::Scope(Scope::TeamsWrite)),
    ("remove-team-member", "DELETE /v1/teams/{team_id}/members/{user_id}", Access::Scope(Scope::TeamsWrite)),
    ("list-team-repositories", "GET /v1/teams/{team_id}/repositories", Access::Scope(Scope::TeamsRead)),
    ("add-team-repository", "PUT /v1/teams/{team_id}/repositories/{repo_id}", Access::Scope(Scope::TeamsWrite)),
    ("remove-team-repository", "DELETE /v1/teams/{team_id}/repositories/{repo_id}", Access::Scope(Scope::TeamsWrite)),
    ("get-account", "GET /v1/account", Access::Scope(Scope::AccountRead)),
    ("update-account", "PATCH /v1/account", Access::Scope(Scope::AccountWrite)),
    ("list-members", "GET /v1/members", Access::Scope(Scope::AccountRead)),
    ("update-member", "PUT /v1/members/{user_id}", Access::Scope(Scope::AccountWrite)),
    ("remove-member", "DELETE /v1/members/{user_id}", Access::Scope(Scope::AccountWrite)),
    ("list-invitations", "GET /v1/invitations", Access::Scope(Scope::AccountRead)),
    ("create-invitation", "POST /v1/invitations", Access::Scope(Scope::AccountWrite)),
    ("delete-invitation", "DELETE /v1/invitations/{invitation_id}", Access::Scope(Scope::AccountWrite)),
    ("accept-invitation", "POST /v1/invitations/{invitation_id}/accept", Access::Public),
    ("list-applications", "GET /v1/applications", Access::Scope(Scope::AccountRead)),
    ("create-application", "POST /v1/applications", Access::Scope(Scope::AccountWrite)),
    ("delete-application", "DELETE /v1/applications/{application_id}", Access::Scope(Scope::AccountWrite)),
    ("get-user", "GET /v1/user", Access::Authenticated),
    ("list-deployment-events", "GET /v1/deployments/{deployment_id}/events", Access::Scope(Scope::DeploymentsRead)),
    ("cancel-deployment", "POST /v1/deployments/{deployment_id}/cancel", Access::Scope(Scope::DeploymentsWrite)),
    ("retry-deployment", "POST /v1/deployments/{deployment_id}/retry", Access::Scope(Scope::DeploymentsWrite)),
    ("approve-deployment", "POST /v1/deployments/{deployment_id}/approve", Access::Scope(Scope::DeploymentsWrite)),
    ("reject-deployment", "POST /v1/deployments/{deployment_id}/reject", Access::Scope(Scope::DeploymentsWrite)),
    ("create-rollback", "POST /v1/repositories/{repo_id}/rollback", Access::Scope(Scope::DeploymentsWrite)),
    ("list-environments", "GET /v1/repositories/{repo_id}/environments", Access::Scope(Scope::DeploymentsRead)),
    (
        "get-environment",
        "GET /v1/repositories/{repo_id}/environments/{environment}",
        Access::Scope(Scope::DeploymentsRead),
    ),
    (
        "update-environment",
        "PATCH /v1/repositories/{repo_id}/environments/{environment}",
        Access::Scope(Scope::RepositoriesWrite),
    ),
    ("get-rate-limit", "GET /v1/rate_limit", Access::Authenticated),
    ("get-openapi", "GET /v1/openapi.json", Access::Public),
    ("not-found", "$default", Access::Authenticated),
];

/// An account with one repository and one deployment, both of which have ended what they had to do.
struct Acme {
    world: World,
    owner: Actor,
    source: GitRepository,
    repository: Value,
    deployment: Value,
    /// A token that nobody uses.
    token: Value,
    team: Value,
    invitation: Value,
    member: Actor,
}

impl Acme {
    async fn start() -> Self {
        let world = World::start().await;
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        let repository = owner.repository("app", &source).await;
        let deployment = owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
        let member = world.member(&owner, Role::Member).await;
        let team = owner.team("Platform").await;
        let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
        let entries = [
            (format!("{path}/members/{}", member.user_id.as_ref().unwrap()), Value::Null),
            (format!("{path}/repositories/app"), json!({"permission": "read"})),
        ];
        for (path, body) in entries {
            assert_eq!(owner.put(&path, body).await.status, 200);
        }
        let invited = owner.post("/v1/invitations", json!({"email": "guest@example.com"})).await;
        let invitation = invited.body["invitation"].clone();
        let token = owner.post("/v1/tokens", json!({"name": "spare", "scopes": ["tokens:write"]})).await.body;
        let application = json!({"name": "CI", "client_id": "ci", "scopes": ["repositories:read"]});
        assert_eq!(owner.post("/v1/applications", application).await.status, 201);
        Self { world, owner, source, repository, deployment, token, team, invitation, member }
    }

    /// A request of this case, which is valid but for its token.
    fn request(&self, actor: &Actor, route: &str) -> reqwest::RequestBuilder {
        let (method, path) = route.split_once(' ').unwrap_or(("GET", "/v1/nothing/here"));
        let path = path
            .replace("{repo_id}", self.repository["id"].as_str().unwrap())
            .replace("{deployment_id}", self.deployment["id"].as_str().unwrap())
            .replace("{token_id}", self.token["id"].as_str().unwrap())
            .replace("{team_id}", self.team["id"].as_str().unwrap())
            .replace("{user_id}", self.member.user_id.as_ref().unwrap().as_str())
            .replace("{invitation_id}", self.invitation["id"].as_str().unwrap())
            .replace("{application_id}", "ci")
            .replace("{environment}", "preview");
        let request = actor.request(method.parse::<Method>().unwrap(), &path);
        let body = match route {
            "POST /v1/repositories" => json!({"name": "new", "clone_url": self.source.url()}),
            "POST /v1/repositories/{repo_id}/deployments" => json!({"ref": "main"}),
            "POST /v1/tokens" => json!({"name": "new", "scopes": ["tokens:write"]}),
            "POST /v1/applications" => {
                json!({"name": "new", "client_id": "new", "scopes": ["repositories:read"]})
            }
            "PATCH /v1/tokens/{token_id}" => json!({"name": "renamed"}),
            "POST /v1/tokens/{token_id}/rotate" => json!({}),
            "POST /v1/teams" => json!({"name": "new"}),
            "PATCH /v1/account" => json!({"permanent_tokens": true}),
            "PATCH /v1/teams/{team_id}" => json!({"description": "new"}),
            "PUT /v1/teams/{team_id}/repositories/{repo_id}" => json!({"permission": "read"}),
            "PUT /v1/members/{user_id}" => json!({"role": "member"}),
            "POST /v1/invitations" => json!({"email": "new@example.com"}),
            "POST /v1/repositories/{repo_id}/rollback" => {
                json!({"environment": "preview", "deployment_id": self.deployment["id"]})
            }
            "POST /v1/deployments/{deployment_id}/approve" => json!({"sha": self.deployment["sha"]}),
            _ if route.starts_with("GET") || route.starts_with("DELETE") || route == "$default" => return request,
            _ => json!({}),
        };
        request.json(&body)
    }

    async fn call(&self, actor: &Actor, route: &str) -> Answer {
        actor.send(self.request(actor, route)).await
    }

    /// How many there are of everything that a list has, and the spare token.
    async fn totals(&self) -> Vec<Value> {
        let team = format!("/v1/teams/{}", self.team["id"].as_str().unwrap());
        let mut totals = Vec::new();
        for path in [
            "/v1/repositories",
            "/v1/repositories/app/deployments",
            "/v1/teams",
            &format!("{team}/members"),
            &format!("{team}/repositories"),
            "/v1/members",
            "/v1/invitations",
            "/v1/applications",
        ] {
            totals.push(self.owner.get(path).await.body["meta"]["total"].clone());
        }
        let account = self.owner.get("/v1/account").await;
        totals.push(json!([account.body, account.header("etag")]));
        totals.push(self.owner.get(&format!("/v1/tokens/{}", self.token["id"].as_str().unwrap())).await.body);
        totals
    }

    /// A minute later the source address may fail to authenticate again.
    fn a_minute_passes(&self) {
        self.world.clock.advance(Duration::from_secs(60));
    }
}

fn endpoints_with_a_token() -> impl Iterator<Item = (&'static str, Access)> {
    CASES.into_iter().map(|(_, route, access)| (route, access)).filter(|(_, access)| *access != Access::Public)
}

fn hash(actor: &Actor) -> TokenHash {
    actor.token.as_ref().unwrap().parse::<TokenSecret>().unwrap().hash()
}

#[tokio::test]
async fn no_endpoint_lets_anybody_in_without_a_valid_token() {
    let acme = Acme::start().await;
    let now = acme.world.clock.now();
    let good = acme.owner.token.clone().unwrap();
    let unknown = TokenSecret::random().reveal().to_owned();
    let mistyped = format!("{}{}", &good[..39], if good.ends_with('0') { '1' } else { '0' });
    let expired = acme.world.with_token(&acme.owner, |token| token.expires_at = Some(now)).await.token.unwrap();
    let revoked = acme.world.with_token(&acme.owner, |token| token.revoked_at = Some(now)).await.token.unwrap();
    let rotated = acme.world.with_token(&acme.owner, |token| token.superseded_at = Some(now)).await.token.unwrap();
    let refused: [(&str, Vec<String>, &str); 13] = [
        ("nothing", vec![], "missing_token"),
        ("another scheme", vec!["Basic YWNtZTpzZWNyZXQ=".to_owned()], "missing_token"),
        ("no scheme", vec![good.clone()], "missing_token"),
        ("a scheme alone", vec!["Bearer".to_owned()], "missing_token"),
        ("an empty token", vec!["Bearer ".to_owned()], "missing_token"),
        ("what is no token", vec!["Bearer secret".to_owned()], "invalid_token"),
        ("a token and more", vec![format!("Bearer {good} {good}")], "invalid_token"),
        ("two headers", vec![format!("Bearer {good}"), format!("Bearer {good}")], "invalid_token"),
        ("a wrong checksum", vec![format!("Bearer {mistyped}")], "invalid_token"),
        ("an unknown token", vec![format!("Bearer {unknown}")], "invalid_token"),
        ("an expired token", vec![format!("Bearer {expired}")], "token_expired"),
        ("a revoked token", vec![format!("Bearer {revoked}")], "token_revoked"),
        ("a token that another has replaced", vec![format!("Bearer {rotated}")], "token_rotated"),
    ];
    let before = acme.totals().await;
    for (route, _) in endpoints_with_a_token() {
        acme.a_minute_passes();
        let anonymous = acme.world.anonymous();
        for (left, (what, headers, code)) in (0..60).rev().zip(&refused) {
            let request = acme.request(&anonymous, route);
            let request = headers.iter().fold(request, |request, header| request.header(AUTHORIZATION, header));
            let answer = anonymous.send(request).await;
            println!("{route} with {what}");
            answer.refused(401, code);
            let challenge = if *code == "missing_token" { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            assert_eq!(answer.header("www-authenticate"), challenge);
            assert!(!answer.body.to_string().contains("dgp_"), "a token is not sent back: {answer:?}");
            let limit = answer.rate_limit();
            assert_eq!((limit.limit, limit.burst, limit.remaining), (60, 20, left), "it counts against the source");
            assert_eq!(acme.world.line_of(&answer)["account_id"], Value::Null);
        }
    }
    assert_eq!(acme.totals().await, before);
}

#[tokio::test]
async fn each_endpoint_needs_its_scope_and_no_other() {
    let acme = Acme::start().await;
    let before = acme.totals().await;
    for (route, access) in endpoints_with_a_token() {
        let Access::Scope(needed) = access else {
            let powerless = acme.world.with_token(&acme.owner, |token| token.scopes = vec![]).await;
            let answer = acme.call(&powerless, route).await;
            assert_eq!(answer.status, if route == "$default" { 404 } else { 200 }, "{answer:?}");
            continue;
        };
        let others = Scope::ALL.into_iter().filter(|scope| *scope != needed).collect();
        let lacking = acme.world.with_token(&acme.owner, |token| token.scopes = others).await;
        let answer = acme.call(&lacking, route).await;
        answer.refused(403, "insufficient_scope");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed.as_str());
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(answer.rate_limit().limit, 1_000_000, "it counts against the account: {answer:?}");
        assert_eq!(acme.world.line_of(&answer)["account_id"], acme.owner.account_id.as_ref().unwrap().as_str());
    }
    assert_eq!(acme.totals().await, before);

    // What is removed is removed last, and first what is in something else.
    let mut routes: Vec<_> = endpoints_with_a_token().collect();
    routes.sort_by_key(|(route, _)| (route.starts_with("DELETE"), Reverse(route.len())));
    for (route, access) in routes {
        let Access::Scope(needed) = access else { continue };
        let allowed = acme.world.with_token(&acme.owner, |token| {
            token.scopes = vec![needed];
            // Nobody gives an application what they don't have.
            token.scopes.extend((route == "POST /v1/applications").then_some(Scope::RepositoriesRead));
        });
        let allowed = allowed.await;
        let answer = acme.call(&allowed, route).await;
        let expected = match route {
            "POST /v1/tokens/{token_id}/rotate" => 200,
            // The caller has created it, and it has ended.
            "POST /v1/deployments/{deployment_id}/approve"
            | "POST /v1/deployments/{deployment_id}/cancel"
            | "POST /v1/deployments/{deployment_id}/reject" => 409,
            _ if route.starts_with("POST") => 201,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{route}: {answer:?}");
        assert_ne!(answer.body["error"]["code"], "insufficient_scope", "{answer:?}");
    }
}

#[tokio::test]
async fn what_another_account_has_does_not_exist() {
    let acme = Acme::start().await;
    let rival = acme.world.owner("rival").await;
    let own = rival.repository("own", &acme.source).await;
    let before = acme.totals().await;
    for (route, _) in endpoints_with_a_token().filter(|(route, _)| route.contains('{')) {
        let answer = acme.call(&rival, route).await;
        let kinds = ["repo", "deployment", "token", "team", "user", "invitation", "application"];
        let nobodys = kinds.into_iter().zip(["repo", "deploy", "tok", "team", "user", "inv", "app"]);
        let nobodys = nobodys.fold(route.to_owned(), |route, (kind, prefix)| {
            route.replace(&format!("{{{kind}_id}}"), &format!("{prefix}_aaaaaaaaaaaaaaaa"))
        });
        let missing = acme.call(&acme.owner, &nobodys).await;
        answer.refused(404, "not_found").rate_limit();
        missing.refused(404, "not_found");
        assert_eq!(answer.body["error"]["message"], missing.body["error"]["message"], "the two can't be told apart");
    }
    for slug in ["app", "acme%2Fapp"] {
        rival.get(&format!("/v1/repositories/{slug}")).await.refused(404, "not_found");
    }
    let listed = rival.get("/v1/repositories").await;
    assert_eq!((&listed.body["data"], &listed.body["meta"]["total"]), (&json!([own]), &json!(1)));
    let deployments = rival.get("/v1/repositories/own/deployments").await;
    assert_eq!((&deployments.body["data"], &deployments.body["meta"]["total"]), (&json!([]), &json!(0)));
    assert_eq!(acme.totals().await, before);
}

#[tokio::test]
async fn a_public_endpoint_needs_no_token_and_looks_at_none() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for actor in [world.anonymous(), world.anonymous().holding("nonsense"), owner] {
        let answer = actor.get("/v1/openapi.json").await;
        assert_eq!((answer.status, &answer.body["openapi"]), (200, &json!("3.1.0")));
        assert_eq!(answer.rate_limit().limit, 60, "it counts against the source");
        assert_eq!(world.line_of(&answer)["dynamodb_calls"], 1, "the limiter's write");
    }
}

#[tokio::test]
async fn a_token_that_can_not_be_one_costs_no_read() {
    let world = World::start().await;
    let cost = async |token: &str| {
        let answer = world.anonymous().holding(token).get("/v1/repositories").await;
        answer.refused(401, "invalid_token");
        world.cost(&answer)
    };
    let unknown = TokenSecret::random();
    let unknown = unknown.reveal();
    let mistyped = format!("{}{}", &unknown[..39], if unknown.ends_with('0') { '1' } else { '0' });
    let limiter = (1, 1.0);
    assert_eq!(cost("nonsense").await, limiter);
    assert_eq!(cost(&mistyped).await, limiter);
    assert_eq!(cost(&unknown.replace("dgp_", "ghp_")).await, limiter);
    assert_eq!(cost(unknown).await, (2, 1.5), "one eventually consistent read more");
}

#[tokio::test]
async fn a_token_is_read_once_in_30_seconds() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    // The endpoint reads the limiter's item; a token, and what it stands for, are two reads more.
    for (at_ms, calls) in [(0, 3), (0, 1), (29_999, 1), (30_000, 3), (59_999, 1), (60_000, 3)] {
        let elapsed = world.clock.now().since(NOON);
        world.clock.advance(Duration::from_millis(at_ms) - elapsed);
        let answer = owner.get("/v1/rate_limit").await;
        assert_eq!(answer.status, 200);
        assert_eq!(world.line_of(&answer)["dynamodb_calls"], calls, "after {at_ms} ms");
    }
}

#[tokio::test]
async fn a_revocation_takes_effect_within_30_seconds() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    assert_eq!(owner.get("/v1/repositories").await.status, 200);
    let now = AttributeValue::N(world.clock.now().as_millis().to_string());
    world.set_attribute((&format!("TOKEN#{}", hash(&owner)), "TOKEN"), "revoked_at", now).await;

    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!(owner.get("/v1/repositories").await.status, 200, "this function remembers the token");
    owner.get("/v1/rate_limit").await.refused(401, "token_revoked");
    world.clock.advance(Duration::from_millis(1));
    owner.get("/v1/repositories").await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_new_plan_and_new_scopes_take_effect_within_30_seconds() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    assert_eq!(owner.get("/v1/repositories").await.rate_limit().limit, 60);
    let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
    world.set_attribute((&account, "ACCOUNT"), "plan", AttributeValue::S("pro".to_owned())).await;
    let scopes = AttributeValue::L(vec![AttributeValue::S("deployments:read".to_owned())]);
    world.set_attribute((&format!("TOKEN#{}", hash(&owner)), "TOKEN"), "scopes", scopes).await;

    world.clock.advance(Duration::from_millis(29_999));
    let remembered = owner.get("/v1/repositories").await;
    assert_eq!((remembered.status, remembered.rate_limit().limit), (200, 60));
    world.clock.advance(Duration::from_millis(1));
    let fresh = owner.get("/v1/repositories").await;
    assert_eq!(fresh.refused(403, "insufficient_scope").rate_limit().limit, 600);
}

#[tokio::test]
async fn a_token_expires_to_the_millisecond_though_it_is_remembered() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let at = world.clock.now().plus(Duration::from_secs(10));
    let brief = world.with_token(&owner, |token| token.expires_at = Some(at)).await;
    assert_eq!(brief.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(9_999));
    assert_eq!(brief.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let answer = brief.get("/v1/repositories").await;
    answer.refused(401, "token_expired");
    assert_eq!(answer.body["error"]["message"], "The token expired at 2026-01-01T12:00:10Z");
}

#[tokio::test]
async fn a_token_lives_90_days_unless_it_is_permanent() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let event = json!({"account": "forever", "plan": "pro", "owner_email": "owner@example.com", "permanent": true});
    let created = world.stack.bootstrap(event).await.unwrap();
    assert_eq!(created["expires_at"], Value::Null);
    let permanent = owner.holding(created["token"].as_str().unwrap());
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);

    world.clock.advance(days(90) - Duration::from_millis(1));
    assert_eq!(owner.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    owner.get("/v1/repositories").await.refused(401, "token_expired");
    assert_eq!(permanent.get("/v1/repositories").await.status, 200);
    world.clock.advance(days(3650));
    assert_eq!(permanent.get("/v1/repositories").await.status, 200);
}

#[tokio::test]
async fn only_the_hash_of_a_token_is_stored_and_no_token_is_logged() {
    let acme = Acme::start().await;
    let token = acme.owner.token.clone().unwrap();
    let table = acme.world.stack.app().table();
    let items = table.client().scan().table_name(table.name()).send().await.unwrap();
    let stored = format!("{:?}", items.items());
    assert!(stored.contains(&hash(&acme.owner).to_string()));
    let secret_part = &token[4..34];
    assert!(!stored.contains(secret_part) && !format!("{:?}", acme.world.log()).contains(secret_part));
}
