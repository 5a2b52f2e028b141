//! Builds with stored variables.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, GitRepository, World, buildspec};

use super::{ACCOUNT, PRODUCTION, REPOSITORY, plain, secret, set};

/// Deploys to production, and waits for the end.
async fn deploy(world: &World, owner: &Actor, variables: Value) -> Value {
    // A ref that was read within the last second is not read again.
    world.clock.advance(Duration::from_secs(2));
    let new = json!({"ref": "main", "environment": "production", "variables": variables});
    let created = owner.deploy("app", new).await;
    owner.ended(&created).await
}

/// Returns the lines that a build has printed.
async fn printed(owner: &Actor, deployment: &Value) -> Vec<String> {
    assert_eq!(deployment["status"], "succeeded", "{deployment} {:?}", owner.log(deployment).await);
    let log = owner.log(deployment).await;
    log.iter().filter_map(|line| line.strip_prefix("stdout: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_build_gets_each_variable_from_the_narrowest_place_and_only_secrets_are_masked() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let print = "for n in A B C D E; do eval \"echo $n is \\$$n\"; done";
    let compare = "test \"$E\" = secret-of-deployment && test \"$C\" = secret-of-environment && echo opened";
    let stores = "env:\n  variables: {A: buildspec}\n  parameter-store: {B: /app/b}\n  secrets-manager: {C: 'app:c'}\n";
    let source = GitRepository::new(&[(
        "buildspec.yml",
        &(buildspec(&[print, compare, "echo $AWS_REGION $AWS_DEFAULT_REGION"]) + stores),
    )]);
    owner.repository("app", &source).await;
    let missing = deploy(&world, &owner, json!({})).await;
    assert_eq!(missing["failure"]["code"], "variables_missing");
    let message = missing["failure"]["message"].as_str().unwrap();
    assert!(message.contains("set B as a variable of the environment, the repository or the account"), "{message}");

    for name in ["A", "B", "C", "D", "E"] {
        set(&owner, ACCOUNT, name, secret(&format!("secret-of-account-{name}"))).await;
    }
    for name in ["B", "C", "D", "E"] {
        set(&owner, REPOSITORY, name, plain("repository")).await;
    }
    for (name, body) in
        [("C", secret("secret-of-environment")), ("D", plain("environment")), ("E", plain("environment"))]
    {
        set(&owner, PRODUCTION, name, body).await;
    }
    set(&owner, PRODUCTION, "AWS_REGION", plain("eu-central-1")).await;
    let own = json!({"D": "deployment", "E": {"value": "secret-of-deployment", "secret": true}});
    let ended = deploy(&world, &owner, own).await;
    let lines = printed(&owner, &ended).await;
    let expected = ["A is ***", "B is repository", "C is ***", "D is deployment", "E is ***", "opened"];
    assert_eq!(lines[..6], expected);
    assert!(lines[6].starts_with("eu-central-1 ") && lines[6] != "eu-central-1 eu-central-1", "{lines:?}");

    let variable = |name: &str, from: &str, secret: bool, version: Option<u64>, value: Option<&str>| json!({"name": name, "from": from, "secret": secret, "version": version, "value": value});
    assert_eq!(
        ended["variables"],
        json!([
            variable("A", "account", true, Some(5), None),
            variable("AWS_REGION", "environment", false, Some(4), None),
            variable("B", "repository", false, Some(4), None),
            variable("C", "environment", true, Some(4), None),
            variable("D", "deployment", false, None, Some("deployment")),
            variable("E", "deployment", true, None, None),
        ])
    );
    assert_eq!(ended["variable_names"], json!(["D", "E"]));
    let listed = owner.get("/v1/repositories/app/deployments").await.body;
    assert_eq!(listed["data"][0]["variables"], json!(null));
    // Other environments have the variables of the account and the repository only.
    world.clock.advance(Duration::from_secs(2));
    let preview = owner.deploy("app", json!({"ref": "main"})).await;
    let preview = owner.ended(&preview).await;
    assert_eq!(preview["variables"][2], variable("C", "repository", false, Some(4), None));
}

#[tokio::test]
async fn keys_of_aws_reach_the_builds_of_their_environment_masked() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo id=$AWS_ACCESS_KEY_ID key=$AWS_SECRET_ACCESS_KEY"]);
    owner.repository("app", &source).await;
    set(&owner, PRODUCTION, "AWS_ACCESS_KEY_ID", secret("AKIAIOSFODNN7EXAMPLE")).await;
    set(&owner, PRODUCTION, "AWS_SECRET_ACCESS_KEY", secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")).await;
    let ended = deploy(&world, &owner, json!({})).await;
    assert_eq!(printed(&owner, &ended).await, ["id=*** key=***"]);
    let created = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let ended = owner.ended(&created).await;
    assert_eq!(printed(&owner, &ended).await, ["id= key="]);
}

#[tokio::test]
async fn a_deployment_keeps_its_versions_and_so_do_its_repetitions_unless_asked_otherwise() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source =
        GitRepository::with_commands(&["echo $PLAIN $OWN; test \"$KEY\" = \"$EXPECTED\" && echo the key is the same"]);
    owner.repository("app", &source).await;
    set(&owner, REPOSITORY, "PLAIN", plain("first")).await;
    set(&owner, PRODUCTION, "KEY", secret("hunter21")).await;
    set(&owner, PRODUCTION, "EXPECTED", plain("hunter21")).await;
    let first = deploy(&world, &owner, json!({"OWN": "mine"})).await;
    let of_first = ["first mine", "the key is the same"];
    assert_eq!(printed(&owner, &first).await, of_first);

    set(&owner, REPOSITORY, "PLAIN", plain("second")).await;
    owner.delete(&format!("{PRODUCTION}/KEY")).await;
    set(&owner, PRODUCTION, "EXPECTED", plain("")).await;
    let second = deploy(&world, &owner, json!({})).await;
    let of_second = ["second", "the key is the same"];
    assert_eq!(printed(&owner, &second).await, of_second);
    assert_eq!(owner.deployment(&first).await, first, "the first one stays as it is");

    let rollback = async |more: Value| {
        world.clock.advance(Duration::from_secs(2));
        let mut body = json!({"environment": "production", "deployment_id": first["id"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let created = owner.post("/v1/repositories/app/rollback", body).await;
        assert_eq!(created.status, 201, "{created:?}");
        owner.ended(&created.body).await
    };
    let retry = async |query: &str| {
        let created = owner.act(&first, &format!("retry{query}"), json!({})).await;
        assert_eq!(created.status, 201, "{created:?}");
        owner.ended(&created.body).await
    };
    let frozen = [
        rollback(json!({})).await,
        rollback(json!({"stored_variables": "frozen"})).await,
        retry("").await,
        retry("?stored_variables=frozen").await,
    ];
    for ended in &frozen {
        assert_eq!(
            (printed(&owner, ended).await, &ended["variables"]),
            (of_first.map(str::to_owned).to_vec(), &first["variables"])
        );
    }
    let current = [rollback(json!({"stored_variables": "current"})).await, retry("?stored_variables=current").await];
    for ended in &current {
        assert_eq!(printed(&owner, ended).await, ["second mine", "the key is the same"], "the own variables stay");
        let from: Vec<_> = ended["variables"].as_array().unwrap().iter().map(|variable| &variable["name"]).collect();
        assert_eq!(from, ["EXPECTED", "OWN", "PLAIN"]);
    }
    let again = owner.act(&current[1], "retry", json!({})).await;
    let again = owner.ended(&again.body).await;
    assert_eq!(again["variables"], current[1]["variables"]);
    let refused = owner.act(&first, "retry?stored_variables=newest", json!({})).await;
    refused.refused(400, "invalid_request");

    // One idempotency key is for one choice.
    let with_key = async |query: &str| {
        let path = format!("/v1/deployments/{}/retry{query}", first["id"].as_str().unwrap());
        owner.send(owner.request(Method::POST, &path).header("idempotency-key", "k1").json(&json!({}))).await
    };
    let [once, again] = [with_key("?stored_variables=current").await, with_key("?stored_variables=current").await];
    assert_eq!((once.status, &again.body["id"]), (201, &once.body["id"]));
    with_key("").await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn what_is_approved_runs_with_the_versions_that_were_approved() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo $STAGE"]);
    owner.repository("app", &source).await;
    let ann = world.member(&owner, Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    set(&owner, PRODUCTION, "STAGE", plain("first")).await;
    let new = json!({"ref": "main", "environment": "production"});
    let [first, same] = [owner.deploy("app", new.clone()).await, owner.deploy("app", new.clone()).await];
    let digest = |deployment: &Value| deployment["approval_digest"].as_str().unwrap().to_owned();
    set(&owner, PRODUCTION, "STAGE", plain("second")).await;
    let seen = ann.deployment(&first).await;
    assert_eq!((digest(&seen), &seen["variables"][0]["version"]), (digest(&first), &json!(1)));
    assert_eq!(ann.act(&first, "approve", tests::approval(&first)).await.status, 200);
    let ended = owner.ended(&first).await;
    assert_eq!(printed(&owner, &ended).await, ["first"]);

    // A version that is not the one that was approved does not run, and neither does one that is gone.
    let repository =
        format!("ACCT#{}#REPO#{}", owner.account_id.as_ref().unwrap(), first["repository_id"].as_str().unwrap());
    let version = (&*format!("{repository}#VARIABLES"), "ENV#production#VERSION#000000000001");
    world.set_attribute(version, "variables", AttributeValue::M([].into())).await;
    assert_eq!(ann.act(&same, "approve", tests::approval(&same)).await.status, 200);
    let ended = owner.ended(&same).await;
    assert_eq!(ended["failure"]["code"], "variables_missing", "{ended}");
    let message = ended["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("The variables of the environment in version 1"), "{message}");
    assert!(owner.log(&same).await.iter().all(|line| !line.contains("Entering phase")));
    // A deployment that names other versions than those approved does not run.
    let other = owner.deploy("app", new).await;
    assert_eq!(ann.act(&other, "approve", tests::approval(&other)).await.status, 200);
    assert_eq!(printed(&owner, &owner.ended(&other).await).await, ["second"]);
}
