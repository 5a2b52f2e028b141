//! Compares the rate limiter with another one for DynamoDB.

use std::time::Duration;

use shared::App;
use shared::clock::Clock;
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::telemetry::Log;

use crate::Result;
use crate::calls::{Calls, capacity};
use crate::fixture::{DYNAMODB, Fixture};
use crate::report::{Report, Table};
use crate::zae_limiter::ZaeLimiter;

const QUOTA: Quota = Quota { per_minute: 600, burst: 100 };
/// The number of requests by one subject without a pause. The burst is admitted first, then the refilled tokens.
const REQUESTS: u32 = 1000;

/// The calls of the requests with one outcome.
#[derive(Default)]
struct Tally {
    requests: u32,
    calls: usize,
    read: f64,
    written: f64,
}

pub(crate) async fn measure() -> Result<Report> {
    let fixture = Fixture::start().await;
    let calls = Calls::default();
    let settings = calls.in_front_of(&fixture.settings(), Duration::ZERO).await?;
    let app = App::new(settings.clone(), Clock::system(), Log::to(std::io::sink()))?;
    let subject = Subject::Account(AccountId::random());
    ZaeLimiter::install()?;
    let mut zae_limiter = ZaeLimiter::start(settings.require(DYNAMODB)?, QUOTA).await?;
    app.limiter().admit(&subject, QUOTA).await?;
    zae_limiter.admit().await?;
    calls.take();

    let (mut ours, mut theirs) = (<[Tally; 2]>::default(), <[Tally; 2]>::default());
    for _ in 0..REQUESTS {
        let admitted = app.limiter().admit(&subject, QUOTA).await?.refused_for.is_none();
        ours[usize::from(admitted)].add(&calls);
    }
    for _ in 0..REQUESTS {
        let admitted = zae_limiter.admit().await?;
        theirs[usize::from(admitted)].add(&calls);
    }
    let mut table =
        Table::new(["limiter", "outcome", "requests", "calls each", "units read each", "units written each"]);
    for (name, [refused, admitted]) in [("this one", ours), ("zae-limiter", theirs)] {
        for (outcome, tally) in [("admitted", admitted), ("refused", refused)] {
            let each = |total: f64| format!("{:.3}", total / f64::from(tally.requests.max(1)));
            table.row([
                name.to_owned(),
                outcome.to_owned(),
                tally.requests.to_string(),
                each(tally.calls as f64),
                each(tally.read),
                each(tally.written),
            ]);
        }
    }
    let Quota { per_minute, burst } = QUOTA;
    let note = format!(
        "{REQUESTS} requests by one subject without a pause, after one that is not counted: {per_minute} a minute, {burst} at once. `{}` \
         from PyPI does so by its synchronous API with a stored limit, on the same embedded DynamoDB; its bucket knows no clock \
         minute. A write whose condition fails counts as 1 unit.",
        ZaeLimiter::version()?
    );
    let mut report = Report::new("beside", "Beside others");
    report.section("The rate limiter", &note, &table);
    report.note("The functions are beside stand-ins in [cold](cold.md) and [warm](warm.md).");
    Ok(report)
}

impl Tally {
    fn add(&mut self, calls: &Calls) {
        let calls = calls.take();
        let [read, written] = capacity(&calls);
        self.requests += 1;
        self.calls += calls.len();
        self.read += read;
        self.written += written;
    }
}
