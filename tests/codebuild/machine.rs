//! The machines of builds.

use serde_json::{Value, json};
use shared::settings::{BUILD_IMAGES, LARGEST_COMPUTE_TYPE, PRIVILEGED_BUILDS};
use tests::{World, without_queue};

use super::Here;

const REPOSITORY: &str = "/v1/repositories/app";
const PRODUCTION: &str = "/v1/repositories/app/environments/production";

fn limits(images: &str, largest: &str, privileged: &str) -> [(&'static str, String); 3] {
    [
        (BUILD_IMAGES, images.to_owned()),
        (LARGEST_COMPUTE_TYPE, largest.to_owned()),
        (PRIVILEGED_BUILDS, privileged.to_owned()),
    ]
}

#[tokio::test]
async fn a_build_gets_the_machine_that_its_environment_had() {
    let limits = limits("aws/codebuild/*,public.ecr.aws/acme/*", "BUILD_GENERAL1_LARGE", "allowed");
    let Some(here) = Here::start_with(|options| options.overrides.extend(limits)).await else { return };
    let starts = || here.moto.calls("CodeBuild_20161006.StartBuild");
    let overrides = |start: &Value| {
        ["imageOverride", "computeTypeOverride", "privilegedModeOverride"].map(|name| start[name].clone())
    };
    let (created, _) = here.building(json!({})).await;
    assert_eq!((&created["machine"], overrides(&starts()[0])), (&Value::Null, [const { Value::Null }; 3]));

    let machine = json!({
        "image": "public.ecr.aws/acme/build:22", "compute_type": "BUILD_GENERAL1_MEDIUM", "privileged": true,
    });
    let set = here.owner.set("app", "production", machine.clone()).await;
    for field in ["image", "compute_type", "privileged"] {
        assert_eq!(set[field], machine[field], "{set}");
    }
    let (created, stored) = here.building_in("production", json!({})).await;
    assert_eq!(created["machine"], machine);
    let expected = [json!("public.ecr.aws/acme/build:22"), json!("BUILD_GENERAL1_MEDIUM"), json!(true)];
    assert_eq!(overrides(starts().last().unwrap()), expected);
    // An approval covers the machine.
    let mut other = stored.clone();
    other.machine.privileged = false;
    assert_ne!(other.approval_digest(), stored.approval_digest());

    let reset = json!({"image": null, "compute_type": null, "privileged": null});
    let reset = here.owner.set("app", "production", reset).await;
    assert_eq!([&reset["image"], &reset["compute_type"], &reset["privileged"]], [&Value::Null; 3]);
}

#[tokio::test]
async fn a_build_gets_the_machine_of_its_repository_where_its_environment_has_no_other() {
    let limits = limits("aws/codebuild/*", "BUILD_GENERAL1_LARGE", "allowed");
    let Some(here) = Here::start_with(|options| options.overrides.extend(limits)).await else { return };
    let machine = |image: &str, size: &str, privileged: bool| json!({"image": image, "compute_type": format!("BUILD_GENERAL1_{size}"), "privileged": privileged});
    let of_repository = machine("aws/codebuild/standard:7.0", "LARGE", true);
    let changed = here.owner.patch(REPOSITORY, of_repository.clone()).await;
    for (field, value) in of_repository.as_object().unwrap() {
        assert_eq!(changed.body[field], *value, "{changed:?}");
    }
    assert_eq!(here.owner.get(REPOSITORY).await.body, changed.body);
    let listed = here.owner.get("/v1/repositories").await;
    assert_eq!(listed.body["data"][0], changed.body);
    here.owner.set("app", "staging", json!({"compute_type": "BUILD_GENERAL1_SMALL"})).await;
    here.owner.set("app", "production", json!({"image": "aws/codebuild/standard:6.0", "privileged": false})).await;
    for (environment, expected) in [
        ("preview", of_repository),
        ("staging", machine("aws/codebuild/standard:7.0", "SMALL", true)),
        ("production", machine("aws/codebuild/standard:6.0", "LARGE", false)),
    ] {
        let (created, stored) = here.building_in(environment, json!({})).await;
        assert_eq!(created["machine"], expected, "{environment}");
        let start = here.moto.calls("CodeBuild_20161006.StartBuild").pop().unwrap();
        let overrides = ["imageOverride", "computeTypeOverride", "privilegedModeOverride"].map(|name| &start[name]);
        let privileged = if expected["privileged"] == true { json!(true) } else { Value::Null };
        assert_eq!(overrides, [&expected["image"], &expected["compute_type"], &privileged], "{environment}");

        let ended = super::event(&stored, stored.build.as_ref().unwrap(), "FAILED");
        assert_eq!(here.told(&ended).await.unwrap(), "failed");
    }

    // A deployment keeps its machine, and a retry gets that of now.
    let (first, stored) = here.building_in("staging", json!({})).await;
    let reset = json!({"image": null, "compute_type": null, "privileged": null});
    let reset = here.owner.patch(REPOSITORY, reset).await;
    let fields = ["image", "compute_type", "privileged"].map(|field| &reset.body[field]);
    assert_eq!(fields, [&Value::Null, &Value::Null, &json!(false)]);
    let ended = super::event(&stored, stored.build.as_ref().unwrap(), "FAILED");
    here.told(&ended).await.unwrap();
    assert_eq!(here.status(&first).await["machine"], first["machine"]);
    let retry = format!("/v1/deployments/{}/retry", first["id"].as_str().unwrap());
    let retried = here.owner.post(&retry, json!({})).await;
    let small = json!({"image": null, "compute_type": "BUILD_GENERAL1_SMALL", "privileged": false});
    assert_eq!((retried.status, &retried.body["machine"]), (201, &small), "{retried:?}");
}

#[tokio::test]
async fn the_machine_of_a_repository_is_bounded_as_that_of_an_environment() {
    let world = World::start_with(|options| options.overrides.extend(limits("", "", "allowed"))).await;
    let (owner, source) = world.app().await;
    let before = owner.get(REPOSITORY).await.body;
    for (machine, field) in [
        (json!({"image": "public.ecr.aws/acme/build:22"}), "image"),
        (json!({"image": "node:22"}), "image"),
        (json!({"compute_type": "BUILD_GENERAL1_MEDIUM"}), "compute_type"),
    ] {
        let mut new = machine.clone();
        new["name"] = "other".into();
        new["clone_url"] = source.url().into();
        for refused in [owner.patch(REPOSITORY, machine).await, owner.post("/v1/repositories", new).await] {
            assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], field);
        }
    }
    assert_eq!(owner.get(REPOSITORY).await.body, before);
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);

    let new = json!({"name": "other", "clone_url": source.url(), "privileged": true});
    let created = owner.post("/v1/repositories", new).await;
    assert_eq!((created.status, &created.body["privileged"]), (201, &json!(true)), "{created:?}");
    owner.patch(REPOSITORY, json!({"privileged": true})).await;
    let changed = owner.get("/v1/audit_events?action=repository.updated").await.body["data"][0]["changes"].clone();
    assert_eq!(changed, json!([{"field": "privileged", "from": false, "to": true}]));

    let docker = async |environment: &str| {
        let body = json!({"ref": "main", "environment": environment});
        let preflight = owner.post("/v1/repositories/app/deployments/preflight", body).await.body;
        let gates = preflight["gates"].as_array().unwrap();
        gates.iter().find(|gate| gate["gate"] == "machine").unwrap()["message"].clone()
    };
    owner.set("app", "staging", json!({"privileged": false})).await;
    assert_eq!(docker("production").await, "The operator allows the build machine, and builds can run Docker");
    let off = "The operator allows the build machine. It is not privileged, so builds can't run Docker";
    assert_eq!(docker("staging").await, off);

    // The operator narrows the limits. The environment's own setting lets it through.
    let narrower = world.environment_with(PRIVILEGED_BUILDS, "forbidden");
    let gateway = world.gateway_of(&narrower).await;
    let narrower = owner.at(gateway.endpoint());
    let body = json!({"ref": "main", "environment": "production"});
    let preflight = narrower.post("/v1/repositories/app/deployments/preflight", body.clone()).await;
    assert_eq!(preflight.body["outcome"], "refused", "{preflight:?}");
    let gates = preflight.body["gates"].as_array().unwrap();
    assert_eq!(gates.iter().find(|gate| gate["passes"] == false).unwrap()["gate"], "machine");
    narrower.post("/v1/repositories/app/deployments", body.clone()).await.refused(409, "machine_not_allowed");
    narrower.patch(REPOSITORY, json!({"privileged": true})).await.refused(400, "invalid_request");
    owner.set("app", "production", json!({"privileged": false})).await;
    let preflight = narrower.post("/v1/repositories/app/deployments/preflight", body.clone()).await.body;
    let gate = preflight["gates"].as_array().unwrap().iter().find(|gate| gate["gate"] == "machine").unwrap();
    let forbidden = "The operator allows the build machine, but no privileged builds, so builds can't run Docker";
    assert_eq!((&gate["passes"], &gate["message"]), (&json!(true), &json!(forbidden)));
    let created = narrower.post("/v1/repositories/app/deployments", body).await;
    assert_eq!((created.status, &created.body["machine"]), (201, &Value::Null), "{created:?}");
}

#[tokio::test]
async fn a_machine_that_the_operator_allows_no_more_fails_the_deployment() {
    let limits = limits("", "", "allowed");
    let change = |options: &mut local::stack::Options| {
        without_queue(options);
        options.overrides.extend(limits);
    };
    let Some(here) = Here::start_with(change).await else { return };
    here.owner.set("app", "staging", json!({"privileged": true})).await;
    let created = here.owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    let narrower = here.world.environment_with(PRIVILEGED_BUILDS, "forbidden");
    let message = json!({"account_id": here.owner.account_id, "deployment_id": created["id"]}).to_string();
    let event = json!({"Records": [{"messageId": "m", "body": message}]});
    let handled = narrower.consumer().unwrap().invoke(event).await.unwrap();
    assert_eq!(handled, json!({"batchItemFailures": []}));
    let ended = here.status(&created).await;
    let message = "The setting 'privileged' of the environment or its repository must be false: the operator does not allow privileged builds";
    assert_eq!(ended["failure"], json!({"code": "machine_not_allowed", "message": message}), "{ended}");
    assert_eq!(here.moto.calls("CodeBuild_20161006.StartBuild").len(), 0);
}

#[tokio::test]
async fn a_machine_that_the_operator_allows_no_more_is_a_gate_that_refuses_new_deployments() {
    let world = World::start_with(|options| options.overrides.extend(limits("", "", "allowed"))).await;
    let (owner, _source) = world.app().await;
    owner.set("app", "production", json!({"privileged": true})).await;
    let body = json!({"ref": "main", "environment": "production"});
    let first = owner.deploy("app", body.clone()).await;
    assert_eq!(owner.ended(&first).await["status"], "succeeded");
    let gate = |preflight: &Value| {
        let gates = preflight["gates"].as_array().unwrap();
        gates.iter().find(|gate| gate["gate"] == "machine").unwrap().clone()
    };
    let preflight = owner.post("/v1/repositories/app/deployments/preflight", body.clone()).await;
    assert_eq!(gate(&preflight.body)["passes"], true, "{preflight:?}");

    let narrower = world.environment_with(PRIVILEGED_BUILDS, "forbidden");
    let gateway = world.gateway_of(&narrower).await;
    let narrower = owner.at(gateway.endpoint());
    let message = "The setting 'privileged' of the environment or its repository must be false: the operator does not allow privileged builds";
    let preflight = narrower.post("/v1/repositories/app/deployments/preflight", body.clone()).await;
    assert_eq!(preflight.body["outcome"], "refused", "{preflight:?}");
    assert_eq!(gate(&preflight.body), json!({"gate": "machine", "passes": false, "message": message, "until": null}));
    let retry = format!("/v1/deployments/{}/retry", first["id"].as_str().unwrap());
    let rollback = json!({"environment": "production", "deployment_id": first["id"]});
    for (path, body) in [
        ("/v1/repositories/app/deployments", body.clone()),
        (&retry, json!({})),
        ("/v1/repositories/app/rollback", rollback),
    ] {
        let refused = narrower.post(path, body).await;
        assert_eq!(refused.refused(409, "machine_not_allowed").body["error"]["message"], message, "{path}");
    }
    let elsewhere = narrower.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await;
    assert_eq!(elsewhere.status, 201, "{elsewhere:?}");
}

#[tokio::test]
async fn the_operator_bounds_machines_and_another_runner_ignores_them() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let image = "must be one that the operator allows: aws/codebuild/*";
    for (body, field, message) in [
        (json!({"image": "public.ecr.aws/acme/build:22"}), "image", image),
        (json!({"image": "node:22"}), "image", "must be an image of AWS CodeBuild"),
        (json!({"compute_type": "BUILD_GENERAL1_MEDIUM"}), "compute_type", "must be at most BUILD_GENERAL1_SMALL"),
        (json!({"compute_type": "small"}), "compute_type", "must be "),
        (json!({"privileged": true}), "privileged", "must be false: the operator does not allow"),
    ] {
        let refused = owner.patch(PRODUCTION, body).await;
        let detail = &refused.refused(400, "invalid_request").body["error"]["details"][0];
        assert_eq!(detail["field"], field, "{detail}");
        assert!(detail["message"].as_str().unwrap().starts_with(message), "{detail}");
    }
    let image = "aws/codebuild/amazonlinux-aarch64-standard:3.0";
    owner.set("app", "production", json!({"image": image})).await;
    let changed = owner.get("/v1/audit_events?action=environment.updated").await.body["data"][0]["changes"].clone();
    assert_eq!(changed, json!([{"field": "image", "from": null, "to": image}]));
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    assert_eq!(created["machine"], json!({"image": image, "compute_type": null, "privileged": false}));
    assert_eq!(owner.ended(&created).await["status"], "succeeded");
    let note = "system: `image`, `compute_type` and `privileged` are ignored: the build does not run in AWS CodeBuild.";
    assert!(owner.log(&created).await.iter().any(|line| line == note));
}
