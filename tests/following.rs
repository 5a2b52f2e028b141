//! Following a deployment by conditional polling.

use std::time::Duration;

use serde_json::json;
use shared::model::{self, Actor as Cause, Transition};
use tests::{Actor, Answer, GitRepository, World, approval};

/// A client that follows one resource as the documentation says: it asks after `X-Poll-Interval` seconds, with the last
/// `ETag` or the position after what it has.
struct Follower {
    path: String,
    /// The field that says where to go on. `None` for the deployment itself.
    by_position: bool,
    after: u64,
    etag: Option<String>,
    /// The second at which to ask again. `None` once the deployment has ended.
    next: Option<u64>,
    asked: u32,
    changes: Vec<String>,
}

impl Follower {
    fn new(path: String, by_position: bool) -> Self {
        Self { path, by_position, after: 0, etag: None, next: Some(0), asked: 0, changes: Vec::new() }
    }

    async fn ask(&mut self, actor: &Actor, second: u64) {
        let path = if self.by_position { format!("{}?after={}", self.path, self.after) } else { self.path.clone() };
        let answer = actor.get_unless(&path, self.etag.as_deref().unwrap_or("\"none\"")).await;
        self.asked += 1;
        assert!([200, 304].contains(&answer.status), "{path} in second {second}: {answer:?}");
        self.next = answer.headers.get("x-poll-interval").map(|_| second + interval(&answer));
        if answer.status == 304 {
            return;
        }
        self.etag = Some(answer.header("etag").to_owned());
        if self.by_position {
            let after = answer.body["meta"]["next_after"].as_u64().unwrap();
            if after > self.after {
                self.changes.push(format!("up to {after}"));
                self.after = after;
                self.etag = None;
            }
            assert_eq!(answer.body["meta"]["complete"], self.next.is_none(), "{answer:?}");
        } else {
            self.changes.push(answer.body["status"].as_str().unwrap().to_owned());
        }
    }
}

fn interval(answer: &Answer) -> u64 {
    answer.header("x-poll-interval").parse().unwrap()
}

/// An account on Starter with a deployment that waits for an approval, and its admin.
async fn waiting(world: &World) -> (Actor, Actor, serde_json::Value, GitRepository) {
    let owner = world.owner_on("starter", "acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    let admin = world.member(&owner, model::Role::Admin).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let created = owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    world.clock.advance(Duration::from_secs(60));
    (owner, admin, created, source)
}

#[tokio::test]
async fn a_client_on_starter_follows_a_deployment_to_its_end_at_the_told_interval() {
    let world = World::start_without_queue().await;
    let (owner, admin, created, _source) = waiting(&world).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let mut followers = [
        Follower::new(path.clone(), false),
        Follower::new(format!("{path}/events"), true),
        Follower::new(format!("{path}/log"), true),
    ];
    let mut claimed = None;
    for second in 0..1200 {
        match second {
            300 => assert_eq!(admin.act(&created, "approve", approval(&created)).await.status, 200),
            420 => claimed = Some(world.lose_a_runner(&owner, &created).await),
            1000 => {
                let (table, now) = (world.stack.app().table(), world.clock.now());
                let runner = claimed.take().unwrap();
                runner.transition(table, Transition::Succeed, Cause::Runner, now).await.unwrap();
            }
            _ => {}
        }
        for follower in followers.iter_mut().filter(|follower| follower.next == Some(second)) {
            follower.ask(&owner, second).await;
        }
        world.clock.advance(Duration::from_secs(1));
    }
    let [deployment, events, log] = followers;
    assert_eq!(deployment.changes, ["queued", "queued", "in_progress", "succeeded"]);
    assert_eq!(events.changes, ["up to 1", "up to 2", "up to 3", "up to 4"]);
    for follower in [&deployment, &events, &log] {
        // 300 seconds at 15, 120 at 2 or 5, and 580 at 2.
        assert!((300..=400).contains(&follower.asked), "{}: {}", follower.path, follower.asked);
        assert_eq!(follower.next, None, "{} has not heard of the end", follower.path);
    }
}

#[tokio::test]
async fn what_brings_nothing_new_does_not_count_against_the_plan() {
    let world = World::start_without_queue().await;
    let (owner, _admin, created, _source) = waiting(&world).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let (events, log) = (format!("{path}/events"), format!("{path}/log"));
    let etag = owner.get(&path).await.header("etag").to_owned();
    let list = owner.get("/v1/repositories").await;
    assert_eq!(list.rate_limit().remaining, 58);
    let left = |answer: &Answer| answer.rate_limit().remaining;
    for (path, etag, status, remaining) in [
        (&*path, &*etag, 304, 58),
        ("/v1/repositories", list.header("etag"), 304, 58),
        (&*format!("{log}?after=0"), "\"x\"", 200, 58),
        (&*format!("{events}?after=1"), "\"x\"", 200, 58),
        (&*path, "\"x\"", 200, 57),
        (&*format!("{events}?after=0"), "\"x\"", 200, 56),
        ("/v1/repositories/nope", "\"x\"", 404, 55),
    ] {
        let answer = owner.get_unless(path, etag).await;
        // The other functions have last seen the plan when they authenticated the caller.
        let told = left(&answer);
        assert_eq!(answer.status, status, "{path}");
        assert!(told == remaining || (told > remaining && [304, 200].contains(&status)), "{path}: {told}");
        assert_eq!(owner.get("/v1/rate_limit").await.rate_limit().remaining, remaining, "{path}");
        world.clock.advance(Duration::from_millis(1001));
    }
    let unconditional = owner.get(&log).await;
    assert_eq!((unconditional.status, left(&unconditional)), (200, 54), "a page without a position counts");
}

#[tokio::test]
async fn an_exhausted_plan_still_follows_and_admits_nothing_new() {
    let world = World::start_without_queue().await;
    let (owner, admin, created, _source) = waiting(&world).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let etag = owner.get(&path).await.header("etag").to_owned();
    let approved = admin.act(&created, "approve", approval(&created)).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    let current = owner.get(&path).await.header("etag").to_owned();
    while owner.get("/v1/repositories").await.status == 200 {}
    for _ in 0..30 {
        assert_eq!(owner.get_unless(&path, &current).await.status, 304);
    }
    let refused = owner.get_unless(&path, &etag).await;
    assert_eq!(refused.refused(429, "rate_limited").header("retry-after"), "1");
    assert_eq!(refused.rate_limit().burst_left, 0);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(owner.get_unless(&path, &etag).await.status, 200, "the told second later");
}

/// Ten requests a second are more than following allows.
#[tokio::test]
async fn a_client_that_ignores_the_interval_is_bounded_and_leaves_the_plan_and_other_users_alone() {
    let world = World::start_without_queue().await;
    let (owner, admin, created, _source) = waiting(&world).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    let etag = owner.get(&path).await.header("etag").to_owned();
    let (mut unchanged, mut refusals) = (0, Vec::new());
    for _ in 0..600 {
        let answer = owner.get_unless(&path, &etag).await;
        match answer.status {
            304 => unchanged += 1,
            _ => refusals.push(answer),
        }
        world.clock.advance(Duration::from_millis(100));
    }
    assert_eq!((unchanged, refusals.len()), (300, 300), "five times the plan's minute");
    for refused in &refusals {
        refused.refused(429, "rate_limited");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert_eq!(message, "The allowance for following of 300 requests a minute and 100 at once is exhausted");
        assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()), "{refused:?}");
        assert_eq!(refused.rate_limit().limit, 60, "the headers are the plan's");
    }
    let left = owner.get("/v1/rate_limit").await.rate_limit();
    assert_eq!(left.remaining, 60, "nothing counted against the plan in this minute");
    assert_ne!(admin.get_unless(&path, &etag).await.status, 429, "another user follows on");
}

#[tokio::test]
async fn a_poll_waits_for_one_round_trip_and_costs_one_write() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let created = owner.deploy("app", json!({"ref": "main"})).await;
    let path = format!("/v1/deployments/{}", created["id"].as_str().unwrap());
    assert_eq!(owner.act(&created, "cancel", json!({})).await.status, 200);
    let etag = owner.get(&path).await.header("etag").to_owned();
    owner.get_unless(&path, &etag).await;
    let trips = |answer: &Answer| {
        let line = world.line_of(answer);
        (line["dynamodb_round_trips"].as_u64().unwrap(), line["dynamodb_calls"].as_u64().unwrap())
    };
    let poll = owner.get_unless(&path, &etag).await;
    assert_eq!((poll.status, trips(&poll)), (304, (1, 2)));
    let news = owner.get_unless(&path, "\"x\"").await;
    assert_eq!((news.status, trips(&news)), (200, (2, 3)), "it is counted once the answer is known");
}
