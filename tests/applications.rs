use std::time::Duration;

use serde_json::{Value, json};
use shared::model::Role;
use shared::settings::{OIDC_AUDIENCE, OIDC_ISSUER};
use tests::issuer::{AUDIENCE, SigningKey};
use tests::{Actor, GitRepository, World};

/// A program with a token from client credentials.
fn program(world: &World, client: &str, scopes: &str) -> Actor {
    let issuer = &world.issuer;
    let mut claims = issuer.claims(client, world.clock.now());
    claims["client_id"] = json!(client);
    claims["scope"] = json!(scopes);
    claims["exp"] = json!(world.clock.now().as_seconds() + 3600);
    world.anonymous().holding(&issuer.token(&claims))
}

fn new(world: &World, client: &str, scopes: &[&str]) -> Value {
    let token = world.issuer.client_token(client, world.clock.now());
    json!({"name": format!("The {client}"), "client_id": client, "access_token": token, "scopes": scopes})
}

#[tokio::test]
async fn an_application_acts_in_the_account_within_its_scopes() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let scopes = ["deployments:write", "repositories:read", "deployments:write"];
    let registered = owner.post("/v1/applications", new(&world, "deployer", &scopes)).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let user_id = &registered.body["user_id"];
    assert_eq!(
        registered.body,
        json!({
            "id": "deployer", "name": "The deployer", "scopes": ["repositories:read", "deployments:write"],
            "user_id": user_id, "created_by": owner.user_id.as_ref().unwrap().as_str(), "owned_by": owner.user_id.as_ref().unwrap().as_str(),
            "created_at": "2026-01-01T12:00:00Z",
        })
    );
    let page = owner.get("/v1/applications").await;
    assert_eq!((&page.body["data"], &page.body["meta"]["total"]), (&json!([registered.body]), &json!(1)));

    let deployer = program(&world, "deployer", "deployments:write deployments:read repositories:read");
    let me = deployer.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.body["application"], json!({"id": "deployer", "name": "The deployer", "user_id": user_id}));
    assert_eq!(
        (&me.body["user"], &me.body["scopes"]),
        (&Value::Null, &json!(["repositories:read", "deployments:write"]))
    );
    assert_eq!(deployer.get("/v1/repositories").await.column("name"), ["app"]);
    let deployment = deployer.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(deployment["created_by"], *user_id);
    deployer.get("/v1/repositories/app/deployments").await.refused(403, "insufficient_scope");
    assert_eq!(world.line_of(&me)["account_id"], owner.account_id.as_ref().unwrap().as_str());

    let reader = program(&world, "deployer", "repositories:read");
    assert_eq!(reader.get("/v1/user").await.body["scopes"], json!(["repositories:read"]));
    let nothing = program(&world, "deployer", "account:write tokens:write");
    assert_eq!(nothing.get("/v1/user").await.body["scopes"], json!([]));
    program(&world, "another", "repositories:read").get("/v1/user").await.refused(403, "not_linked");
}

#[tokio::test]
async fn only_people_approve_and_never_what_their_own_application_created() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let admin = world.member(&owner, Role::Admin).await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let scopes = ["deployments:read", "deployments:write"];
    assert_eq!(owner.post("/v1/applications", new(&world, "deployer", &scopes)).await.status, 201);
    let deployer = program(&world, "deployer", "deployments:read deployments:write");

    let body = json!({"ref": "main", "environment": "production"});
    let own = owner.deploy("app", body.clone()).await;
    deployer.act(&own, "approve", tests::approval(&own)).await.refused(403, "insufficient_permission");
    deployer.act(&own, "reject", json!({})).await.refused(403, "insufficient_permission");
    assert_eq!(owner.deployment(&own).await["approvals"]["given_by"], json!([]));

    let of_application = deployer.deploy("app", body).await;
    let canceled = owner.act(&own, "cancel", json!({})).await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    let retried = deployer.act(&own, "retry", json!({})).await.body;
    for created in [&of_application, &retried] {
        owner.act(created, "approve", tests::approval(created)).await.refused(409, "self_approval");
        assert_eq!(admin.act(created, "approve", tests::approval(created)).await.status, 200);
    }
}

#[tokio::test]
async fn only_an_owner_registers_applications_and_never_with_more_than_programs_may_have() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (admin, member) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    for actor in [&admin, &member] {
        let refused = actor.post("/v1/applications", new(&world, "app", &["repositories:read"])).await;
        refused.refused(403, "insufficient_permission");
        actor.delete("/v1/applications/app").await.refused(403, "insufficient_permission");
    }
    let weak = world.with_token(&owner, |token| {
        token.scopes.retain(|scope| !["deployments:write"].contains(&scope.as_str()));
    });
    let refused = weak.await.post("/v1/applications", new(&world, "app", &["deployments:write"])).await;
    refused.refused(403, "insufficient_scope");
    for (field, value, invalid) in [
        ("scopes", json!([]), "scopes"),
        ("scopes", json!(["tokens:write"]), "scopes[0]"),
        ("scopes", json!(["repositories:read", "account:read"]), "scopes[1]"),
        ("access_token", json!(""), "access_token"),
        ("access_token", Value::Null, "access_token"),
        ("client_id", json!(""), "client_id"),
        ("client_id", json!("a/b"), "client_id"),
        ("client_id", json!("a".repeat(129)), "client_id"),
        ("name", json!(""), "name"),
        ("secret", json!("x"), "secret"),
    ] {
        let mut body = new(&world, "app", &["repositories:read"]);
        body[field] = value;
        let refused = owner.post("/v1/applications", body).await;
        assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], invalid);
    }
    assert_eq!(owner.get("/v1/applications").await.body["meta"]["total"], 0, "what was refused left nothing behind");
}

#[tokio::test]
async fn a_client_is_registered_once_and_its_deletion_takes_effect_within_30_seconds() {
    let world = World::start().await;
    let (owner, rival) = (world.owner("acme").await, world.owner("rival").await);
    for client in ["first", "second", "third"] {
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(owner.post("/v1/applications", new(&world, client, &["repositories:read"])).await.status, 201);
    }
    for actor in [&owner, &rival] {
        actor.post("/v1/applications", new(&world, "second", &["repositories:read"])).await.refused(409, "name_taken");
    }
    assert_eq!(rival.get("/v1/applications").await.body["meta"]["total"], 0);
    rival.delete("/v1/applications/second").await.refused(404, "not_found");
    rival.delete("/v1/applications/nothing").await.refused(404, "not_found");
    let page = owner.get("/v1/applications?per_page=2").await;
    assert_eq!(
        (page.column("id"), page.body["meta"]["total"].as_u64()),
        (vec!["third".to_owned(), "second".to_owned()], Some(3))
    );
    assert_eq!(owner.get(&page.link("next").unwrap()).await.column("id"), ["first"]);

    let second = program(&world, "second", "repositories:read");
    assert_eq!(second.get("/v1/repositories").await.status, 200);
    assert_eq!(owner.delete("/v1/applications/second").await.status, 200);
    owner.delete("/v1/applications/second").await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/applications").await.column("id"), ["third", "first"]);
    assert_eq!(owner.get("/v1/applications").await.body["meta"]["total"], 2);
    second.get("/v1/user").await.refused(403, "not_linked");
    world.clock.advance(Duration::from_secs(30));
    second.get("/v1/repositories").await.refused(403, "not_linked");
    // Another account may then register the client.
    assert_eq!(rival.post("/v1/applications", new(&world, "second", &["repositories:read"])).await.status, 201);
    assert_eq!(second.get("/v1/user").await.body["account"]["slug"], "rival");
}

/// Whoever registers a client decides in whose account it runs.
#[tokio::test]
async fn only_whoever_has_the_secret_of_a_client_registers_it() {
    let world = World::start().await;
    let (owner, rival) = (world.owner("acme").await, world.owner("rival").await);
    let issuer = &world.issuer;
    let now = world.clock.now();
    let claims = |change: &dyn Fn(&mut Value)| {
        let mut claims = issuer.claims("ci", now);
        claims["client_id"] = json!("ci");
        change(&mut claims);
        claims
    };
    let message = "must be an access token that the client in 'client_id' got with the client credentials grant in the last ten \
                   minutes";
    let stranger = SigningKey::random();
    let tokens = [
        ("of another client", issuer.client_token("theirs", now)),
        ("of a client that does not exist", issuer.client_token("nothing", now)),
        ("of a person who signed in with the client", issuer.token(&claims(&|claims| claims["sub"] = json!("ada")))),
        ("of another issuer", stranger.sign(&issuer.header(), &claims(&|_| ()))),
        ("for another API", issuer.token(&claims(&|claims| claims["aud"] = json!("https://other.example")))),
        ("ten minutes old", issuer.token(&claims(&|claims| claims["iat"] = json!(now.as_seconds() - 600)))),
        ("expired", issuer.token(&claims(&|claims| claims["exp"] = json!(now.as_seconds() - 61)))),
    ];
    for (what, token) in tokens {
        let mut body = new(&world, "ci", &["repositories:read"]);
        body["access_token"] = json!(token);
        let refused = rival.post("/v1/applications", body).await;
        refused.refused(400, "invalid_request");
        let details = json!([{"field": "access_token", "message": message}]);
        assert_eq!(refused.body["error"]["details"], details, "{what}");
    }
    assert_eq!(owner.post("/v1/applications", new(&world, "ci", &["repositories:read"])).await.status, 201);
    // The refusal does not tell whether somebody has registered the client.
    let mut body = new(&world, "ci", &["repositories:read"]);
    body["access_token"] = json!(issuer.client_token("theirs", now));
    let refused = rival.post("/v1/applications", body).await;
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["message"], message);
    world.clock.advance(Duration::from_secs(9 * 60));
    let late = json!({
        "name": "CI", "client_id": "ci", "access_token": issuer.client_token("ci", now), "scopes": ["repositories:read"],
    });
    rival.post("/v1/applications", late).await.refused(409, "name_taken");
}

#[tokio::test]
async fn no_client_is_registered_without_an_issuer_that_answers() {
    for (url, status, code) in [("", 400, "invalid_request"), ("http://127.0.0.1:9", 503, "service_unavailable")] {
        let world = World::start_with(|options| {
            options.overrides.push((OIDC_ISSUER, url.to_owned()));
            options.overrides.push((OIDC_AUDIENCE, AUDIENCE.to_owned()));
        })
        .await;
        let owner = world.owner("acme").await;
        let refused = owner.post("/v1/applications", new(&world, "ci", &["repositories:read"])).await;
        refused.refused(status, code);
        if status == 400 {
            let detail = &refused.body["error"]["details"][0];
            assert_eq!(detail["field"], "access_token");
            assert!(detail["message"].as_str().unwrap().contains("set OIDC_ISSUER"), "{detail}");
        }
    }
}
