//! The rights of a trust's token, and their end.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use local::functions::routes;
use serde_json::{Value, json};
use shared::access::{Access, Scope};
use shared::model::{Role, Trust};
use tests::estate::{Estate, request};
use tests::{Actor, GitRepository, World, approval};

use super::{exchange_job, program, trust};

/// The routes that need the scope to deploy, and that a trust's token may use.
const DEPLOYS: [&str; 5] = [
    "POST /v1/deployments/{deployment_id}/cancel",
    "POST /v1/deployments/{deployment_id}/retry",
    "POST /v1/repositories/{repo_id}/deployments",
    "POST /v1/repositories/{repo_id}/deployments/preflight",
    "POST /v1/repositories/{repo_id}/rollback",
];

/// An account with two repositories, and a program that may deploy one of them to staging.
struct Acme {
    world: World,
    owner: Actor,
    app: Value,
    other: Value,
    trust: Value,
    program: Actor,
    _source: GitRepository,
}

impl Acme {
    async fn start() -> Self {
        let world = World::start_without_queue().await;
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        let (app, other) = (owner.repository("app", &source).await, owner.repository("other", &source).await);
        let limits = json!({"repository_id": app["id"], "environments": ["staging"]});
        let trust = trust(&world, &owner, limits).await;
        let program = program(&world, &owner, &trust).await;
        Self { world, owner, app, other, trust, program, _source: source }
    }

    async fn deploy(&self, environment: &str) -> Value {
        self.owner.deploy("app", json!({"ref": "main", "environment": environment})).await
    }
}

#[tokio::test]
async fn a_program_deploys_its_repository_to_its_environments() {
    let acme = Acme::start().await;
    let program = &acme.program;
    let deployment = program.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    assert_eq!(deployment["created_by"], acme.trust["user_id"]);
    assert_eq!(program.deployment(&deployment).await["id"], deployment["id"]);
    assert_eq!(program.events(&deployment).await.len(), 1);
    assert_eq!(program.get("/v1/repositories").await.column("name"), ["app"]);
    assert_eq!(program.get("/v1/repositories").await.body["meta"]["total"], 1);
    assert_eq!(program.act(&deployment, "cancel", json!({})).await.status, 200);
    let retried = program.act(&deployment, "retry", json!({})).await;
    assert_eq!((retried.status, &retried.body["created_by"]), (201, &acme.trust["user_id"]), "{retried:?}");
    // It reads what belongs to its repository, in every environment.
    let production = acme.deploy("production").await;
    assert_eq!(program.deployment(&production).await["environment"], "production");
    assert_eq!(program.get("/v1/repositories/app/environments").await.body["data"].as_array().unwrap().len(), 3);

    let everywhere = trust(&acme.world, &acme.owner, json!({})).await;
    let everywhere = self::program(&acme.world, &acme.owner, &everywhere).await;
    assert_eq!(everywhere.get("/v1/repositories").await.column("name").len(), 2);
    everywhere.deploy("other", json!({"ref": "main", "environment": "production"})).await;
}

#[tokio::test]
async fn each_way_to_another_environment_is_refused() {
    let acme = Acme::start().await;
    let before = acme.world.items().await;
    let production = acme.deploy("production").await;
    let after = acme.world.items().await;
    assert_ne!(before, after);
    let mut tried = BTreeSet::new();
    for route in routes().filter(|route| route.access == Access::Scope(Scope::DeploymentsWrite)) {
        let key = route.key();
        let path = key.split_once(' ').unwrap().1.replace("{repo_id}", "app");
        let path = path.replace("{deployment_id}", production["id"].as_str().unwrap());
        let body = match route.function {
            "create-rollback" => json!({"environment": "production"}),
            "approve-deployment" => approval(&production),
            _ if path.contains("/deployments/deploy_") => json!({}),
            _ => json!({"ref": "main", "environment": "production"}),
        };
        let refused = acme.program.post(&path, body).await;
        refused.refused(403, "insufficient_permission");
        let message = "The token's trust does not allow deployments to 'production'; it allows those to 'staging'";
        assert_eq!(refused.body["error"]["message"], message, "{key}");
        tried.insert(key);
    }
    let people = ["approve", "reject"].map(|action| format!("POST /v1/deployments/{{deployment_id}}/{action}"));
    assert_eq!(tried, DEPLOYS.map(str::to_owned).into_iter().chain(people).collect());
    assert_eq!(acme.world.items().await, after);
}

#[tokio::test]
async fn another_repository_looks_like_one_that_does_not_exist() {
    let acme = Acme::start().await;
    let deployment = acme.owner.deploy("other", json!({"ref": "main", "environment": "staging"})).await;
    let before = acme.world.items().await;
    let mut tried = 0;
    for route in routes().filter(|route| route.path.contains("{repo_id}") || route.path.contains("{deployment_id}")) {
        let Access::Scope(scope) = route.access else { continue };
        if !Trust::SCOPES.contains(&scope) {
            continue;
        }
        let id = acme.other["id"].as_str().unwrap();
        for repository in [id, "other", "acme%2Fother"] {
            let path = route.path.replace("{repo_id}", repository).replace("{environment}", "staging");
            let path = path.replace("{deployment_id}", deployment["id"].as_str().unwrap());
            let request = acme.program.request(route.method.clone(), &path);
            let body = match route.function {
                "create-rollback" => json!({"environment": "staging"}),
                _ => json!({"ref": "main", "environment": "staging"}),
            };
            let request = if route.is_safe() { request } else { request.json(&body) };
            acme.program.send(request).await.refused(404, "not_found");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    assert_eq!(acme.world.items().await, before);
}

#[tokio::test]
async fn a_program_grants_nothing_and_approves_nothing() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let program = estate.program(&world).await;
    for route in routes() {
        let before = estate.items(&world).await.len();
        let answer = program.send(request(&program, &route.key(), &estate.parameters)).await;
        match route.access {
            Access::Scope(scope) if !Trust::SCOPES.contains(&scope) => drop(answer.refused(403, "insufficient_scope")),
            _ if ["approve-deployment", "reject-deployment"].contains(&route.function) => {
                answer.refused(403, "insufficient_permission");
                let message = answer.body["error"]["message"].as_str().unwrap();
                assert!(message.starts_with("Only people "), "{message}");
            }
            _ if route.function == "join-account" => drop(answer.refused(403, "insufficient_permission")),
            _ => continue,
        }
        assert_eq!(estate.items(&world).await.len(), before, "{}", route.key());
    }
    // Whoever created the trust is a creator of its deployments, too.
    let name = &estate.parameters["repo_name"];
    estate.owner.set(name, "staging", json!({"required_approvals": 1})).await;
    let waiting = program.deploy(name, json!({"ref": "main", "environment": "staging"})).await;
    estate.owner.act(&waiting, "approve", approval(&waiting)).await.refused(409, "self_approval");
    assert_eq!(estate.admin.act(&waiting, "approve", approval(&waiting)).await.status, 200);
}

#[tokio::test]
async fn a_deleted_trust_ends_its_tokens_at_once_for_writes_and_soon_for_reads() {
    let acme = Acme::start().await;
    let program = &acme.program;
    assert_eq!(program.get("/v1/repositories/app/deployments").await.status, 200);
    let deploy = json!({"ref": "main", "environment": "staging"});
    let refused = program.post("/v1/repositories/app/deployments?unknown=1", deploy.clone()).await;
    refused.refused(400, "invalid_request");
    let path = format!("/v1/trusts/{}", acme.trust["id"].as_str().unwrap());
    let deleted = acme.owner.delete(&path).await;
    assert_eq!((deleted.status, &deleted.body["deleted"]), (200, &json!(true)));
    program.post("/v1/repositories/app/deployments", deploy).await.refused(401, "token_revoked");
    assert_eq!(program.get("/v1/repositories/app").await.status, 401, "this function did not know the token");
    assert_eq!(program.get("/v1/repositories/app/deployments").await.status, 200, "this function remembers the token");
    acme.world.callers_are_forgotten();
    program.get("/v1/repositories/app/deployments").await.refused(401, "token_revoked");
    acme.owner.delete(&path).await.refused(404, "not_found");
    let refused = exchange_job(&acme.world, &acme.trust, json!({})).await;
    refused.refused(400, "invalid_request");
    assert_eq!(acme.owner.get("/v1/trusts").await.body["meta"]["total"], 0);
}

/// No endpoint changes a trust. An operator can.
#[tokio::test]
async fn a_changed_trust_ends_its_tokens() {
    let acme = Acme::start().await;
    let deploy = json!({"ref": "main", "environment": "staging"});
    assert_eq!(acme.program.post("/v1/repositories/app/deployments", deploy.clone()).await.status, 201);
    let key = format!("TRUST#{}", acme.trust["id"].as_str().unwrap());
    let table = acme.world.stack.app().table();
    let (pk, sk) = (AttributeValue::S(key.clone()), AttributeValue::S("TRUST".to_owned()));
    let row = table.client().get_item().table_name(table.name()).key("pk", pk).key("sk", sk).send().await.unwrap();
    let terms = row.item.unwrap()["terms"].as_m().unwrap().clone();
    let mut narrower = terms.clone();
    narrower.insert("environments".to_owned(), AttributeValue::L(vec![AttributeValue::S("preview".to_owned())]));
    acme.world.set_attribute((&key, "TRUST"), "terms", AttributeValue::M(narrower)).await;
    acme.program.post("/v1/repositories/app/deployments", deploy.clone()).await.refused(401, "token_revoked");

    // A row without a limit is not a trust without limits.
    for limit in ["repository_id", "environments"] {
        let mut without = terms.clone();
        without.remove(limit);
        acme.world.set_attribute((&key, "TRUST"), "terms", AttributeValue::M(without)).await;
        let answer = acme.program.post("/v1/repositories/app/deployments", deploy.clone()).await;
        assert_eq!(answer.status, 500, "{answer:?}");
    }
}

#[tokio::test]
async fn a_trust_in_a_repository_that_is_gone_opens_no_other() {
    let acme = Acme::start().await;
    let table = acme.world.stack.app().table();
    let account = format!("ACCT#{}", acme.owner.account_id.as_ref().unwrap());
    let sk = format!("REPO#{}", acme.app["id"].as_str().unwrap());
    let delete = table.client().delete_item().table_name(table.name());
    delete.key("pk", AttributeValue::S(account)).key("sk", AttributeValue::S(sk)).send().await.unwrap();
    let program = self::program(&acme.world, &acme.owner, &acme.trust).await;
    for repository in [&acme.app, &acme.other] {
        let path = format!("/v1/repositories/{}", repository["id"].as_str().unwrap());
        program.get(&path).await.refused(404, "not_found");
        let deploy =
            program.post(&format!("{path}/deployments"), json!({"ref": "main", "environment": "staging"})).await;
        deploy.refused(404, "not_found");
    }
    assert_eq!(program.get("/v1/repositories").await.body["data"], json!([]));
}

#[tokio::test]
async fn the_audit_log_tells_which_job_deployed() {
    let acme = Acme::start().await;
    let deployment = acme.program.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let events = acme.owner.get(&format!("/v1/audit_events?actor={}", acme.trust["user_id"].as_str().unwrap())).await;
    let events = events.body["data"].as_array().unwrap().clone();
    let of =
        |action: &str| events.iter().find(|event| event["action"] == action).unwrap_or_else(|| panic!("{events:?}"));
    let (exchanged, created) = (of("trust.exchanged"), of("deployment.created"));
    assert_eq!((events.len(), &created["target"]["id"]), (2, &deployment["id"]));
    assert_eq!(exchanged["token_id"], created["token_id"]);
    for event in [exchanged, created] {
        let actor = json!({"type": "trust", "id": acme.trust["user_id"], "name": "CI"});
        assert_eq!((&event["actor"], event["client_id"].is_null()), (&actor, true));
    }
    let target = json!({"type": "trust", "id": acme.trust["id"], "name": "CI"});
    assert_eq!((&exchanged["target"], &exchanged["source_address"]), (&target, &json!("127.0.0.1")));
    let subject = json!("repo:acme/app:ref:refs/heads/main");
    assert!(
        exchanged["changes"].as_array().unwrap().contains(&json!({"field": "subject", "from": subject, "to": subject}))
    );
    let member = acme.world.member(&acme.owner, Role::Member).await;
    assert_eq!(member.get("/v1/trusts").await.column("id"), [acme.trust["id"].as_str().unwrap()]);
}

#[tokio::test]
async fn a_trust_of_a_pattern_allows_its_members_and_nothing_else() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    for name in ["review-*", "reviews"] {
        assert_eq!(owner.post("/v1/repositories/app/environments", json!({"name": name})).await.status, 201);
    }
    let trusted = trust(&world, &owner, json!({"environments": ["review-*"]})).await;
    let program = program(&world, &owner, &trusted).await;
    for (environment, status, member) in
        [("review-7", 201, "review-7"), ("review-*", 201, "review-main"), ("reviews", 403, ""), ("preview", 403, "")]
    {
        let body = json!({"ref": "main", "environment": environment});
        let answer = program.post("/v1/repositories/app/deployments", body).await;
        assert_eq!(answer.status, status, "{environment}: {answer:?}");
        if status == 201 {
            assert_eq!(answer.body["environment"], member);
        }
    }
}
