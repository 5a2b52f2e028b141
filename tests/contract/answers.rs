//! The API's answers against the document.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World};

use super::schema::conforms;
use super::{document, operations};
use crate::authorization::CASES;
use crate::inputs::resolved;

/// Asserts that the document has an answer: its status, its code, its headers and its body.
#[track_caller]
fn documented(document: &Value, key: &str, answer: &Answer) {
    let operations = operations(document);
    let response = resolved(document, &operations[key]["responses"][answer.status.to_string()]);
    assert!(response.is_object(), "{key} has no {}: {answer:?}", answer.status);
    let schema = &response["content"]["application/json"]["schema"];
    if key != "GET /v1/openapi.json" || answer.status != 200 {
        conforms(document, schema, &answer.body, key).unwrap();
    }
    if let Some(code) = answer.body["error"]["code"].as_str() {
        assert!(response["description"].as_str().unwrap().contains(&format!("`{code}`")), "{key} has no {code}");
    }
    let mut sometimes = vec!["Idempotent-Replayed", "Retry-After", "X-Token-Expires-At", "X-Poll-Interval"];
    // Another token could not bring the permission.
    sometimes.extend((answer.body["error"]["code"] == "insufficient_permission").then_some("WWW-Authenticate"));
    for name in response["headers"].as_object().unwrap().keys() {
        if sometimes.contains(&name.as_str()) && !answer.headers.contains_key(name) {
            continue;
        }
        let kind = &document["components"]["headers"][name]["schema"]["type"];
        let value = answer.header(name);
        let is_of_type = match kind.as_str() {
            Some("integer") => value.parse::<u64>().is_ok(),
            Some("boolean") => value.parse::<bool>().is_ok(),
            kind => kind == Some("string"),
        };
        assert!(is_of_type, "{name}: {value} is not of type {kind}");
    }
    answer.rate_limit();
}

/// Calls the endpoints of teams, members and invitations. Returns each response with the expected status.
async fn calls_of_teams(world: &World, owner: &Actor) -> Vec<(&'static str, u16, Answer)> {
    let member = world.member(owner, Role::Member).await;
    let team = owner.team("Platform").await;
    owner.team("Other").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    let (person, app) =
        (format!("{path}/members/{}", member.user_id.as_ref().unwrap()), format!("{path}/repositories/app"));
    let user = format!("/v1/members/{}", member.user_id.as_ref().unwrap());
    let last = format!("/v1/members/{}", owner.user_id.as_ref().unwrap());
    let stale = owner.request(Method::PATCH, &path).header("if-match", "\"0\"").json(&json!({"name": "x"}));
    let invited = owner.post("/v1/invitations", json!({"email": "ada@example.com", "teams": [team["id"]]})).await;
    let invitation = format!("/v1/invitations/{}", invited.body["invitation"]["id"].as_str().unwrap());
    let accept = format!("{invitation}/accept");
    let secret = json!({"secret": invited.body["secret"]});
    let wrong = json!({"secret": format!("dgi_{}", "a".repeat(32))});
    let other = owner.post("/v1/invitations", json!({"email": "ben@example.com"})).await;
    let other = format!("/v1/invitations/{}", other.body["invitation"]["id"].as_str().unwrap());
    const CREATE: &str = "POST /v1/teams";
    const UPDATE: &str = "PATCH /v1/teams/{team_id}";
    const MEMBER: &str = "PUT /v1/teams/{team_id}/members/{user_id}";
    const REPOSITORY: &str = "PUT /v1/teams/{team_id}/repositories/{repo_id}";
    const INVITE: &str = "POST /v1/invitations";
    const ACCEPT: &str = "POST /v1/invitations/{invitation_id}/accept";
    const ROLE: &str = "PUT /v1/members/{user_id}";
    vec![
        (CREATE, 201, owner.post("/v1/teams", json!({"name": "New"})).await),
        (CREATE, 409, owner.post("/v1/teams", json!({"name": "new"})).await),
        (CREATE, 400, owner.post("/v1/teams", json!({"name": ""})).await),
        (CREATE, 403, member.post("/v1/teams", json!({"name": "x"})).await),
        ("GET /v1/teams", 200, owner.get("/v1/teams").await),
        ("GET /v1/teams", 200, member.get("/v1/teams").await),
        ("GET /v1/teams/{team_id}", 200, owner.get(&path).await),
        ("GET /v1/teams/{team_id}", 404, member.get(&path).await),
        (UPDATE, 200, owner.patch(&path, json!({"description": "x"})).await),
        (UPDATE, 409, owner.patch(&path, json!({"name": "other"})).await),
        (UPDATE, 412, owner.send(stale).await),
        (MEMBER, 200, owner.put(&person, json!({})).await),
        (MEMBER, 404, owner.put(&format!("{path}/members/x"), json!({})).await),
        (REPOSITORY, 200, owner.put(&app, json!({"permission": "read"})).await),
        (REPOSITORY, 400, owner.put(&app, json!({"permission": "x"})).await),
        (REPOSITORY, 404, owner.put(&format!("{path}/repositories/x"), json!({"permission": "read"})).await),
        ("GET /v1/teams/{team_id}/members", 200, owner.get(&format!("{path}/members")).await),
        ("GET /v1/teams/{team_id}/repositories", 200, owner.get(&format!("{path}/repositories")).await),
        (INVITE, 201, invited),
        (INVITE, 409, owner.post("/v1/invitations", json!({"email": "ADA@example.com"})).await),
        (INVITE, 400, owner.post("/v1/invitations", json!({"email": "ada"})).await),
        ("GET /v1/invitations", 200, owner.get("/v1/invitations").await),
        ("GET /v1/invitations", 403, member.get("/v1/invitations").await),
        (ACCEPT, 404, world.anonymous().post(&accept, wrong).await),
        (ACCEPT, 400, world.anonymous().post(&accept, json!({})).await),
        (ACCEPT, 200, world.anonymous().post(&accept, secret).await),
        ("DELETE /v1/invitations/{invitation_id}", 200, owner.delete(&other).await),
        ("DELETE /v1/invitations/{invitation_id}", 404, owner.delete(&other).await),
        ("GET /v1/members", 200, owner.get("/v1/members").await),
        (ROLE, 200, owner.put(&user, json!({"role": "admin"})).await),
        (ROLE, 409, owner.put(&last, json!({"role": "admin"})).await),
        ("DELETE /v1/teams/{team_id}/members/{user_id}", 200, owner.delete(&person).await),
        ("DELETE /v1/teams/{team_id}/repositories/{repo_id}", 200, owner.delete(&app).await),
        ("DELETE /v1/teams/{team_id}", 200, owner.delete(&path).await),
        ("DELETE /v1/members/{user_id}", 409, owner.delete(&last).await),
        ("DELETE /v1/members/{user_id}", 200, owner.delete(&user).await),
        ("DELETE /v1/members/{user_id}", 404, owner.delete(&user).await),
    ]
}

#[tokio::test]
async fn what_the_api_answers_is_what_the_document_says() {
    let world = World::start().await;
    let document = document();
    let owner = world.owner("acme").await;
    let powerless = world.with_token(&owner, |token| token.scopes = vec![]).await;
    let source = GitRepository::with_commands(&["echo out", "false"]);
    let new = json!({"name": "app", "clone_url": source.url()});
    let mut calls: Vec<(&str, u16, Answer)> = Vec::new();

    const CREATE: &str = "POST /v1/repositories";
    calls.push((CREATE, 201, owner.post("/v1/repositories", new.clone()).await));
    calls.push((CREATE, 409, owner.post("/v1/repositories", new).await));
    let refused: [(u16, Value); 4] = [
        (400, json!({"name": "..", "clone_url": source.url(), "unknown": 1})),
        (400, json!({"name": "b", "clone_url": "ftp://example.com/x"})),
        (400, json!({"name": "b", "clone_url": source.url(), "default_branch": "nope"})),
        (413, json!({"name": "a".repeat(300 * 1024), "clone_url": source.url()})),
    ];
    for (status, body) in refused {
        calls.push((CREATE, status, owner.post("/v1/repositories", body).await));
    }
    let text = async |actor: &Actor, path: &str, kind: &str| {
        actor.send(actor.request(Method::POST, path).header("content-type", kind).body("{")).await
    };
    calls.push((CREATE, 400, text(&owner, "/v1/repositories", "application/json").await));
    calls.push((CREATE, 415, text(&owner, "/v1/repositories", "text/plain").await));

    const DEPLOY: &str = "POST /v1/repositories/{repo_id}/deployments";
    let path = "/v1/repositories/app/deployments";
    let body = json!({"ref": "main", "variables": {"LOG_LEVEL": "debug"}});
    let created = owner.post(path, body).await;
    calls.push((DEPLOY, 400, owner.post(path, json!({"ref": "nope"})).await));
    calls.push((DEPLOY, 400, owner.post(path, json!({"ref": "main", "variables": {"AWS_X": "1"}})).await));
    calls.push((DEPLOY, 404, owner.post("/v1/repositories/nope/deployments", json!({"ref": "main"})).await));
    calls.push((DEPLOY, 415, text(&owner, path, "text/plain").await));

    const TOKEN: &str = "POST /v1/tokens";
    let new = json!({"name": "ci", "scopes": ["tokens:read", "tokens:write"], "expires_in_days": 13});
    let token = owner.post("/v1/tokens", new).await;
    let ci = owner.holding(token.body["token"].as_str().unwrap());
    let one = format!("/v1/tokens/{}", token.body["id"].as_str().unwrap());
    let rotation = format!("{one}/rotate");
    calls.push((TOKEN, 201, token));
    calls.push((TOKEN, 400, owner.post("/v1/tokens", json!({"name": "ci", "scopes": ["x"]})).await));
    calls.push((TOKEN, 403, ci.post("/v1/tokens", json!({"name": "ci", "scopes": ["account:read"]})).await));
    let member = world.member(&owner, Role::Member).await;
    let admin = world.member(&owner, Role::Admin).await;
    for (status, actor) in [(200, &ci), (403, &powerless), (404, &member), (403, &admin)] {
        calls.push(("PATCH /v1/tokens/{token_id}", status, actor.patch(&one, json!({"name": "ci"})).await));
        calls.push(("POST /v1/tokens/{token_id}/rotate", status, actor.post(&rotation, json!({})).await));
        if actor.token != admin.token {
            calls.push(("GET /v1/tokens/{token_id}", status, actor.get(&one).await));
        }
    }
    calls.push(("GET /v1/tokens", 403, member.get("/v1/tokens?user=all").await));
    for (status, actor) in [(403, &powerless), (404, &member), (200, &admin), (404, &owner)] {
        calls.push(("DELETE /v1/tokens/{token_id}", status, actor.delete(&one).await));
    }
    const REGISTER: &str = "POST /v1/applications";
    let token = world.issuer.client_token("ci", world.clock.now());
    let new = |client: &str| json!({"name": "CI", "client_id": client, "access_token": token, "scopes": ["repositories:read"]});
    for (status, actor, body) in [
        (201, &owner, new("ci")),
        (409, &owner, new("ci")),
        (400, &owner, new("")),
        (400, &owner, new("other")),
        (403, &admin, new("other")),
        (403, &powerless, new("other")),
    ] {
        calls.push((REGISTER, status, actor.post("/v1/applications", body).await));
    }
    calls.push(("GET /v1/applications", 200, owner.get("/v1/applications").await));
    for (status, actor) in [(403, &powerless), (403, &admin), (200, &owner), (404, &owner)] {
        let deleted = actor.delete("/v1/applications/ci").await;
        calls.push(("DELETE /v1/applications/{application_id}", status, deleted));
    }
    assert!(calls.iter().any(|(_, _, answer)| answer.headers.contains_key("x-token-expires-at")));

    const PREFLIGHT: &str = "POST /v1/repositories/{repo_id}/deployments/preflight";
    for (status, body) in [(200, json!({"ref": "main"})), (200, json!({"ref": "nope"})), (400, json!({}))] {
        calls.push((PREFLIGHT, status, owner.post(&format!("{path}/preflight"), body).await));
    }
    let late = json!({"ref": "main", "expected_current": "deploy_aaaaaaaaaaaaaaaa"});
    calls.push((DEPLOY, 409, owner.post(path, late).await));
    let with_key = async |key: &str, body: Value| {
        owner.send(owner.request(Method::POST, path).header("idempotency-key", key).json(&body)).await
    };
    let staging = json!({"ref": "main", "environment": "staging"});
    let first = with_key("k", staging.clone()).await;
    owner.ended(&first.body).await;
    calls.push((DEPLOY, 201, first));
    calls.push((DEPLOY, 201, with_key("k", staging).await));
    calls.push((DEPLOY, 422, with_key("k", json!({"ref": "main"})).await));
    calls.push((DEPLOY, 400, with_key("", json!({"ref": "main"})).await));

    let failed = owner.ended(&created.body).await;
    assert!(failed["failure"].is_object() && failed["finished_at"].is_string(), "{failed}");
    let deployment = format!("/v1/deployments/{}", created.body["id"].as_str().unwrap());
    calls.push((DEPLOY, 201, created));
    calls.extend(calls_of_teams(&world, &owner).await);
    let (log, events) = (format!("{deployment}/log"), format!("{deployment}/events"));
    let acts = [
        ("cancel", 409, json!({})),
        ("retry", 201, json!({})),
        ("approve", 409, json!({"sha": "0", "approval_digest": "0"})),
        ("approve", 400, json!({})),
        ("reject", 409, json!({})),
    ];
    for (action, status, body) in acts {
        let key = match action {
            "cancel" => "POST /v1/deployments/{deployment_id}/cancel",
            "retry" => "POST /v1/deployments/{deployment_id}/retry",
            "approve" => "POST /v1/deployments/{deployment_id}/approve",
            _ => "POST /v1/deployments/{deployment_id}/reject",
        };
        let answer = owner.post(&format!("{deployment}/{action}"), body).await;
        if action == "retry" {
            owner.ended(&answer.body).await;
        }
        calls.push((key, status, answer));
    }
    const UPDATE: &str = "PATCH /v1/repositories/{repo_id}/environments/{environment}";
    let production = "/v1/repositories/app/environments/production";
    calls.push((UPDATE, 200, owner.patch(production, json!({"required_approvals": 1})).await));
    calls.push((UPDATE, 400, owner.patch(production, json!({"required_approvals": 7})).await));
    let to_production = json!({"ref": "main", "environment": "production"});
    let waiting = owner.post(path, to_production.clone()).await;
    calls.push((DEPLOY, 201, waiting.clone()));
    const APPROVE: &str = "POST /v1/deployments/{deployment_id}/approve";
    let approval = tests::approval(&waiting.body);
    calls.push((APPROVE, 409, owner.act(&waiting.body, "approve", approval.clone()).await));
    const GET: &str = "GET /v1/deployments/{deployment_id}";
    let url = waiting.body["url"].as_str().unwrap();
    calls.push((GET, 200, owner.get(url).await));
    calls.push((UPDATE, 200, owner.patch(production, json!({"frozen": true})).await));
    calls.push((DEPLOY, 409, owner.post(path, to_production).await));
    let ann = world.member(&owner, Role::Admin).await;
    calls.push((APPROVE, 200, ann.act(&waiting.body, "approve", approval).await));
    calls.push((GET, 200, owner.get(url).await));
    calls.push(("POST /v1/deployments/{deployment_id}/reject", 200, ann.act(&waiting.body, "reject", json!({})).await));
    const ROLLBACK: &str = "POST /v1/repositories/{repo_id}/rollback";
    let rollback = "/v1/repositories/app/rollback";
    calls.push((ROLLBACK, 409, owner.post(rollback, json!({"environment": "staging"})).await));
    calls.push((ROLLBACK, 400, owner.post(rollback, json!({"environment": "preview"})).await));

    let gets = [
        ("GET /v1/repositories", "/v1/repositories", [200, 403]),
        ("GET /v1/repositories", "/v1/repositories?per_page=0", [400, 403]),
        ("GET /v1/repositories", "/v1/repositories?cursor=x", [400, 403]),
        ("GET /v1/repositories/{repo_id}", "/v1/repositories/app", [200, 403]),
        ("GET /v1/repositories/{repo_id}", "/v1/repositories/nope", [404, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", path, [200, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", "/v1/repositories/app/deployments?sort=name", [400, 403]),
        ("GET /v1/repositories/{repo_id}/deployments", "/v1/repositories/app/deployments?status=x", [400, 403]),
        ("GET /v1/deployments/{deployment_id}", &deployment, [200, 403]),
        ("GET /v1/deployments/{deployment_id}", "/v1/deployments/nope", [404, 403]),
        ("GET /v1/deployments/{deployment_id}/log", &log, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/events", &events, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/events", &format!("{events}?limit=0"), [400, 403]),
        ("GET /v1/repositories/{repo_id}/environments", "/v1/repositories/app/environments", [200, 403]),
        ("GET /v1/repositories/{repo_id}/environments/{environment}", production, [200, 403]),
        ("GET /v1/deployments/{deployment_id}/log", &format!("{log}?limit=0"), [400, 403]),
        ("GET /v1/tokens", "/v1/tokens", [200, 403]),
        ("GET /v1/tokens", "/v1/tokens?user=x", [400, 403]),
        ("GET /v1/applications", "/v1/applications?sort=name", [400, 403]),
        ("GET /v1/user", "/v1/user", [200, 200]),
        ("GET /v1/rate_limit", "/v1/rate_limit", [200, 200]),
        ("GET /v1/openapi.json", "/v1/openapi.json", [200, 200]),
    ];
    for (key, path, [status, without_scope]) in gets {
        calls.push((key, status, owner.get(path).await));
        calls.push((key, without_scope, powerless.get(path).await));
        let public = key == "GET /v1/openapi.json";
        calls.push((key, if public { 200 } else { 401 }, world.anonymous().get(path).await));
        world.clock.advance(Duration::from_secs(5));
    }
    let anonymous = world.anonymous();
    for _ in 0..20 {
        anonymous.get("/v1/sign-in").await;
    }
    // The document is not counted.
    for &(key, ..) in CASES.iter().filter(|(key, ..)| *key != "GET /v1/openapi.json") {
        if let Some((method, path)) = key.split_once(' ') {
            calls.push((key, 429, anonymous.send(anonymous.request(method.parse().unwrap(), path)).await));
        }
    }

    assert!(calls.iter().any(|(_, _, answer)| answer.body["data"][0]["text"].is_string()), "a log with lines");
    for (key, status, answer) in calls {
        assert_eq!(answer.status, status, "{key}: {answer:?}");
        documented(&document, key, &answer);
    }
}
