//! The rate limiter under load: many environments on a table that answers slowly, and the writes of busy ones.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use shared::App;
use shared::clock::{Clock, Timestamp};
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::rate_limit::Limiter;
use shared::settings::Settings;
use shared::telemetry::Log;
use shared::usage::Usage;
use tests::{NOON, Random, World};

use crate::Result;
use crate::calls::Calls;
use crate::report::{Report, Table};

const DELAYS: [Duration; 3] = [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(50)];
const ENVIRONMENTS: [usize; 4] = [1, 16, 64, 256];
/// Requests offered, as multiples of what the minute allows.
const OFFERED: [f64; 4] = [0.5, 2.0, 10.0, 20.0];
const QUOTA: Quota = Quota { per_minute: 600, burst: 100 };
/// The time of each load. A minute begins in it.
const LOAD: Duration = Duration::from_secs(62);

/// The decision about one request.
struct Decision {
    /// The request's time by its environment's clock.
    at: Timestamp,
    outcome: Outcome,
    calls: u32,
    took: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Admitted,
    Refused,
    Failed,
}

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("limiter", "The rate limiter under load");
    loads(&mut report).await?;
    writes(&mut report).await?;
    Ok(report)
}

fn limiter(settings: Settings, clock: Clock) -> Result<Limiter> {
    let app = App::new(settings, clock.clone(), Log::to(std::io::sink()))?;
    Ok(Limiter::new(app.table().clone(), clock))
}

/// Sends the requests of one environment, one after the other as Lambda does, with random pauses.
async fn load(limiter: Limiter, clock: Clock, subject: Subject, a_second: f64, seed: u64) -> Vec<Decision> {
    let (mut random, mut decisions) = (Random::new(seed), Vec::new());
    let (began, mut next) = (Instant::now(), Duration::ZERO);
    loop {
        // The pauses of a Poisson process.
        let uniform = (random.below(1_000_000) + 1) as f64 / 1_000_001.0;
        next += Duration::from_secs_f64(-uniform.ln() / a_second);
        if next > LOAD {
            return decisions;
        }
        tokio::time::sleep_until((began + next).into()).await;
        let (at, started) = (clock.now(), Instant::now());
        let (verdict, usage) = Usage::of(limiter.admit(&subject, QUOTA)).await;
        let outcome = match verdict {
            Ok(verdict) if verdict.refused_for.is_none() => Outcome::Admitted,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        decisions.push(Decision { at, outcome, calls: usage.calls, took: started.elapsed() });
    }
}

/// Returns the number of requests that both bounds allow of those that came at these times.
fn allowed(mut times: Vec<Timestamp>) -> usize {
    times.sort_unstable();
    let interval = 60_000_000 / i64::from(QUOTA.per_minute);
    let (mut full_at, mut minute, mut used, mut admitted) = (i64::MIN, 0, 0, 0);
    for time in times {
        let micros = time.as_millis() * 1000;
        let own = time.as_seconds().div_euclid(60);
        (minute, used) = if own == minute { (minute, used) } else { (own, 0) };
        if used < QUOTA.per_minute && full_at <= micros + i64::from(QUOTA.burst - 1) * interval {
            full_at = full_at.max(micros) + interval;
            used += 1;
            admitted += 1;
        }
    }
    admitted
}

/// Returns how many of the admissions exceed a bound.
fn exceeding(admitted: Vec<Timestamp>) -> usize {
    let count = admitted.len();
    count - allowed(admitted)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

async fn loads(report: &mut Report) -> Result<()> {
    let columns = [
        "table answers after, ms",
        "environments",
        "offered",
        "requests",
        "admitted beyond the limit",
        "admitted of what is allowed",
        "429 among refusals",
        "503",
        "calls per request",
        "p99 over median",
    ];
    let mut table = Table::new(columns);
    let (mut over, mut least, mut failures, mut most_calls, mut worst_tail) = (0, 1.0_f64, 0, 0.0_f64, 0.0_f64);
    for delay in DELAYS {
        let world = World::start().await;
        let clock = Clock::system();
        let settings = Calls::default().in_front_of(&world.stack.environment().settings, delay).await?;
        // All loads of one delay run side by side, each for an account of its own.
        let cells = ENVIRONMENTS.iter().flat_map(|environments| OFFERED.map(|offered| (*environments, offered)));
        let loads = cells.map(async |(environments, offered)| {
            let subject = Subject::Account(AccountId::random());
            let a_second = offered * f64::from(QUOTA.per_minute) / 60.0 / environments as f64;
            let running = (0..environments).map(async |environment| {
                let limiter = limiter(settings.clone(), clock.clone())?;
                let load = load(limiter, clock.clone(), subject.clone(), a_second, environment as u64);
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(load.await)
            });
            let decisions = try_join_all(running).await?.into_iter().flatten().collect::<Vec<_>>();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((environments, offered, decisions))
        });
        for (environments, offered, decisions) in try_join_all(loads).await? {
            let of = |outcome| decisions.iter().filter(move |decision| decision.outcome == outcome);
            let admitted: Vec<_> = of(Outcome::Admitted).map(|decision| decision.at).collect();
            let share = admitted.len() as f64 / allowed(decisions.iter().map(|decision| decision.at).collect()) as f64;
            let beyond = exceeding(admitted);
            let (refused, failed) = (of(Outcome::Refused).count(), of(Outcome::Failed).count());
            let calls =
                decisions.iter().map(|decision| f64::from(decision.calls)).sum::<f64>() / decisions.len() as f64;
            let mut took: Vec<_> =
                decisions.iter().filter(|decision| decision.calls > 0).map(|decision| decision.took).collect();
            took.sort_unstable();
            let tail = percentile(&took, 99).as_secs_f64() / percentile(&took, 50).as_secs_f64();
            over += beyond;
            failures += failed;
            least = if offered == 2.0 { least.min(share) } else { least };
            most_calls = if offered == 10.0 { most_calls.max(calls) } else { most_calls };
            worst_tail = if environments == 64 { worst_tail.max(tail) } else { worst_tail };
            table.row([
                delay.as_millis().to_string(),
                environments.to_string(),
                format!("{offered}×"),
                decisions.len().to_string(),
                beyond.to_string(),
                format!("{:.1} %", share * 100.0),
                format!("{:.1} %", refused as f64 * 100.0 / (refused + failed).max(1) as f64),
                failed.to_string(),
                format!("{calls:.3}"),
                format!("{tail:.2}"),
            ]);
        }
    }
    let note = format!(
        "Each environment has a limiter and a connection of its own and sends one request after the other, at random times, for {} seconds. \
         All loads of one delay run at the same time in one process. An account is allowed {} requests a minute and {} at once. \
         The allowed number is that of the exact model for the same requests. The last column is of the requests that call the table.",
        LOAD.as_secs(),
        QUOTA.per_minute,
        QUOTA.burst
    );
    report.section("Many environments on a slow table", &note, &table);
    report.target(
        "requests admitted above the limit, 1 to 256 environments, offered 0.5 to 20 times",
        "0",
        over.to_string(),
        over == 0,
    );
    let share = format!("{:.1} %", least * 100.0);
    report.target("admitted of what the limit allows, offered twice the limit", "≥ 98 %", share, least >= 0.98);
    report.target("refusals that are 503", "0", failures.to_string(), failures == 0);
    let calls = format!("{most_calls:.3}");
    report.target("table calls per request, offered ten times the limit", "≤ 1", calls, most_calls <= 1.0);
    let tail = format!("{worst_tail:.2}");
    report.target("p99 of the limiter over its median, 64 environments", "≤ 3", tail, worst_tail <= 3.0);
    Ok(())
}

async fn writes(report: &mut Report) -> Result<()> {
    const SECONDS: u32 = 60;
    struct Busy {
        what: &'static str,
        environments: u32,
        a_second: u32,
        quota: Quota,
        target: f64,
    }
    let rows = [
        Busy {
            what: "one environment at 50 a second",
            environments: 1,
            a_second: 50,
            quota: Quota { per_minute: 6_000, burst: 500 },
            target: 0.2,
        },
        Busy {
            what: "64 at 1,000 a second together",
            environments: 64,
            a_second: 1_000,
            quota: Quota { per_minute: 120_000, burst: 10_000 },
            target: 0.5,
        },
        Busy {
            what: "four in turns at 8 a second",
            environments: 4,
            a_second: 8,
            quota: Quota { per_minute: 600, burst: 100 },
            target: 1.02,
        },
    ];
    let mut table = Table::new(["requests", "number", "admitted", "writes per admitted request"]);
    for Busy { what, environments, a_second, quota, target } in rows {
        let world = World::start().await;
        let clock = Clock::manual(NOON);
        let subject = Subject::Account(AccountId::random());
        let settings = || world.stack.environment().settings.clone();
        let limiters = (0..environments).map(|_| limiter(settings(), clock.clone())).collect::<Result<Vec<_>>>()?;
        let (mut admitted, mut calls) = (0, 0);
        let gap = Duration::from_secs(1) / a_second;
        for request in 0..SECONDS * a_second {
            let limiter = &limiters[(request % environments) as usize];
            let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
            admitted += u32::from(verdict?.refused_for.is_none());
            calls += usage.calls;
            clock.advance(gap);
        }
        let each = f64::from(calls) / f64::from(admitted);
        table.row([what.to_owned(), (SECONDS * a_second).to_string(), admitted.to_string(), format!("{each:.3}")]);
        let of = format!("rate-limit writes per admitted request, {what}");
        report.target(&of, &format!("≤ {target}"), format!("{each:.3}"), each <= target);
    }
    let note = "Environments take turns at equal distances of a manual clock for a minute.";
    report.section("Writes of busy environments", note, &table);
    Ok(())
}
