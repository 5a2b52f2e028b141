//! The numbers that tell a receiver which of two events about a resource is the later one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::clock::Clock;
use tests::{GitRepository, NOON};

use super::Scene;

/// Returns the events that came, by ordering key, each with its number.
fn by_key(scene: &Scene) -> BTreeMap<String, BTreeMap<u64, Value>> {
    let mut by_key = BTreeMap::<_, BTreeMap<_, _>>::new();
    for message in scene.receiver.received() {
        let (key, number) =
            (message.body["ordering_key"].as_str().unwrap(), message.body["sequence"].as_u64().unwrap());
        let other = by_key.entry(key.to_owned()).or_default().insert(number, message.body.clone());
        assert!(other.is_none(), "two events of {key} have the number {number}");
    }
    by_key
}

fn types(events: &BTreeMap<u64, Value>) -> Vec<&str> {
    events.values().map(|event| event["type"].as_str().unwrap()).collect()
}

/// One function's clock is five seconds behind the others', and no clock moves between two changes.
#[tokio::test]
async fn a_later_change_has_a_higher_number_when_the_clock_stands_or_goes_back() {
    let scene = Scene::start_with(json!({"events": ["team.*", "environment.*", "variable.*"]})).await;
    let Scene { world, owner, .. } = &scene;
    owner.repository("app", &GitRepository::with_commands(&["true"])).await;
    world.clock.advance(Duration::from_secs(10));
    let mut environment = world.stack.environment().clone();
    environment.clock = Clock::manual(NOON.plus(Duration::from_secs(5)));
    let gateway = world.gateway_of(&environment).await;
    let behind = owner.at(gateway.endpoint());

    let team = owner.team("platform").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    for (actor, name) in [(owner, "one"), (owner, "two"), (&behind, "three"), (owner, "four"), (&behind, "five")] {
        assert_eq!(actor.patch(&path, json!({"name": name})).await.status, 200);
    }
    assert_eq!(behind.delete(&path).await.status, 200);
    // An environment and a variable have the IDs of others of the same name that were deleted.
    let (environments, variable) = ("/v1/repositories/app/environments", "/v1/account/variables/MODE");
    for actor in [owner, &behind] {
        assert_eq!(actor.post(environments, json!({"name": "qa"})).await.status, 201);
        assert_eq!(actor.delete(&format!("{environments}/qa")).await.status, 200);
        assert!(actor.put(variable, json!({"value": "a"})).await.status < 300);
        assert_eq!(actor.delete(variable).await.status, 200);
    }

    scene.deliver().await;
    let by_key = by_key(&scene);
    let of_team = &by_key[team["id"].as_str().unwrap()];
    let names = of_team.values().filter(|event| event["type"] == "team.updated");
    let names: Vec<_> = names.map(|event| event["data"]["changes"][0]["to"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two", "three", "four", "five"]);
    assert_eq!((types(of_team)[0], types(of_team)[6]), ("team.created", "team.deleted"));
    for kind in ["environment", "variable"] {
        let (created, deleted) = (format!("{kind}.created"), format!("{kind}.deleted"));
        let (_, events) = by_key.iter().find(|(_, events)| types(events)[0] == created).unwrap();
        assert_eq!(types(events), [&*created, &*deleted, &*created, &*deleted]);
    }
}

#[tokio::test]
async fn changes_at_once_have_different_numbers_in_the_order_in_which_they_were_made() {
    let scene = Scene::start().await;
    let Scene { owner, .. } = &scene;
    let team = owner.team("platform").await;
    let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    let names: Vec<_> = (0..8).map(|at| format!("name-{at}")).collect();
    let changed = join_all(names.iter().map(|name| owner.patch(&path, json!({"name": name})))).await;
    let statuses: BTreeSet<_> = changed.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200].into());
    let last = owner.get(&path).await.body["name"].clone();
    scene.deliver().await;
    let by_key = by_key(&scene);
    let events: Vec<_> = by_key[team["id"].as_str().unwrap()].values().collect();
    assert_eq!(events.len(), 1 + names.len());
    for pair in events[1..].windows(2) {
        assert_eq!(pair[0]["data"]["changes"][0]["to"], pair[1]["data"]["changes"][0]["from"]);
    }
    assert_eq!(events.last().unwrap()["data"]["changes"][0]["to"], last);
}
