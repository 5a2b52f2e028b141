//! The figures of the loads, and their report.

use std::time::Duration;

use super::bounds::{allowed, beyond};
use super::load::{Decision, Outcome};
use super::{By, Cell, HOT, LASTS, PRO};
use crate::Result;
use crate::partition::WRITES_A_SECOND;
use crate::report::{Report, Table, percentile};
use crate::zae_limiter::ZaeLimiter;

/// The figures of one load.
pub(super) struct Figures {
    cell: Cell,
    requests: usize,
    admitted: usize,
    refused: usize,
    failed: usize,
    /// The admissions beyond the bucket's bound and beyond a minute's.
    beyond: (usize, usize),
    /// The share of the admissions that the exact model allows.
    of_allowed: f64,
    calls_of_admitted: usize,
    calls_of_refused: usize,
    throttled: usize,
    /// The median and the 99th percentile of the limiter's time, of the requests that call the table.
    in_calls: [f64; 2],
    /// The median and the 99th percentile of the time from a request's arrival to its decision.
    took: [f64; 2],
}

impl Figures {
    pub(super) fn new(cell: Cell, decisions: Vec<Decision>) -> Self {
        let of = |outcome| decisions.iter().filter(move |decision| decision.outcome == outcome);
        let admitted: Vec<_> = of(Outcome::Admitted).map(|decision| decision.decided).collect();
        let calls = |outcome| of(outcome).map(|decision| decision.calls).sum();
        let times = decisions.iter().map(|decision| decision.decided.0).collect();
        let tail = |times: Vec<Duration>| {
            [50, 99].map(|percent| percentile(times.iter().map(|time| time.as_secs_f64() * 1e3), percent))
        };
        let with_calls = decisions.iter().filter(|decision| decision.calls > 0);
        Self {
            cell,
            requests: decisions.len(),
            admitted: admitted.len(),
            refused: of(Outcome::Refused).count(),
            failed: of(Outcome::Failed).count(),
            beyond: beyond(cell.quota, &admitted),
            of_allowed: admitted.len() as f64 / allowed(cell.quota, times) as f64,
            calls_of_admitted: calls(Outcome::Admitted),
            calls_of_refused: calls(Outcome::Refused),
            throttled: decisions.iter().map(|decision| decision.throttled).sum(),
            in_calls: tail(with_calls.map(|decision| decision.in_calls).collect()),
            took: tail(decisions.iter().map(|decision| decision.took).collect()),
        }
    }

    fn calls_each(&self) -> f64 {
        (self.calls_of_admitted + self.calls_of_refused) as f64 / self.requests as f64
    }

    fn writes_per_admitted(&self) -> f64 {
        (self.calls_of_admitted + self.calls_of_refused) as f64 / self.admitted as f64
    }

    fn tail(&self) -> f64 {
        self.in_calls[1] / self.in_calls[0]
    }

    fn is_offered(&self, times: f64) -> bool {
        (self.cell.offered() - times).abs() < 0.01
    }
}

pub(super) fn report(loads: &[Figures], others: &[Figures], hot: &[Figures]) -> Result<Report> {
    let mut report = Report::new("limiter", "The rate limiter under load");
    of_loads(&mut report, loads);
    of_writes(&mut report, others);
    of_a_hot_item(&mut report, hot);
    beside(&mut report, others)?;
    before(&mut report, loads);
    targets(&mut report, loads, others, hot);
    Ok(report)
}

fn of_loads(report: &mut Report, loads: &[Figures]) {
    let mut table = Table::new([
        "table answers after, ms",
        "environments",
        "offered",
        "requests",
        "admitted",
        "beyond the bucket, the minute",
        "of what is allowed",
        "429",
        "503",
        "limiter's calls per request",
        "limiter's p50, p99 ms",
        "p99 over p50",
        "request's p50, p99 ms",
    ]);
    for load in loads {
        let [p50, p99] = load.in_calls;
        table.row([
            load.cell.delay.to_string(),
            load.cell.servers.to_string(),
            format!("{:.1}×", load.cell.offered()),
            load.requests.to_string(),
            load.admitted.to_string(),
            format!("{}, {}", load.beyond.0, load.beyond.1),
            percent(load.of_allowed),
            load.refused.to_string(),
            load.failed.to_string(),
            format!("{:.3}", load.calls_each()),
            format!("{p50:.1}, {p99:.1}"),
            format!("{:.2}", load.tail()),
            format!("{:.1}, {:.1}", load.took[0], load.took[1]),
        ]);
    }
    let note = format!(
        "Each environment is a process of the release binary of list-repositories with a Runtime API and a proxy to the embedded \
         DynamoDB of its own. All loads of one delay run at the same time on the same cores, each for an account of its own, which \
         is allowed {} requests a minute and {} at once. Requests arrive at random times (a Poisson process) for {} seconds, \
         whether earlier ones are answered or not, and the environment that is idle for the longest time gets the next one. The \
         load begins 5 seconds after a minute does, with a full bucket, so the minute's bound and its end are both in it. \
         Counts are from the proxies' logs and the answers. A request that the table decided counts for the instant in its last write, \
         any other for some instant between its event and its answer; an admission is beyond a bound if no such instants fit \
         into it. The allowed number is that of the exact model for the times of the same requests. The limiter's time is \
         from its first call to its last answer, of the requests that call; the request's is from its arrival and includes \
         the wait for an idle environment. Every 30 seconds an environment reads its token again, which is in the request's time.",
        PRO.per_minute,
        PRO.burst,
        LASTS.as_secs()
    );
    report.section("Many environments on a slow table", &note, &table);
}

/// Returns the loads that count writes, each with its name and its target.
fn busy(others: &[Figures]) -> impl Iterator<Item = (&Figures, &'static str, f64)> {
    others.iter().filter_map(|load| match (load.cell.by, load.cell.servers) {
        (By::Function, 1) => Some((load, "one environment at 50 a second", 0.2)),
        (By::Limiter, 64) => Some((load, "64 at 1,000 a second together", 0.5)),
        (By::Function, 4) => Some((load, "four in turns at 8 a second", 1.02)),
        _ => None,
    })
}

fn of_writes(report: &mut Report, others: &[Figures]) {
    let mut table = Table::new([
        "requests",
        "by",
        "allowed a minute, at once",
        "number",
        "admitted",
        "beyond the bucket, the minute",
        "writes per admitted request",
    ]);
    for (load, what, _) in busy(others) {
        table.row([
            what.to_owned(),
            if load.cell.by == By::Function { "binaries" } else { "limiters in one process" }.to_owned(),
            format!("{}, {}", load.cell.quota.per_minute, load.cell.quota.burst),
            load.requests.to_string(),
            load.admitted.to_string(),
            format!("{}, {}", load.beyond.0, load.beyond.1),
            format!("{:.3}", load.writes_per_admitted()),
        ]);
    }
    let note = "The four come at equal distances, the others at random times. The table answers after 5 ms. 64 binaries at \
                1,000 a second take more than two cores, so there the limiter is alone, with 64 connections, for 20 seconds.";
    report.section("Writes of busy environments", note, &table);
}

fn of_a_hot_item(report: &mut Report, hot: &[Figures]) {
    let mut table = Table::new([
        "offered",
        "requests",
        "admitted",
        "beyond the bucket, the minute",
        "of what is allowed",
        "429",
        "503",
        "writes a second",
        "throttled a second",
        "p50, p99 ms from arrival to decision",
    ]);
    for load in hot {
        let a_second = |calls: usize| format!("{:.0}", calls as f64 / load.cell.load.lasts.as_secs_f64());
        let calls = load.calls_of_admitted + load.calls_of_refused;
        table.row([
            format!("{:.1}×", load.cell.offered()),
            load.requests.to_string(),
            load.admitted.to_string(),
            format!("{}, {}", load.beyond.0, load.beyond.1),
            percent(load.of_allowed),
            load.refused.to_string(),
            load.failed.to_string(),
            a_second(calls - load.throttled),
            a_second(load.throttled),
            format!("{:.1}, {:.1}", load.took[0], load.took[1]),
        ]);
    }
    let note = format!(
        "64 environments share an account that is allowed {} requests a minute and {} at once. The table answers after 5 ms. The \
         proxies throttle writes of an item beyond {WRITES_A_SECOND} a second, as DynamoDB does. Requests arrive at random \
         times for {} seconds. Binaries at this rate take more than two cores, so the limiters are alone, in one process.",
        HOT.per_minute,
        HOT.burst,
        LASTS.as_secs()
    );
    report.section("One account at 20,000 requests a second", &note, &table);
}

fn beside(report: &mut Report, others: &[Figures]) -> Result<()> {
    let mut table = Table::new([
        "limiter",
        "clients",
        "requests",
        "admitted",
        "beyond the bucket",
        "of what its bounds allow",
        "calls per admitted",
        "calls per refused",
        "p50, p99 ms of the calls",
    ]);
    for load in others.iter().filter(|load| load.cell.delay == 20) {
        let each = |calls: usize, requests: usize| format!("{:.3}", calls as f64 / requests.max(1) as f64);
        table.row([
            if load.cell.by == By::Limiter { "this one" } else { "zae-limiter" }.to_owned(),
            load.cell.servers.to_string(),
            load.requests.to_string(),
            load.admitted.to_string(),
            load.beyond.0.to_string(),
            percent(load.of_allowed),
            each(load.calls_of_admitted, load.admitted),
            each(load.calls_of_refused, load.refused),
            format!("{:.1}, {:.1}", load.in_calls[0], load.in_calls[1]),
        ]);
    }
    let note = format!(
        "`{}` from PyPI and the limiter alone, both at twice the limit of {} requests a minute and {} at once, on the embedded \
         DynamoDB that answers after 20 ms. A client of zae-limiter is a Python process with its synchronous API and a stored limit; its bucket knows \
         no clock minute, and may therefore admit more than what both bounds allow.",
        ZaeLimiter::version()?,
        PRO.per_minute,
        PRO.burst
    );
    report.section("Beside zae-limiter", &note, &table);
    Ok(())
}

/// Compares with the limiter before it decided each request for one instant.
fn before(report: &mut Report, loads: &[Figures]) {
    let of_64 = || loads.iter().filter(|load| load.cell.servers == 64);
    let beyond = of_64().map(|load| load.beyond.1).max().unwrap_or_default();
    let p99 = of_64().map(|load| load.took[1]).fold(0.0, f64::max);
    let mut table = Table::new(["64 environments", "before", "now"]);
    let mut row = |what: &str, before: &str, now: String| table.row([what.to_owned(), before.to_owned(), now]);
    row("admitted in a minute of 600", "605 to 613", format!("{} at most", PRO.per_minute as usize + beyond));
    row("p99 of a request", "7.6 to 17 s", format!("{p99:.0} ms at most"));
    if let Some(worst) = of_64().find(|load| load.cell.delay == 50 && load.is_offered(10.0)) {
        row("50 ms from the table, far above the limit: 429", "0", worst.refused.to_string());
        row("the same: median of a request", "5.5 s", format!("{:.0} ms", worst.took[0]));
        row("the same: the limiter's calls per request", "16", format!("{:.3}", worst.calls_each()));
    }
    let note = "Before is the limiter of commit 81ce03b, which decided again for a later instant after each lost write. It was \
                measured once, under similar loads: 64 clients of the local stack on the plan Pro, and 64 environments of the release binary at \
                1,200 a minute, 50 ms from the table.";
    report.section("Before and now", note, &table);
}

fn targets(report: &mut Report, loads: &[Figures], others: &[Figures], hot: &[Figures]) {
    let own = || loads.iter().chain(others).chain(hot).filter(|load| load.cell.by != By::ZaeLimiter);
    let most = |figures: &mut dyn Iterator<Item = f64>| figures.fold(0.0, f64::max);
    let over: usize = own().map(|load| load.beyond.0 + load.beyond.1).sum();
    let what = "requests admitted above the limit, 1 to 256 environments, offered 0.5 to 20 times";
    report.target(what, "0", over.to_string(), over == 0);
    let least = own().filter(|load| load.is_offered(2.0)).map(|load| load.of_allowed).fold(1.0, f64::min);
    let what = "admitted of what the limit allows, offered twice the limit";
    report.target(what, "≥ 98 %", percent(least), least >= 0.98);
    let (refused, failed) =
        own().fold((0, 0), |(refused, failed), load| (refused + load.refused, failed + load.failed));
    let share = format!("{}; {failed}", percent(refused as f64 / (refused + failed).max(1) as f64));
    report.target("share of 429 among refusals; 503", "100 %; 0", share, failed == 0);
    let tail = most(&mut loads.iter().filter(|load| load.cell.servers == 64).map(Figures::tail));
    let what = "p99 of the limiter over its median, 64 environments";
    report.target(what, "≤ 3", format!("{tail:.2}"), tail <= 3.0);
    let calls = most(&mut loads.iter().filter(|load| load.is_offered(10.0)).map(Figures::calls_each));
    let what = "table calls per request, offered ten times the limit";
    report.target(what, "≤ 1", format!("{calls:.3}"), calls <= 1.0);
    for (load, what, target) in busy(others) {
        let writes = load.writes_per_admitted();
        let what = format!("rate-limit writes per admitted request, {what}");
        report.target(&what, &format!("≤ {target}"), format!("{writes:.3}"), writes <= target);
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
