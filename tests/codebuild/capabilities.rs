//! The names that a build is given.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock::Clock;
use tests::eventually;

use super::{BUCKET, Here, failed};

/// Returns the parts of the names that a build was started with: its source, its artifacts, its log stream and its secret.
fn capabilities(start: &Value) -> Vec<String> {
    let variables = start["environmentVariablesOverride"].as_array().unwrap();
    let secret = variables.iter().find(|variable| variable["type"] == "SECRETS_MANAGER").unwrap();
    let stream = &start["logsConfigOverride"]["cloudWatchLogs"]["streamName"];
    let names = [&start["sourceLocationOverride"], &start["artifactsOverride"]["path"], stream, &secret["value"]];
    let random = |name: &Value| {
        let name = name.as_str().unwrap();
        let parts: Vec<_> = name.split(['/', ':']).filter(|part| part.starts_with("cap_")).collect();
        let [part] = parts[..] else { panic!("{name} has one random part") };
        assert_eq!(part.len(), "cap_".len() + 32, "128 bits");
        part.to_owned()
    };
    names.map(random).into()
}

#[tokio::test]
async fn the_names_that_a_build_is_given_are_new_for_each_attempt_and_shown_nowhere() {
    let Some(here) = Here::start_with(|options| options.clock = Clock::system()).await else { return };
    here.source.commit(&[("buildspec.yml", &(tests::buildspec(&["make"]) + "artifacts:\n  files: dist/**\n"))]);
    let body = json!({"ref": "main", "variables": {"A": {"value": "hunter22", "secret": true}}});
    let created = here.owner.deploy("app", body).await;
    let first = here.started(&here.owner, &created).await;
    here.world.queue_is_empty().await;
    // The second attempt is another build of the same deployment.
    let (pk, sk) = (format!("ACCT#{}#DEPLOY#{}", first.account_id, first.id), "DEPLOY");
    here.world.expire_lease(&here.owner, &created).await;
    here.world.set_attribute((&pk, sk), "build", AttributeValue::Null(true)).await;
    here.world.deliver(&here.owner, &created).await;
    let second = eventually("the second build", async || {
        let stored = here.world.stored(&here.owner, &created).await;
        (stored.attempt == 2 && stored.build.is_some()).then_some(stored)
    })
    .await;
    here.world.queue_is_empty().await;

    let starts = here.moto.calls("CodeBuild_20161006.StartBuild");
    let names: Vec<_> = starts.iter().flat_map(capabilities).collect();
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!((starts.len(), different.len()), (2, 8), "{names:?}");
    assert_eq!(here.secrets().await.len(), 2, "a lost runner leaves its secret");

    // A build prints its environment, and CodeBuild says which names it could not use.
    let all = names.join(" and ");
    assert_eq!(here.writes(&second, &[(1, format!("SOURCE={all}"))]).await, "stored");
    let context = format!("CLIENT_ERROR: AccessDenied for {all}");
    assert_eq!(
        here.told(&failed(&second, "FAILED", "DOWNLOAD_SOURCE", "CLIENT_ERROR", &context)).await.unwrap(),
        "failed"
    );
    assert_eq!(here.secrets().await, [""; 0], "no attempt's secret outlives the deployment");

    let id = created["id"].as_str().unwrap();
    let mut shown = vec![json!(here.world.log()).to_string()];
    for path in [
        format!("/v1/deployments/{id}"),
        format!("/v1/deployments/{id}/events"),
        format!("/v1/deployments/{id}/log"),
        "/v1/repositories/app/deployments".to_owned(),
    ] {
        let answer = here.owner.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        shown.push(answer.body.to_string());
    }
    assert!(shown[1].contains("AccessDenied for cap_***"), "{}", shown[1]);
    assert!(shown[3].contains("SOURCE=cap_*** and cap_***"), "{}", shown[3]);
    for key in here.moto.list_objects(BUCKET, &format!("{}/log/", second.log_prefix())).await {
        shown.push(String::from_utf8(here.moto.object(BUCKET, &key).await).unwrap());
    }
    let row = format!("\"sk\": S(\"{sk}\")");
    shown.extend(here.world.items().await.into_iter().filter(|item| !item.contains(&row)));
    let root = json!(second.capability).as_str().unwrap().to_owned();
    for text in &shown {
        for random in names.iter().map(|name| &name["cap_".len()..]).chain([&*root]) {
            assert!(!text.contains(random), "{random} in {text}");
        }
    }
}
