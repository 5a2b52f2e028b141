use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use local::gateway::Gateway;
use reqwest::Method;
use serde_json::json;
use shared::clock::{Clock, Timestamp};
use shared::id::AccountId;
use shared::rate_limit::{Limiter, Quota, State, Subject};
use shared::table::{Table, Usage};
use tests::{Actor, Answer, GitRepository, NOON, RateLimit, World, cost_of};
use tokio::task::JoinSet;

/// A path that counts and costs nothing else: no deployment has this id.
const COUNTED: &str = "/v1/deployments/none";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Sends requests until one is refused; gives how many were not, and the refusal.
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
        assert_eq!((answer.status, answer.rate_limit()), (*status, left(remaining)), "{answer:?}");
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

/// A client that sends all it can, second by second: the whole burst, then what comes back, then nothing for the rest
/// of the minute, and the burst again.
#[tokio::test]
async fn both_bounds_of_each_plan_hold_and_are_reached() {
    let world = World::start().await;
    let plans = [
        // The account, its two limits, and the second of the minute in which it has used it up.
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
        // (per minute, burst, milliseconds into the minute, seconds to wait, and which bound it is)
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
    let anonymous = world.anonymous();
    for _ in 0..10 {
        anonymous.get("/v1/repositories").await.refused(401, "missing_token");
        anonymous.holding("nonsense").post("/v1/repositories", json!({})).await.refused(401, "invalid_token");
    }
    for path in ["/v1/repositories", "/v1/openapi.json", "/v1/rate_limit", "/v1/nope"] {
        let refused = anonymous.get(path).await;
        assert_eq!(refused.refused(429, "rate_limited").header("retry-after"), "1", "{path}");
    }
    let answer = owner.get("/v1/repositories").await;
    assert_eq!((answer.status, answer.rate_limit().remaining), (200, 59), "from the same address");

    world.clock.advance(seconds(1));
    assert_eq!(anonymous.get("/v1/openapi.json").await.status, 200);
    anonymous.get("/v1/openapi.json").await.refused(429, "rate_limited");
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
    asked(58, 18).await;
    world.clock.advance(seconds(1));
    asked(58, 19).await;
    assert_eq!(until_refused(&owner).await.0, 19);
    asked(39, 0).await;
    world.clock.advance(seconds(60));
    asked(60, 20).await;
}

/// Each function only knows what it saw itself, and four of them take turns.
#[tokio::test]
async fn functions_that_take_turns_seldom_write_twice() {
    let world = World::start().await;
    let owner = world.owner_on("pro", "acme").await;
    owner.repository("app", &GitRepository::new(&[])).await;
    // With the calls of each that are not the limiter's.
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
    // A new minute begins meanwhile, and no token is old enough to be looked up again.
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
    assert!(writes * 100 <= lines.len() as u64 * 105, "{writes} writes for {} requests", lines.len());
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

/// The functions of a world once more, behind a gateway of their own, with another DynamoDB endpoint.
async fn gateway(world: &World, dynamodb: String) -> Gateway {
    let mut settings = world.stack.environment().settings.clone();
    settings.set("AWS_ENDPOINT_URL_DYNAMODB", dynamodb);
    world.gateway(settings).await
}

/// Stands before a DynamoDB and throttles UpdateItem, as a partition does that is too hot. Only the limiter updates
/// items in a request; all other calls go through.
async fn throttling_updates(dynamodb: String) -> String {
    async fn pass(Shared((client, url)): Shared<(reqwest::Client, String)>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if parts.headers["x-amz-target"].as_bytes().ends_with(b".UpdateItem") {
            let throttled = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
            return (http::StatusCode::BAD_REQUEST, axum::Json(json!({"__type": throttled}))).into_response();
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let answer = client.post(url).headers(parts.headers).body(body).send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap()).into_response()
    }
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(pass).with_state((reqwest::Client::new(), dynamodb));
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn without_the_limiter_reads_go_on_and_writes_are_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["true"]);
    let app = owner.repository("app", &source).await;
    let dynamodb = world.stack.environment().settings.get("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned();
    let gateway = gateway(&world, throttling_updates(dynamodb).await).await;
    let there = owner.at(gateway.endpoint());
    let new = json!({"name": "other", "clone_url": source.url()});
    let (listed, found, public, bad_token, created, deployed) = tokio::join!(
        there.get("/v1/repositories"),
        there.get("/v1/repositories/app"),
        there.get("/v1/openapi.json"),
        async { there.holding("nonsense").get("/v1/repositories").await },
        there.post("/v1/repositories", new),
        there.post("/v1/repositories/app/deployments", json!({"ref": "main"})),
    );
    assert_eq!((listed.status, &listed.body["data"]), (200, &json!([app])));
    assert_eq!((found.status, &found.body), (200, &app));
    assert_eq!(public.status, 200);
    bad_token.refused(401, "invalid_token");
    for refused in [&created, &deployed] {
        assert_eq!(refused.refused(503, "service_unavailable").header("retry-after"), "1");
    }
    // Beside the account each function has read that its creation counted. It has seen no request of a source.
    for (answer, counted) in [(&listed, 1), (&found, 1), (&public, 0), (&bad_token, 0), (&created, 1), (&deployed, 1)] {
        let told = answer.rate_limit();
        assert_eq!(told.remaining, told.limit - counted);
        let failure = world.line_of(answer)["limiter_failure"].clone();
        assert!(failure.as_str().unwrap().contains("ProvisionedThroughputExceededException"), "{failure}");
        assert!(!answer.body.to_string().contains("Throughput"), "the cause stays inside");
    }
    assert_eq!(owner.get("/v1/repositories").await.column("name"), ["app"]);
    assert_eq!(owner.get("/v1/repositories/app/deployments").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn without_dynamodb_the_public_endpoint_answers_and_all_others_say_so() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let gateway = gateway(&world, "http://127.0.0.1:1".to_owned()).await;
    let there = owner.at(gateway.endpoint());
    let (public, nobody, read, written) = tokio::join!(
        there.get("/v1/openapi.json"),
        async { there.holding("nonsense").get("/v1/repositories").await },
        there.get("/v1/rate_limit"),
        there.post("/v1/repositories", json!({})),
    );
    assert_eq!((public.status, public.rate_limit().limit), (200, 60));
    assert_eq!(nobody.refused(401, "invalid_token").rate_limit().limit, 60);
    for answer in [read, written] {
        assert_eq!(answer.refused(503, "service_unavailable").rate_limit().limit, 60, "nobody knows the account");
        assert!(world.line_of(&answer)["cause"].as_str().unwrap().contains("unreachable"));
    }
}

const NOON_MILLIS: i64 = NOON.as_millis();

fn limiter(table: &Table, millis_after_noon: i64) -> (Limiter, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(NOON_MILLIS + millis_after_noon));
    (Limiter::new(table.clone(), clock.clone()), clock)
}

/// One environment has not heard of a subject for a while and others have admitted its requests. Each row breaks exactly
/// one part of one branch's condition, and nothing else keeps the request out.
#[tokio::test]
async fn an_environment_that_is_behind_decides_by_the_state_as_it_is() {
    const fn quota(per_minute: u32, burst: u32) -> Quota {
        Quota { per_minute, burst }
    }
    struct Row {
        what: &'static str,
        quota: Quota,
        /// When the environment that falls behind admits one request, in milliseconds after noon.
        first: i64,
        /// When another one admits how many.
        others: (i64, u32),
        /// When the first tries again, and by which quota.
        again: (i64, Quota),
        /// Whether it is admitted, and what the item has then: the minute after noon, `used`, and `tat` in milliseconds.
        expected: (bool, i64, u32, i64),
    }
    let rows = [
        Row {
            what: "same minute, bucket in use: the minute is full",
            quota: quota(10, 20),
            first: 0,
            others: (0, 9),
            again: (0, quota(10, 20)),
            expected: (false, 0, 10, 60_000),
        },
        Row {
            what: "same minute, bucket in use: the bucket is empty",
            quota: quota(100, 5),
            first: 0,
            others: (0, 4),
            again: (0, quota(100, 5)),
            expected: (false, 0, 5, 3_000),
        },
        Row {
            what: "same minute, bucket full: it is empty",
            quota: quota(100, 5),
            first: 0,
            others: (10_000, 5),
            again: (10_000, quota(100, 5)),
            expected: (false, 0, 6, 13_000),
        },
        Row {
            what: "same minute, bucket full: the minute is more than full, by a smaller plan",
            quota: quota(600, 100),
            first: 0,
            others: (0, 50),
            again: (30_000, quota(40, 20)),
            expected: (false, 0, 51, 5_100),
        },
        Row {
            what: "new minute, bucket in use: the minute has begun",
            quota: quota(10, 5),
            first: 58_000,
            others: (60_000, 1),
            again: (61_000, quota(10, 5)),
            expected: (true, 1, 2, 76_000),
        },
        Row {
            what: "new minute, bucket in use: it is empty",
            quota: quota(10, 5),
            first: 58_000,
            others: (58_000, 4),
            again: (60_000, quota(10, 5)),
            expected: (false, 0, 5, 88_000),
        },
        Row {
            what: "new minute, bucket full: it is in use",
            quota: quota(100, 5),
            first: 50_000,
            others: (59_000, 5),
            again: (60_000, quota(100, 5)),
            expected: (true, 1, 1, 62_600),
        },
        Row {
            what: "new minute, bucket full: the minute has begun",
            quota: quota(100, 5),
            first: 50_000,
            others: (60_000, 3),
            again: (62_000, quota(100, 5)),
            expected: (true, 1, 4, 62_600),
        },
    ];
    let world = World::start().await;
    let table = world.stack.app().table();
    for Row { what, quota, first, others: (at, count), again, expected } in rows {
        let subject = Subject::Account(AccountId::random());
        let (behind, clock) = limiter(table, first);
        assert_eq!(behind.admit(&subject, quota).await.unwrap().refused_for, None, "{what}");
        let (other, _) = limiter(table, at);
        for _ in 0..count {
            assert_eq!(other.admit(&subject, quota).await.unwrap().refused_for, None, "{what}");
        }
        clock.advance(Duration::from_millis((again.0 - first).unsigned_abs()));
        let verdict = behind.admit(&subject, again.1).await.unwrap();
        let State { window, used, tat } = behind.last_seen(&subject).unwrap();
        let minute = window - NOON_MILLIS / 60_000;
        assert_eq!((verdict.refused_for.is_none(), minute, used, tat / 1000 - NOON_MILLIS), expected, "{what}");
    }
}

/// An admission by one of many writers.
struct Admission {
    /// The writer's own clock, in microseconds.
    clock: i64,
    /// The item as that write left it.
    state: State,
}

/// What a storm of requests came to.
#[derive(Default)]
struct Storm {
    admissions: Vec<Admission>,
    refusals: usize,
    /// DynamoDB calls of the requests that were admitted, and of those that were refused.
    calls: [u32; 2],
}

/// A generator of numbers that look random (splitmix64), so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const WRITERS: u64 = 32;
const SKEW_MILLIS: u64 = 200;

/// Lets many writers, each with its own limiter and its own clock, ask for one subject in rounds: some or all of them at
/// the same time, a few requests each, and then time goes on.
async fn storm(table: &Table, subject: &Subject, quota: Quota, rounds: usize, mut dice: Dice) -> Storm {
    let mut writers: Vec<_> =
        (0..WRITERS).map(|writer| limiter(table, (writer * SKEW_MILLIS / (WRITERS - 1)).cast_signed())).collect();
    let mut storm = Storm::default();
    for _ in 0..rounds {
        let share = [1, 4, 16, 32, 32][dice.below(5) as usize];
        let mut running = JoinSet::new();
        let mut idle = Vec::new();
        for (limiter, clock) in writers.drain(..) {
            if dice.below(WRITERS) >= share {
                idle.push((limiter, clock));
                continue;
            }
            let (subject, requests) = (subject.clone(), 1 + dice.below(4));
            running.spawn(async move {
                let mut own = Storm::default();
                for _ in 0..requests {
                    let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
                    let verdict = verdict.unwrap();
                    own.calls[usize::from(verdict.refused_for.is_some())] += usage.calls;
                    match verdict.refused_for {
                        None => own.admissions.push(Admission {
                            clock: clock.now().as_millis() * 1000,
                            state: limiter.last_seen(&subject).unwrap(),
                        }),
                        Some(wait) => {
                            assert!(wait >= 1 && verdict.remaining.min(verdict.burst_remaining) == 0, "{verdict:?}");
                            own.refusals += 1;
                        }
                    }
                }
                (limiter, clock, own)
            });
        }
        writers = idle;
        for (limiter, clock, own) in running.join_all().await {
            writers.push((limiter, clock));
            storm.admissions.extend(own.admissions);
            storm.refusals += own.refusals;
            storm.calls = [storm.calls[0] + own.calls[0], storm.calls[1] + own.calls[1]];
        }
        let step = Duration::from_millis([30, 170, 900, 2_500, 11_000, 61_000][dice.below(6) as usize]);
        writers.iter().for_each(|(_, clock)| clock.advance(step));
    }
    storm
}

/// Asserts what the limiter promises of any admissions, in the order in which the table took them.
fn assert_promises(quota: Quota, mut admissions: Vec<Admission>) {
    // Within its minute `used` counts the writes, so it tells their order.
    admissions.sort_by_key(|admission| (admission.state.window, admission.state.used, admission.state.tat));
    let interval = (60_000_000 + i64::from(quota.per_minute) - 1) / i64::from(quota.per_minute);
    let mut expected = (i64::MIN, 0);
    let mut last_tat = i64::MIN;
    // The most that `clock - place * interval` has been so far.
    let mut ahead = i64::MIN;
    for (place, Admission { clock, state }) in (0i64..).zip(admissions) {
        expected = if state.window == expected.0 { (expected.0, expected.1 + 1) } else { (state.window, 1) };
        assert_eq!((state.window, state.used), expected, "no admission is lost or counted twice, {quota:?}");
        assert!(state.used <= quota.per_minute, "{state:?} has more than the minute allows, {quota:?}");
        assert!(state.window >= clock.div_euclid(60_000_000), "{state:?} is in a minute that is over at {clock}");
        assert!(
            state.tat >= last_tat + interval && state.tat >= clock + interval,
            "{state:?} gives tokens back, {quota:?}"
        );
        last_tat = state.tat;
        let own = clock - place * interval;
        assert!(
            ahead == i64::MIN || own >= ahead + (1 - i64::from(quota.burst)) * interval,
            "{state:?} at {clock} is more than the bucket allows, {quota:?}"
        );
        ahead = ahead.max(own);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_with_different_clocks_never_admit_too_much_and_lose_nothing() {
    let world = World::start().await;
    let table = world.stack.app().table();
    let quotas = [(600, 100), (60, 20), (30, 60), (6_000, 3), (20, 15)];
    let (mut requests, mut admitted) = (0, 0);
    for (seed, (per_minute, burst)) in quotas.into_iter().enumerate() {
        let quota = Quota { per_minute, burst };
        let subject = Subject::Account(AccountId::random());
        let Storm { admissions, refusals, calls } = storm(table, &subject, quota, 40, Dice(seed as u64)).await;
        println!("{quota:?}: {} admitted by {} calls, {refusals} refused by {}", admissions.len(), calls[0], calls[1]);
        requests += admissions.len() + refusals;
        admitted += admissions.len();
        let last = admissions.iter().max_by_key(|admission| admission.state.tat).unwrap().state;
        assert_promises(quota, admissions);
        let minute = Timestamp::from_millis(last.window * 60_000);
        let fresh = Limiter::new(table.clone(), Clock::manual(minute));
        let stored = fresh.peek(&subject, quota).await.unwrap();
        assert_eq!(stored.remaining, quota.per_minute - last.used, "the item is what the last write left");
    }
    assert!(requests > 5_000 && admitted > 1_000 && requests - admitted > 500, "{admitted} of {requests}");
}

#[tokio::test]
async fn a_steady_client_costs_one_write_a_request() {
    let world = World::start().await;
    let (limiter, clock) = limiter(world.stack.app().table(), 0);
    let subject = Subject::Account(AccountId::random());
    let quota = Quota { per_minute: 600, burst: 100 };
    let mut calls = 0;
    for gap in (0..300).map(|request| if request % 50 == 0 { 15_000 } else { 40 }) {
        clock.advance(Duration::from_millis(gap));
        let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
        assert_eq!(verdict.unwrap().refused_for, None);
        calls += usage.calls;
    }
    assert_eq!(calls, 300, "over two minutes, with pauses that fill the bucket and bursts across minutes");
}
