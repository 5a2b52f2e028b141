//! The rate limit over HTTP.

mod faults;
mod limiter;

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::json;
use shared::token::TokenSecret;
use tests::{Actor, Answer, GitRepository, NOON, RateLimit, World, cost_of};

/// A path that counts and costs nothing else, because no deployment has this id.
const COUNTED: &str = "/v1/deployments/none";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Sends requests until one is refused. Returns the number of admitted ones, and the refusal.
async fn until_refused(actor: &Actor) -> (i64, Answer) {
    for admitted in 0..=1_000 {
        let answer = actor.get(COUNTED).await;
        if answer.status == 429 {
            answer.refused(429, "rate_limited");
            return (admitted, answer);
        }
        answer.refused(404, "not_found");
    }
    panic!("a thousand requests at once and no refusal");
}

#[tokio::test]
async fn every_answer_tells_the_rate_limit() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let powerless = world.with_token(&owner, |token| token.scopes = vec![]).await;
    let reset = NOON.as_seconds() + 60;
    let left = |remaining| RateLimit {
        limit: 600,
        remaining,
        reset,
        reset_after: 60,
        burst: 100,
        burst_left: remaining - 500,
    };
    let new = json!({"name": "app", "clone_url": source.url()});
    let raw = async |method: Method, path: &str, kind: &str, body: String| {
        owner.send(owner.request(method, path).header("content-type", kind).body(body)).await
    };
    let answers = [
        (201, owner.post("/v1/repositories", new.clone()).await),
        (200, owner.get("/v1/repositories").await),
        (409, owner.post("/v1/repositories", new).await),
        (400, owner.get("/v1/repositories?page=0").await),
        (403, powerless.get("/v1/repositories").await),
        (404, owner.get("/v1/repositories/nope").await),
        (404, owner.get("/v1/nothing/here").await),
        (405, raw(Method::DELETE, "/v1/repositories", "text/plain", String::new()).await),
        (413, raw(Method::POST, "/v1/repositories", "application/json", " ".repeat(300 * 1024)).await),
        (415, raw(Method::POST, "/v1/repositories", "text/plain", String::new()).await),
    ];
    for ((status, answer), remaining) in answers.iter().zip((0..600).rev()) {
        let (told, left) = (answer.rate_limit(), left(remaining));
        // A lease of another function keeps up to two tokens of the bucket.
        assert!((left.burst_left - 2..=left.burst_left).contains(&told.burst_left), "{answer:?}");
        let told = RateLimit { burst_left: left.burst_left, ..told };
        assert_eq!((answer.status, told), (*status, left), "{answer:?}");
    }
    let deployment = owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
    let id = deployment["id"].as_str().unwrap();
    let key = format!("ACCT#{}#DEPLOY#{id}", owner.account_id.as_ref().unwrap());
    world.set_attribute((&key, "DEPLOY"), "number", AttributeValue::S("no number".to_owned())).await;
    let before = owner.get("/v1/rate_limit").await.rate_limit().remaining;
    let broken = owner.get(&format!("/v1/deployments/{id}")).await;
    assert_eq!(broken.refused(500, "internal_error").rate_limit(), left(before - 1));

    let anonymous = world.anonymous();
    for remaining in (40..60).rev() {
        let told = anonymous.get("/v1/repositories").await.refused(401, "missing_token").rate_limit();
        let burst_left = remaining - 40;
        assert_eq!(told, RateLimit { limit: 60, remaining, reset, reset_after: 60, burst: 20, burst_left });
    }
    let told = anonymous.get("/v1/repositories").await.refused(429, "rate_limited").rate_limit();
    assert_eq!(told, RateLimit { limit: 60, remaining: 40, reset, reset_after: 60, burst: 20, burst_left: 0 });
}

/// Sends as many requests as possible, second by second: the whole burst, then the refilled tokens, then nothing for the
/// rest of the minute, and the burst again.
#[tokio::test]
async fn both_bounds_of_each_plan_hold_and_are_reached() {
    let world = World::start().await;
    let plans = [
        // The account, its two limits, and the second of the minute in which the limit is used up.
        (world.owner_on("starter", "starter").await, 60, 20, 40),
        (world.owner_on("pro", "pro").await, 600, 100, 50),
        (world.owner_with(30, 5, "slow").await, 30, 5, 50),
        (world.owner_with(120, 200, "bursty").await, 120, 200, 0),
    ];
    for (owner, limit, burst, used_up) in plans {
        let start = world.clock.now();
        let mut admitted = Vec::new();
        for second in 0..60 {
            let (count, refusal) = until_refused(&owner).await;
            admitted.push(count);
            let used: i64 = admitted.iter().sum();
            let told = refusal.rate_limit();
            assert_eq!((told.limit, told.remaining, told.burst), (limit, limit - used, burst), "second {second}");
            assert_eq!(told.reset, start.as_seconds() + 60);
            let next_token = (60 + limit - 1) / limit;
            let wait = if used == limit { 60 - second } else { next_token - second % next_token };
            assert_eq!(refusal.header("retry-after"), wait.to_string(), "second {second}: {refusal:?}");
            world.clock.advance(seconds(1));
        }
        assert_eq!(admitted.iter().sum::<i64>(), limit);
        assert_eq!(admitted[0], burst.min(limit));
        assert!(admitted[1..].iter().all(|count| *count <= (limit + 59) / 60), "{admitted:?}");
        assert_eq!(admitted.iter().rposition(|count| *count > 0), Some(used_up), "{admitted:?}");
        let (count, refusal) = until_refused(&owner).await;
        assert_eq!(
            (count, refusal.rate_limit().reset),
            (burst.min(limit), start.as_seconds() + 120),
            "the next minute"
        );
        world.clock.advance(seconds(60));
    }
}

#[tokio::test]
async fn a_retry_after_the_told_seconds_is_admitted_and_a_second_earlier_is_not() {
    let world = World::start().await;
    let rows = [
        // (per minute, burst, milliseconds into the minute, seconds to wait, and the limit that applies)
        (60, 20, 0, 1, "a token comes back each second"),
        (60, 20, 500, 1, "a second later by the client's clock"),
        (60, 20, 59_999, 1, "the new minute does not fill the bucket"),
        (600, 100, 0, 1, "a tenth of a second, rounded up"),
        (1_000_000, 1, 0, 1, "60 microseconds, rounded up"),
        (2, 1, 0, 30, "half a minute for a token"),
        (7, 3, 0, 9, "8.57 seconds, rounded up"),
        (1, 1, 0, 60, "the minute and the token at once"),
        (2, 2, 0, 60, "the minute, though there is a token after 30 seconds"),
        (2, 2, 45_000, 30, "the token, though the minute ends in 15 seconds"),
        (60, 60, 30_500, 30, "the minute's end, rounded up"),
        (10, 50, 59_000, 1, "the minute's end, with tokens left"),
    ];
    for (row, (per_minute, burst, into_minute, wait, why)) in rows.into_iter().enumerate() {
        let owner = world.owner_with(per_minute, burst, &format!("row-{row}")).await;
        let past = world.clock.now().as_millis().rem_euclid(60_000).unsigned_abs();
        world.clock.advance(Duration::from_millis(60_000 - past + into_minute));
        let (admitted, refusal) = until_refused(&owner).await;
        assert_eq!(
            (admitted, refusal.header("retry-after")),
            (per_minute.min(burst).into(), &*wait.to_string()),
            "{why}"
        );
        world.clock.advance(seconds(wait - 1));
        let early = owner.get(COUNTED).await;
        assert_eq!(early.refused(429, "rate_limited").header("retry-after"), "1", "{why}");
        world.clock.advance(seconds(1));
        owner.get(COUNTED).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_minute_ends_at_the_full_minute_of_the_clock() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    let noon = NOON.as_seconds();
    for (millis, remaining, reset, reset_after) in [
        (0, 599, noon + 60, 60),
        (500, 598, noon + 60, 60),
        (59_000, 597, noon + 60, 1),
        (59_999, 596, noon + 60, 1),
        (60_000, 599, noon + 120, 60),
        (61_000, 598, noon + 120, 59),
        (600_000, 599, noon + 660, 60),
    ] {
        world.clock.advance(Duration::from_millis(millis) - world.clock.now().since(NOON));
        let told = owner.get(COUNTED).await.rate_limit();
        assert_eq!((told.remaining, told.reset, told.reset_after), (remaining, reset, reset_after), "{millis} ms");
    }
}

#[tokio::test]
async fn an_account_has_one_limit_for_all_its_tokens_and_endpoints_and_for_nobody_else() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let other = world.owner_on("starter", "rival").await;
    let second_token = world.with_token(&owner, |_| {}).await;
    for remaining in (40..60).rev() {
        let actor = if remaining % 2 == 0 { &owner } else { &second_token };
        let path = ["/v1/repositories", COUNTED, "/v1/repositories/nope", "/v1/nope"][remaining as usize % 4];
        let told = actor.get(path).await.rate_limit();
        assert_eq!((told.remaining, told.burst_left), (remaining, remaining - 40), "{path}");
    }
    for path in ["/v1/repositories", COUNTED, "/v1/repositories/nope", "/v1/nope", "/v1/repositories/nope/deployments"]
    {
        owner.get(path).await.refused(429, "rate_limited");
        second_token.get(path).await.refused(429, "rate_limited");
    }
    let told = other.get("/v1/repositories").await;
    assert_eq!((told.status, told.rate_limit().remaining), (200, 59));
}

#[tokio::test]
async fn a_source_without_a_valid_token_is_limited_and_its_neighbours_with_one_are_not() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    assert_eq!(owner.get("/v1/repositories").await.rate_limit().remaining, 59);
    let anonymous = world.anonymous();
    for _ in 0..10 {
        anonymous.get("/v1/repositories").await.refused(401, "missing_token");
        anonymous.holding("nonsense").post("/v1/repositories", json!({})).await.refused(401, "invalid_token");
    }
    for path in ["/v1/repositories", "/v1/sign-in", "/v1/rate_limit", "/v1/nope"] {
        let refused = anonymous.get(path).await;
        assert_eq!(refused.refused(429, "rate_limited").header("retry-after"), "1", "{path}");
    }
    let answer = owner.get("/v1/repositories").await;
    assert_eq!((answer.status, answer.rate_limit().remaining), (200, 58), "from the same address");

    world.clock.advance(seconds(1));
    assert_eq!(anonymous.get("/v1/sign-in").await.status, 200);
    anonymous.get("/v1/sign-in").await.refused(429, "rate_limited");
}

/// Tokens that nobody has cost the source that tries them, and not the table.
#[tokio::test]
async fn a_refused_source_costs_no_call_and_its_known_callers_go_on() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let revoked = world.with_token(&owner, |_| {}).await;
    let calls = |answer: &Answer| world.line_of(answer)["dynamodb_calls"].as_u64().unwrap();
    for known in [&owner, &revoked] {
        assert_eq!(known.get("/v1/repositories").await.status, 200);
    }
    let id = revoked.get("/v1/user").await.body["token"]["id"].as_str().unwrap().to_owned();
    assert_eq!(owner.delete(&format!("/v1/tokens/{id}")).await.status, 200);
    world.callers_are_forgotten();
    // Both the token's refusal and its count are calls, until the source is refused.
    let unknown = || world.anonymous().holding(TokenSecret::random().reveal());
    for _ in 0..20 {
        let refused = unknown().get("/v1/repositories").await;
        assert_eq!(calls(refused.refused(401, "invalid_token")), 2);
    }
    for _ in 0..3 {
        let refused = unknown().get("/v1/repositories").await;
        let told = refused.refused(429, "rate_limited").rate_limit();
        assert_eq!((told.limit, told.burst_left, refused.header("retry-after")), (60, 0, "1"));
        assert_eq!(calls(&refused), 0);
    }
    // This environment knows the owner's token, although it has to read it again.
    assert_eq!(owner.get("/v1/repositories").await.status, 200);
    // It has known the revoked one too, and finds out once.
    let refusals = [revoked.get("/v1/repositories").await, revoked.get("/v1/repositories").await];
    for refused in &refusals {
        refused.refused(429, "rate_limited");
    }
    assert!(calls(&refusals[0]) > 0);
    assert_eq!(calls(&refusals[1]), 0);
}

#[tokio::test]
async fn asking_for_the_rate_limit_is_bounded_by_source_and_answered_from_memory() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let second_token = world.with_token(&owner, |_| {}).await;
    let calls = |answer: &Answer| world.line_of(answer)["dynamodb_calls"].as_u64().unwrap();
    owner.get("/v1/rate_limit").await;
    for left in (0..19).rev() {
        let answer = owner.get("/v1/rate_limit").await;
        assert_eq!((answer.status, calls(&answer)), (200, 1), "{left} left: the count is the only call");
    }
    for refused in [owner.get("/v1/rate_limit").await, owner.get("/v1/rate_limit").await] {
        let told = refused.refused(429, "rate_limited").rate_limit();
        assert_eq!((told.limit, told.burst_left, refused.header("retry-after")), (60, 0, "1"));
        assert_eq!(calls(&refused), 0);
    }
    second_token.get("/v1/rate_limit").await.refused(429, "rate_limited");
    // Neither the account's requests nor those without a token are affected.
    assert_eq!(owner.get("/v1/repositories").await.rate_limit().remaining, 59);
    let anonymous = world.anonymous().get("/v1/repositories").await;
    assert_eq!(anonymous.refused(401, "missing_token").rate_limit().remaining, 59);
    world.clock.advance(seconds(1));
    let answer = owner.get("/v1/rate_limit").await;
    assert_eq!((answer.status, calls(&answer)), (200, 2), "the count, and a read of what is a second old");
    assert_eq!(answer.body["remaining"], 59);
}

#[tokio::test]
async fn asking_for_the_rate_limit_does_not_count_and_tells_the_truth() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let asked = async |remaining: i64, burst_left: i64| {
        for _ in 0..2 {
            let answer = owner.get("/v1/rate_limit").await;
            let told = answer.rate_limit();
            let body = json!({
                "plan": "starter", "limit": 60, "remaining": remaining, "reset": told.reset,
                "burst": {"limit": 20, "remaining": burst_left},
            });
            assert_eq!((answer.status, answer.body), (200, body));
            assert_eq!((told.limit, told.remaining, told.burst, told.burst_left), (60, remaining, 20, burst_left));
        }
    };
    asked(60, 20).await;
    owner.get(COUNTED).await.refused(404, "not_found");
    owner.get("/v1/repositories").await;
    // The answer is at most a second old.
    world.clock.advance(seconds(1));
    asked(58, 19).await;
    assert_eq!(until_refused(&owner).await.0, 19);
    world.clock.advance(seconds(1));
    asked(39, 1).await;
    world.clock.advance(seconds(60));
    asked(60, 20).await;
}

/// Four functions take turns, and each of them knows only its own requests.
#[tokio::test]
async fn functions_that_take_turns_seldom_write_twice() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    // Each path, with the number of its calls that are not the limiter's.
    let mix = [
        ("/v1/repositories", 2),
        (COUNTED, 0),
        ("/v1/repositories/app", 1),
        (COUNTED, 0),
        ("/v1/tokens", 2),
        (COUNTED, 0),
        ("/v1/repositories", 2),
        (COUNTED, 0),
    ];
    world.clock.advance(seconds(45));
    for (path, _) in mix {
        owner.get(path).await;
    }
    let before = world.log().len();
    // A new minute begins meanwhile, and no cached token expires.
    for _ in 0..29 {
        world.clock.advance(seconds(1));
        for (path, _) in mix {
            owner.get(path).await;
        }
    }
    let lines = world.log().split_off(before);
    let calls: u64 = lines.iter().map(|line| cost_of(line).0).sum();
    let writes = calls - 29 * mix.map(|(_, others)| others).iter().sum::<u64>();
    assert_eq!(lines.len(), 29 * mix.len());
    assert!(writes * 100 <= lines.len() as u64 * 102, "{writes} writes for {} requests", lines.len());
}

#[tokio::test]
async fn a_refusal_that_is_known_already_asks_nothing_of_dynamodb() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let calls = async |path: &str| {
        let answer = owner.get(path).await;
        (answer.status, world.line_of(&answer)["dynamodb_calls"].as_u64().unwrap())
    };
    assert_eq!(calls(COUNTED).await, (404, 3), "the token, what it stands for, and the limiter's write");
    for _ in 1..20 {
        assert_eq!(calls(COUNTED).await, (404, 1), "the limiter's write");
    }
    for _ in 0..3 {
        assert_eq!(calls(COUNTED).await, (429, 0));
    }
    let elsewhere = "/v1/nothing/here";
    assert_eq!(
        calls(elsewhere).await,
        (429, 2),
        "another function learns it with the token's account, and writes nothing"
    );
    assert_eq!(calls(elsewhere).await, (429, 0));
    world.clock.advance(seconds(1));
    assert_eq!(calls(elsewhere).await, (404, 1));
    assert_eq!(calls(COUNTED).await, (429, 1), "the token that came back is gone");
    assert_eq!(calls(COUNTED).await, (429, 0));
}

#[tokio::test]
async fn a_post_that_is_refused_has_no_effect() {
    let world = World::start().await;
    let owner = world.owner_on("starter", "acme").await;
    let source = GitRepository::with_commands(&["true"]);
    owner.repository("app", &source).await;
    until_refused(&owner).await;
    let new = json!({"name": "other", "clone_url": source.url()});
    for _ in 0..2 {
        owner.post("/v1/repositories", new.clone()).await.refused(429, "rate_limited");
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await.refused(429, "rate_limited");
    }
    world.clock.advance(seconds(60));
    assert_eq!(owner.get("/v1/repositories").await.column("name"), ["app"]);
    let deployments = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!((&deployments.body["data"], &deployments.body["meta"]["total"]), (&json!([]), &json!(0)));
    assert_eq!(owner.post("/v1/repositories", new).await.status, 201);
}
