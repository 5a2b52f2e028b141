//! Many concurrent deployments from many clients, on the local stack. A few run with the other tests. To get figures,
//! run more of them:
//!
//!     LOAD=500 cargo test --profile ci -p tests -- load:: --nocapture --test-threads=1

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::json;
use shared::clock::{Clock, Timestamp};
use shared::model::{Deployment, Due, DueEntry, Environment, Status};
use shared::table::{Index, read_item};
use tests::crowd::{BETWEEN, BUILD, Crowd, Order};
use tests::{Actor, GitRepository, World, redelivering};

const CLIENTS: usize = 16;
/// The environments whose deployments queue. In preview, a newer deployment supersedes the queued ones.
const QUEUES: [&str; 2] = ["production", "staging"];
/// The calls of a deployment that starts at once and has no rival, as in `infra/docs/table.md`. Creations that conflict at a
/// repository's counter try again, and a message for a deployment that has to wait costs calls that change nothing.
const CALLS_ALONE: f64 = 15.0;

fn number() -> usize {
    std::env::var("LOAD").map_or(30, |number| number.parse().unwrap())
}

#[tokio::test]
async fn deployments_to_one_repository() {
    let figures = load(number(), 1).await;
    assert!(figures.calls <= 3.0 * CALLS_ALONE, "{figures:?}");
}

#[tokio::test]
async fn deployments_to_many_repositories() {
    let figures = load(number(), (number() / 5).max(1)).await;
    assert!(figures.calls <= 2.0 * CALLS_ALONE, "{figures:?}");
}

/// The first account deploys far more than the others, and before them. With `LOAD`, there are 20 accounts, as in
/// `cargo measure turns`.
#[tokio::test]
async fn a_greedy_account_delays_each_other_one_by_a_turn_at_most() {
    let crowd = match std::env::var("LOAD") {
        Ok(_) => Crowd { accounts: 20, greedy: 100, builds: 4 },
        Err(_) => Crowd { accounts: 5, greedy: 16, builds: 2 },
    };
    let (before, after) = tokio::join!(crowd.waits(Order::Creation), crowd.waits(Order::Turns));
    println!("{crowd:?}, each build takes {BUILD:?}\naccount: wait without turns, with turns");
    for (account, (before, after)) in before.iter().zip(&after).enumerate() {
        println!("{account:>7}: {before:?}, {after:?}");
    }
    for (account, (before, after)) in before.iter().zip(&after).enumerate().skip(1) {
        assert!(after.greedy <= 1, "{account}: {after:?}");
        assert!(before.greedy > 1 && before.time > after.time, "{account}: {before:?}, {after:?}");
    }
    // The machines are never idle, so that the last deployment of all starts no later.
    let starts = before.iter().zip(0..).map(|(wait, account)| BETWEEN * account + wait.time);
    assert!(after[0].time <= starts.max().unwrap(), "{:?}", after[0]);
}

/// The figures of one deployment over its whole life.
#[derive(Debug)]
struct Figures {
    calls: f64,
}

async fn load(number: usize, repositories: usize) -> Figures {
    let world = World::start_with(|options| {
        options.clock = Clock::system();
        // A consumer whose transaction met too many rivals returns its message.
        redelivering(1000)(options);
    })
    .await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let names: Vec<_> = (0..repositories).map(|at| format!("app-{at}")).collect();
    stream::iter(&names).for_each_concurrent(CLIENTS, async |name| drop(owner.repository(name, &source).await)).await;

    let started = Instant::now();
    let client = async |client: usize| {
        let actor = world.anonymous().holding(owner.token.as_ref().unwrap());
        for at in (client..number).step_by(CLIENTS) {
            // Each repository gets some of each environment.
            let environment = Environment::BUILT_IN[(at / repositories) % Environment::BUILT_IN.len()].as_str();
            let new = json!({"ref": "main", "environment": environment});
            actor.deploy(&names[at % repositories], new).await;
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    let created = started.elapsed();
    all_ended(&world).await;
    let ended = started.elapsed();
    let rows = join_all(names.iter().map(async |name| rows(&world, &owner, name).await)).await;

    world.queue_is_empty().await;
    assert_eq!(world.messages(world.stack.dead_letter_queue()).await, 0);
    assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), number);
    for rows in &rows {
        in_order(rows);
    }
    let lines = world.log();
    let functions = ["create-deployment", "deployment-consumer"];
    let of_deployments: Vec<_> =
        lines.iter().filter(|line| functions.iter().any(|function| line["function"] == *function)).collect();
    let per_deployment =
        |what: &str| of_deployments.iter().map(|line| line[what].as_f64().unwrap()).sum::<f64>() / number as f64;
    let (calls, units) = (per_deployment("dynamodb_calls"), per_deployment("dynamodb_capacity_units"));
    let succeeded = rows.iter().flatten().filter(|row| row.status == Status::Succeeded).count();
    let rate = |time: Duration| number as f64 / time.as_secs_f64();
    println!(
        "{number} deployments to {repositories} repositories: {:.0} created and {:.0} ended a second; {succeeded} ran and \
         {} were superseded; for each {calls:.1} DynamoDB calls and {units:.1} capacity units in its whole life",
        rate(created),
        rate(ended),
        number - succeeded,
    );
    Figures { calls }
}

/// Waits until no deployment is queued or in progress.
async fn all_ended(world: &World) {
    let (table, end) = (world.stack.app().table(), Timestamp::from_millis(i64::MAX));
    let left = async || {
        let shards = (0..Due::SHARDS).map(|shard| Due::page(table, shard, end, None, 1000));
        join_all(shards).await.into_iter().map(|page| page.unwrap().len()).sum::<usize>()
    };
    let mut before = (usize::MAX, Instant::now());
    loop {
        match left().await {
            0 => return,
            fewer if fewer < before.0 => before = (fewer, Instant::now()),
            same => assert!(before.1.elapsed() < Duration::from_secs(60), "{same} deployments do not end"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns the deployments of a repository by number.
async fn rows(world: &World, owner: &Actor, name: &str) -> Vec<Deployment> {
    let path = format!("/v1/repositories/{name}");
    let repository = owner.get(&path).await.body;
    let total = async |query: &str| -> u64 {
        let page = owner.get(&format!("{path}/deployments?per_page=1{query}")).await;
        page.body["meta"]["total"].as_u64().unwrap()
    };
    let all = total("").await;
    let mut by_status = 0;
    for status in Status::ALL {
        by_status += total(&format!("&status={}", status.as_str())).await;
    }
    assert_eq!(by_status, all, "the counts are exact");
    let partition = format!("ACCT#{}#REPO#{}", owner.account_id.as_ref().unwrap(), repository["id"].as_str().unwrap());
    let app = world.stack.app();
    let query = app.table().client().query().table_name(app.table().name()).index_name(Index::ByCreation.name());
    let query = query.key_condition_expression("gsi1pk = :pk");
    let pages = query.expression_attribute_values(":pk", AttributeValue::S(partition)).into_paginator();
    let items: Result<Vec<_>, _> = pages.items().send().collect().await;
    let rows: Vec<Deployment> = items.unwrap().into_iter().map(|item| read_item(item).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=all).collect::<Vec<_>>());
    rows
}

/// Asserts that each deployment ran once, and that queued deployments ran in the order of their numbers.
fn in_order(rows: &[Deployment]) {
    let mut lanes: BTreeMap<&str, Vec<&Deployment>> = BTreeMap::new();
    for row in rows {
        match row.status {
            Status::Succeeded => assert_eq!(row.attempt, 1, "{row:?}"),
            status => assert_eq!((status, row.environment), (Status::Superseded, Environment::PREVIEW), "{row:?}"),
        }
        lanes.entry(row.environment.as_str()).or_default().push(row);
    }
    for lane in QUEUES.iter().filter_map(|queue| lanes.get(queue)) {
        // The lane counts its claims.
        let claims: Vec<_> = lane.iter().map(|row| row.fence).collect();
        assert_eq!(claims, (1..=lane.len() as u64).collect::<Vec<_>>());
    }
}
