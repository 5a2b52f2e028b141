//! Stored variables of accounts, repositories and environments.

mod builds;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use local::stack::Lifetime;
use serde_json::{Value, json};
use shared::model::{MAX_STORED_BYTES, MAX_STORED_VARIABLES, Role};
use tests::{Actor, Answer, World};

/// The lists of variables of each level, from the one that every other overrides.
const LEVELS: [&str; 3] = [ACCOUNT, REPOSITORY, PRODUCTION];
const ACCOUNT: &str = "/v1/account/variables";
const REPOSITORY: &str = "/v1/repositories/app/variables";
const PRODUCTION: &str = "/v1/repositories/app/environments/production/variables";

/// Sets a variable. Fails the test unless the API accepts it.
async fn set(caller: &Actor, level: &str, name: &str, body: Value) -> Value {
    let set = caller.put(&format!("{level}/{name}"), body).await;
    assert_eq!(set.status, 200, "{set:?}");
    set.body
}

fn secret(value: &str) -> Value {
    json!({"value": value, "secret": true})
}

fn plain(value: &str) -> Value {
    json!({"value": value})
}

/// Returns the detail of a refusal, as the field and the message.
fn detail(refused: &Answer) -> (String, String) {
    let detail = &refused.body["error"]["details"][0];
    (detail["field"].as_str().unwrap().to_owned(), detail["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_variable_is_created_replaced_read_and_deleted_at_each_level() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let author = json!({"type": "user", "id": owner.user_id, "name": "owner@example.com"});
    for level in LEVELS {
        assert_eq!(owner.get(level).await.body, json!({"version": 0, "data": []}), "{level}");
        let url = json!({
            "name": "API_URL", "value": "https://api.acme.example", "secret": false, "version": 1,
            "updated_at": "2026-01-01T12:00:00Z", "updated_by": author,
        });
        assert_eq!(set(&owner, level, "API_URL", plain("https://api.acme.example")).await, url);
        let mut key = json!({
            "name": "API_KEY", "value": null, "secret": true, "version": 2,
            "updated_at": "2026-01-01T12:00:00Z", "updated_by": author,
        });
        assert_eq!(set(&owner, level, "API_KEY", secret("hunter22")).await, key);
        assert_eq!(owner.get(level).await.body, json!({"version": 2, "data": [key, url]}), "by name");

        // The same plain value is no change. The same secret may be one: it can't be compared.
        assert_eq!(set(&owner, level, "API_URL", plain("https://api.acme.example")).await, url);
        key["version"] = json!(3);
        assert_eq!(set(&owner, level, "API_KEY", secret("hunter22")).await, key);

        let deleted = owner.delete(&format!("{level}/API_URL")).await;
        assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": "API_URL", "deleted": true})));
        owner.delete(&format!("{level}/API_URL")).await.refused(404, "not_found");
        assert_eq!(owner.get(level).await.body, json!({"version": 4, "data": [key]}));
        let shown = set(&owner, level, "API_KEY", plain("no secret")).await;
        assert_eq!(
            (&shown["value"], &shown["secret"], &shown["version"]),
            (&json!("no secret"), &json!(false), &json!(5))
        );
    }
}

#[tokio::test]
async fn each_change_is_an_event_that_has_no_value() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let repository = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    let account = owner.account_id.as_ref().unwrap().to_string();
    let places = [account, repository.clone(), format!("{repository}/production")];
    for (level, place) in LEVELS.into_iter().zip(places) {
        for body in [plain("hunter21"), secret("hunter22"), secret("hunter23")] {
            set(&owner, level, "API_KEY", body).await;
            world.clock.advance(std::time::Duration::from_secs(1));
        }
        owner.delete(&format!("{level}/API_KEY")).await;
        let target = format!("{place}/API_KEY").replace('/', "%2F");
        let events = owner.get(&format!("/v1/audit_events?target={target}")).await.body;
        let told: Vec<_> =
            events["data"].as_array().unwrap().iter().map(|event| (&event["action"], &event["changes"])).collect();
        let change = |field: &str, from: Value, to: Value| json!({"field": field, "from": from, "to": to});
        assert_eq!(
            told,
            [
                (
                    &json!("variable.deleted"),
                    &json!([change("secret", json!(true), json!(null)), change("version", json!(3), json!(null))])
                ),
                (
                    &json!("variable.updated"),
                    &json!([change("version", json!(2), json!(3)), change("secret", json!(true), json!(true))])
                ),
                (
                    &json!("variable.updated"),
                    &json!([change("version", json!(1), json!(2)), change("secret", json!(false), json!(true))])
                ),
                (
                    &json!("variable.created"),
                    &json!([change("version", json!(null), json!(1)), change("secret", json!(null), json!(false))])
                ),
            ]
        );
        let first = &events["data"][0];
        assert_eq!(first["target"], json!({"type": "variable", "id": format!("{place}/API_KEY"), "name": "API_KEY"}));
        let of_repository = if level == ACCOUNT { json!(null) } else { json!(repository) };
        assert_eq!(first["repository_id"], of_repository);
        assert!(!events.to_string().contains("hunter2"), "{events}");
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_to_be_read() {
    let world = World::start_with(|options| {
        tests::without_queue(options);
        options.table = Lifetime::Kept;
    })
    .await;
    let (owner, _source) = world.app().await;
    let value = "correct-horse-battery-staple";
    let mut shown = String::new();
    for level in LEVELS {
        shown.push_str(&set(&owner, level, "API_KEY", secret(value)).await.to_string());
        set(&owner, level, "OTHER", plain("x")).await;
        shown.push_str(&owner.get(level).await.body.to_string());
    }
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    shown.push_str(&owner.deployment(&created).await.to_string());
    shown.push_str(&owner.get("/v1/audit_events").await.body.to_string());
    shown.push_str(&serde_json::to_string(&world.log()).unwrap());
    let kept = world.items_in_clear().await;
    assert!(kept.contains("VERSION#000000000002") && shown.contains("API_KEY"));
    for text in [&shown, &kept] {
        assert!(!text.contains(value) && !text.contains("battery"), "{text}");
    }
    // A map in a row shows its bytes as numbers.
    let bytes = format!("{:?}", value.as_bytes());
    assert!(!kept.contains(bytes.trim_matches(['[', ']'])), "{kept}");
    for (path, file) in world.files() {
        assert!(!file.windows(value.len()).any(|window| window == value.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn only_admins_set_variables_and_who_may_deploy_reads_the_plain_ones() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let (admin, deployer) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    world.set_base_permission(&owner, "deploy").await;
    for level in LEVELS {
        set(&admin, level, "API_KEY", secret("hunter22")).await;
        set(&admin, level, "API_URL", plain("https://api.acme.example")).await;
        for name in ["API_KEY", "NEW"] {
            let refused = deployer.put(&format!("{level}/{name}"), plain("mine")).await;
            refused.refused(403, "insufficient_permission");
        }
        deployer.delete(&format!("{level}/API_KEY")).await.refused(403, "insufficient_permission");
        let read = deployer.get(level).await.body;
        let values: Vec<_> = read["data"].as_array().unwrap().iter().map(|variable| &variable["value"]).collect();
        assert_eq!(values, [&json!(null), &json!("https://api.acme.example")]);
    }
    deployer.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    // Whoever has no permission on the repository does not see that it has variables.
    world.set_base_permission(&owner, "none").await;
    for level in [REPOSITORY, PRODUCTION] {
        deployer.get(level).await.refused(404, "not_found");
    }
    let other = world.owner("other").await;
    assert_eq!(other.get(ACCOUNT).await.body, json!({"version": 0, "data": []}));
}

#[tokio::test]
async fn a_name_or_a_value_that_is_not_allowed_is_refused_with_what_to_do() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let key = "AKIAIOSFODNN7EXAMPLE";
    let message = |message: &str| message.to_owned();
    for level in LEVELS {
        for (name, body, field, expected) in [
            ("1A", plain("x"), "name", "must have a name of the form"),
            ("A-B", plain("x"), "name", "must have a name of the form"),
            ("A%20B", plain("x"), "name", "must have a name of the form"),
            (&"N".repeat(129), plain("x"), "name", "at most 128 characters"),
            ("AWS_PROFILE", secret("x"), "name", "names that start with AWS_ are reserved"),
            ("GIT_SHA", plain("x"), "name", "names that start with GIT_ are reserved"),
            ("BASH_ENV", plain("x"), "name", "BASH_ENV changes how shells run"),
            ("A", json!({}), "value", "is required"),
            ("A", json!({"value": 1}), "value", "must be a string"),
            ("A", json!({"value": null}), "value", "must be a string"),
            ("A", json!({"value": "x", "secret": "yes"}), "secret", "must be a boolean"),
            ("A", json!({"value": "x", "masked": true}), "masked", "is not one of"),
            ("A", plain("a\0b"), "value", "must not have a NUL character"),
            ("A", plain(key), "value", "must not be an AWS access key unless `secret` is true"),
            ("A", plain(&"x".repeat(MAX_STORED_BYTES + 1)), "value", "must have at most 65536 bytes"),
        ] {
            let refused = owner.put(&format!("{level}/{name}"), body).await;
            refused.refused(400, "invalid_request");
            let (told, why) = detail(&refused);
            assert!(told == field && why.contains(expected), "{name}: {told} {why}");
            assert!(!refused.body.to_string().contains(key));
        }
        owner.delete(&format!("{level}/1A")).await.refused(400, "invalid_request");
        assert_eq!(owner.get(level).await.body["version"], 0);
    }

    // What a build acts with in AWS is for environments only, and keys are secret.
    for level in [ACCOUNT, REPOSITORY] {
        let refused = owner.put(&format!("{level}/AWS_ACCESS_KEY_ID"), secret(key)).await;
        refused.refused(400, "invalid_request");
        let (field, why) = detail(&refused);
        let place = "PUT /v1/repositories/{repo_id}/environments/{environment}/variables/AWS_ACCESS_KEY_ID";
        assert!(field == "name" && why.contains(place), "{field} {why}");
    }
    let refused = owner.put(&format!("{PRODUCTION}/AWS_SECRET_ACCESS_KEY"), plain("x")).await;
    assert_eq!(
        detail(&refused),
        (message("secret"), message("must be true, because AWS_SECRET_ACCESS_KEY is a credential"))
    );
    set(&owner, PRODUCTION, "AWS_ACCESS_KEY_ID", secret(key)).await;
    set(&owner, PRODUCTION, "AWS_REGION", plain("eu-central-1")).await;
}

#[tokio::test]
async fn concurrent_changes_of_a_set_are_all_kept_each_as_a_version() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    for level in LEVELS {
        set(&owner, level, "GONE", plain("x")).await;
        let sets = (0..8).map(|number| {
            let name = format!("V{number}");
            let body = if number % 2 == 0 { plain(&name) } else { secret(&name) };
            let owner = &owner;
            async move { set(owner, level, &name, body).await["version"].as_u64().unwrap() }
        });
        let delete = async { assert_eq!(owner.delete(&format!("{level}/GONE")).await.status, 200) };
        let (versions, ()) = tokio::join!(join_all(sets), delete);
        let versions: BTreeSet<_> = versions.into_iter().collect();
        assert_eq!(versions.len(), 8, "no two changes are one version: {versions:?}");
        let listed = owner.get(level).await.body;
        let names: Vec<_> =
            listed["data"].as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!((&listed["version"], names), (&json!(10), vec!["V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7"]));
    }
}

#[tokio::test]
async fn a_scope_and_a_build_have_bounds() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let half = "x".repeat(MAX_STORED_BYTES / 2 - 1);
    for level in LEVELS {
        for name in ["A", "B"] {
            set(&owner, level, name, if name == "A" { plain(&half) } else { secret(&half) }).await;
        }
        let refused = owner.put(&format!("{level}/C"), plain("")).await;
        refused.refused(409, "limit_reached");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("would exceed 64 KiB"), "{refused:?}");
        // A replaced value does not count.
        set(&owner, level, "A", plain("short")).await;
        set(&owner, level, "B", secret("short")).await;
        for number in 2..MAX_STORED_VARIABLES {
            set(&owner, level, &format!("V{number}"), plain("")).await;
        }
        let refused = owner.put(&format!("{level}/C"), plain("")).await;
        refused.refused(409, "limit_reached");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("has 100 variables"), "{refused:?}");
        set(&owner, level, "A", plain("other")).await;
    }

    // A build's variables count once, however often they are overridden.
    let deploy = async |variables: Value| {
        let body = json!({"ref": "main", "environment": "production", "variables": variables});
        owner.post("/v1/repositories/app/deployments", body).await
    };
    assert_eq!(deploy(json!({"A": "own"})).await.status, 201);
    let large = "x".repeat(30_000);
    for level in LEVELS {
        set(&owner, level, "A", plain(&large)).await;
    }
    let accepted = deploy(json!({"OWN": large})).await;
    assert_eq!(accepted.status, 201, "the environment overrides both: {accepted:?}");
    set(&owner, ACCOUNT, "V2", plain(&large)).await;
    for level in [REPOSITORY, PRODUCTION] {
        owner.delete(&format!("{level}/V2")).await;
    }
    let own = "x".repeat(6_000);
    let refused = deploy(json!({"OWN": own})).await;
    refused.refused(409, "limit_reached");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("The build would get 101 variables with 66"), "{message}");
    let preflight = async |variables: Value| {
        let body = json!({"ref": "main", "environment": "production", "variables": variables});
        let preflight = owner.post("/v1/repositories/app/deployments/preflight", body).await.body;
        let gate = preflight["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == "variables").unwrap();
        (preflight["outcome"] == "refused", gate["passes"].clone(), gate["message"].clone())
    };
    assert_eq!(preflight(json!({"OWN": own})).await, (true, json!(false), json!(message)), "a preflight foresees it");
    let (is_refused, passes, _) = preflight(json!({"OWN": own, "V2": ""})).await;
    assert_eq!((is_refused, passes), (false, json!(true)));
    assert_eq!(deploy(json!({"OWN": own, "V2": ""})).await.status, 201, "the deployment overrides it");
}
