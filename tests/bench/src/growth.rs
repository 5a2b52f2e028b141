//! The cost of a request as an account grows, and as more functions serve it concurrently.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use shared::App;
use shared::clock::Clock;
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::rate_limit::Limiter;
use shared::telemetry::Log;
use shared::usage::Usage;
use tests::copies::{multiply, multiply_deployment};
use tests::{Actor, Answer, GitRepository, NOON, World};

use crate::Result;
use crate::report::{Report, Table};

const REPOSITORIES: [u32; 3] = [10, 1_000, 100_000];
const DEPLOYMENTS: [u32; 3] = [1, 100, 10_000];
const FUNCTIONS: [u32; 4] = [1, 4, 16, 64];
const FURTHEST_PAGE: u32 = 1_000;
const QUOTA: Quota = Quota { per_minute: 600, burst: 100 };
/// The number of seconds after which the bucket and the minute are used up.
const SECONDS: u32 = 59;
/// The number of requests that each function gets in a second.
const REQUESTS_A_SECOND: u32 = 3;

/// The DynamoDB calls and capacity units of a request, from its line in the log.
#[derive(Clone, Copy, PartialEq)]
struct Cost(u64, f64);

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("growth", "Growth");
    repositories(&mut report).await;
    deployments(&mut report).await;
    functions(&mut report).await?;
    Ok(report)
}

async fn repositories(report: &mut Report) {
    let mut table =
        Table::new(["repositories", "page 1: calls, units", "furthest page along Link", "its calls, units"]);
    let mut costs = Vec::new();
    for total in REPOSITORIES {
        let world = World::start().await;
        let owner = world.owner("acme").await;
        let source = GitRepository::new(&[]);
        let model = owner.repository("app-000000", &source).await;
        multiply(&world, &model, total).await;
        let first = warm(&owner, "/v1/repositories").await;
        let (number, last) = walk(&owner, first.clone()).await;
        let [first, last] = [&first, &last].map(|page| Cost::of(&world, page));
        table.row([total.to_string(), first.to_string(), number.to_string(), last.to_string()]);
        costs.push((first, last));
    }
    report.section("Repositories in an account", "The owner lists them, ten a page.", &table);
    let (Cost(calls, units), Cost(calls_then, units_then)) = (costs[0].0, costs[costs.len() - 1].1);
    let times = (calls_then as f64 / calls as f64, units_then / units);
    let what = "page 1,000 along Link, 100,000 repositories, against page 1 of 10: calls; units";
    report.target(what, "1.0×", format!("{:.2}×; {:.2}×", times.0, times.1), times == (1.0, 1.0));
}

async fn deployments(report: &mut Report) {
    let columns =
        ["deployments", "page 1: calls, units", "furthest page along Link", "its calls, units", "one: calls, units"];
    let mut table = Table::new(columns);
    for total in DEPLOYMENTS {
        let world = World::start().await;
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["true"]);
        owner.repository("app", &source).await;
        let model = owner.ended(&owner.deploy("app", json!({"ref": "main"})).await).await;
        multiply_deployment(&world, &model, total).await;
        let first = warm(&owner, "/v1/repositories/app/deployments").await;
        let (number, last) = walk(&owner, first.clone()).await;
        let id = last.body["data"][0]["id"].as_str().unwrap_or_default();
        let one = warm(&owner, &format!("/v1/deployments/{id}")).await;
        let [first, last, one] = [&first, &last, &one].map(|answer| Cost::of(&world, answer).to_string());
        table.row([total.to_string(), first, number.to_string(), last, one]);
    }
    report.section(
        "Deployments in a repository",
        "The owner lists them, ten a page, by the repository's name.",
        &table,
    );
}

/// Measures functions that share only the table and count one account's requests concurrently.
async fn functions(report: &mut Report) -> Result<()> {
    let columns =
        ["functions", "requests", "admitted", "more than allowed", "calls per admitted", "calls per refused", "failed"];
    let mut table = Table::new(columns);
    let mut over_admitted = 0;
    for functions in FUNCTIONS {
        let world = World::start().await;
        let clock = Clock::manual(NOON);
        let subject = &Subject::Account(AccountId::random());
        let limiter = |_| -> Result<Limiter> {
            let settings = world.stack.environment().settings.clone();
            let app = App::new(settings, clock.clone(), Log::to(std::io::sink()))?;
            Ok(Limiter::new(app.table().clone(), clock.clone()))
        };
        let limiters = (0..functions).map(limiter).collect::<Result<Vec<_>>>()?;
        let (mut admitted, mut refused, mut failed) = ((0, 0), (0, 0), 0);
        for _ in 0..SECONDS {
            let requests = limiters.iter().map(async |limiter| {
                let mut outcomes = Vec::new();
                for _ in 0..REQUESTS_A_SECOND {
                    outcomes.push(Usage::of(limiter.admit(subject, QUOTA)).await);
                }
                Ok::<_, std::convert::Infallible>(outcomes)
            });
            for (verdict, usage) in try_join_all(requests).await?.into_iter().flatten() {
                let (count, calls) = match verdict {
                    Ok(verdict) if verdict.refused_for.is_none() => (&mut admitted.0, &mut admitted.1),
                    Ok(_) => (&mut refused.0, &mut refused.1),
                    Err(_) => {
                        failed += 1;
                        continue;
                    }
                };
                *count += 1;
                *calls += usage.calls;
            }
            clock.advance(Duration::from_secs(1));
        }
        let allowed = QUOTA.per_minute.min(QUOTA.burst + QUOTA.per_minute / 60 * (SECONDS - 1));
        let over = admitted.0.max(allowed) - allowed;
        over_admitted += over;
        let each = |(count, calls): (u32, u32)| format!("{:.3}", f64::from(calls) / f64::from(count.max(1)));
        table.row([
            functions.to_string(),
            (admitted.0 + refused.0 + failed).to_string(),
            admitted.0.to_string(),
            over.to_string(),
            each(admitted),
            each(refused),
            failed.to_string(),
        ]);
    }
    let note = format!(
        "Each function has a limiter and a connection of its own and gets {REQUESTS_A_SECOND} requests in each of {SECONDS} seconds of \
         a manual clock, all functions at once: {} a minute and {} at once are allowed.",
        QUOTA.per_minute, QUOTA.burst
    );
    report.section("Functions on one account's limit", &note, &table);
    report.target(
        "requests admitted beyond the limit, 1 to 64 functions",
        "0",
        over_admitted.to_string(),
        over_admitted == 0,
    );
    Ok(())
}

/// Returns the response of a warm function.
async fn warm(owner: &Actor, path: &str) -> Answer {
    owner.get(path).await;
    owner.get(path).await
}

/// Returns the last page along `Link`, but no further than [`FURTHEST_PAGE`].
async fn walk(owner: &Actor, mut page: Answer) -> (u32, Answer) {
    let mut number = 1;
    while number < FURTHEST_PAGE
        && let Some(next) = page.link("next")
    {
        page = owner.get(&next).await;
        number += 1;
    }
    (number, page)
}

impl Cost {
    fn of(world: &World, answer: &Answer) -> Self {
        let line: Value = world.line_of(answer);
        let number = |name: &str| line[name].as_f64().unwrap_or_default();
        Self(number("dynamodb_calls") as u64, number("dynamodb_capacity_units"))
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:.1}", self.0, self.1)
    }
}
