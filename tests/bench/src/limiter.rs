//! The rate limiter under load, on a table that answers slowly: the functions' binaries, the limiter alone where two cores
//! can't carry them, on an item with as little write capacity as DynamoDB's, and zae-limiter.

mod bounds;
mod figures;
mod load;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shared::App;
use shared::clock::Clock;
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::rate_limit::Limiter;
use shared::telemetry::Log;

use self::figures::{Figures, report};
use self::load::{Kind, Load, Server};
use crate::calls::Calls;
use crate::fixture::{Account, DYNAMODB, Fixture};
use crate::partition::Partition;
use crate::report::Report;
use crate::zae_limiter::ZaeLimiter;
use crate::{Result, binaries};

const FUNCTION: &str = "list-repositories";
const PRO: Quota = Quota { per_minute: 600, burst: 100 };
const LARGE: Quota = Quota { per_minute: 6_000, burst: 500 };
const LARGEST: Quota = Quota { per_minute: 120_000, burst: 10_000 };
/// 20,000 requests a second, and five seconds of them at once.
const HOT: Quota = Quota { per_minute: 1_200_000, burst: 100_000 };
/// The time of each load. It begins in the sixth second of a minute, so that the minute is used up before the next one begins.
const LASTS: Duration = Duration::from_secs(58);
const BEGINS: i64 = 5_000;
/// The time without requests before a load, in which every bucket becomes full.
const REST: i64 = 12_000;
/// The number of servers that start at once.
const STARTING: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Function,
    Limiter,
    ZaeLimiter,
}

/// One load on one account.
#[derive(Clone, Copy, Debug)]
struct Cell {
    by: By,
    /// The milliseconds after which the table answers.
    delay: u64,
    servers: usize,
    quota: Quota,
    load: Load,
    /// Whether the item's partition has a write capacity.
    throttles: bool,
}

impl Cell {
    const fn new(by: By, delay: u64, servers: usize, quota: Quota, a_second: f64) -> Self {
        Self { by, delay, servers, quota, load: Load { a_second, lasts: LASTS, even: false }, throttles: false }
    }

    /// Returns the load of a function on the plan Pro.
    const fn pro(delay: u64, servers: usize, times: f64) -> Self {
        Self::new(By::Function, delay, servers, PRO, times * 10.0)
    }

    /// Returns the load of a limiter on the largest account.
    const fn hot(times: f64) -> Self {
        Self { throttles: true, ..Self::new(By::Limiter, 5, 64, HOT, times * 20_000.0) }
    }

    /// Returns the offered requests as a multiple of those that the minute allows.
    fn offered(&self) -> f64 {
        self.load.a_second * 60.0 / f64::from(self.quota.per_minute)
    }
}

/// The loads at the same time, each for an account of its own.
const LOADS: [&[Cell]; 3] = [
    &[Cell::pro(5, 1, 20.0), Cell::pro(5, 16, 0.5), Cell::pro(5, 64, 2.0), Cell::pro(5, 256, 10.0)],
    &[Cell::pro(20, 1, 2.0), Cell::pro(20, 16, 10.0), Cell::pro(20, 64, 20.0), Cell::pro(20, 256, 2.0)],
    &[
        Cell::pro(50, 1, 10.0),
        Cell::pro(50, 16, 2.0),
        Cell::pro(50, 64, 0.5),
        Cell::pro(50, 64, 10.0),
        Cell::pro(50, 256, 20.0),
    ],
];
/// The loads whose writes are counted, and those of zae-limiter beside the limiter.
const OTHERS: [&[Cell]; 2] = [
    &[
        Cell::new(By::Function, 5, 1, LARGE, 50.0),
        Cell { load: Load { a_second: 8.0, lasts: LASTS, even: true }, ..Cell::pro(5, 4, 0.8) },
        Cell::new(By::Limiter, 20, 1, PRO, 20.0),
        Cell::new(By::ZaeLimiter, 20, 1, PRO, 20.0),
        Cell::new(By::Limiter, 20, 16, PRO, 20.0),
        Cell::new(By::ZaeLimiter, 20, 16, PRO, 20.0),
    ],
    &[Cell {
        load: Load { a_second: 1_000.0, lasts: Duration::from_secs(20), even: false },
        ..Cell::new(By::Limiter, 5, 64, LARGEST, 1_000.0)
    }],
];

/// The loads on one account that wants more writes of its item than DynamoDB takes, one after the other.
const HOT_LOADS: [&[Cell]; 2] = [&[Cell::hot(0.9)], &[Cell::hot(2.0)]];

pub(crate) async fn measure() -> Result<Report> {
    // Each environment takes ten files.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    ZaeLimiter::install()?;
    let binary = binaries::function(FUNCTION)?;
    let fixture = Fixture::start().await;
    let calls = Calls::default();
    let (mut loads, mut others, mut hot) = (Vec::new(), Vec::new(), Vec::new());
    for cells in LOADS {
        loads.extend(run(&fixture, &binary, &calls, cells).await?);
    }
    for cells in OTHERS {
        others.extend(run(&fixture, &binary, &calls, cells).await?);
    }
    for cells in HOT_LOADS {
        hot.extend(run(&fixture, &binary, &calls, cells).await?);
    }
    report(&loads, &others, &hot)
}

/// Runs loads at the same time.
async fn run(fixture: &Fixture, binary: &Path, calls: &Calls, cells: &[Cell]) -> Result<Vec<Figures>> {
    let mut ready = Vec::new();
    for cell in cells {
        ready.push((*cell, servers(fixture, binary, calls, cell).await?));
    }
    let clock = Clock::system();
    let rested = clock.now().as_millis() + REST;
    let minute = (rested - BEGINS).div_euclid(60_000) + 1;
    let begins = Duration::from_millis((minute * 60_000 + BEGINS - clock.now().as_millis()).unsigned_abs());
    eprintln!("{} loads begin in {} seconds", cells.len(), begins.as_secs());
    tokio::time::sleep(begins).await;
    let loads = ready.into_iter().map(async |(cell, servers)| {
        let decisions = cell.load.offer(servers).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Figures::new(cell, decisions))
    });
    try_join_all(loads).await
}

/// Starts the servers of a load. Each has served a request.
async fn servers(fixture: &Fixture, binary: &Path, calls: &Calls, cell: &Cell) -> Result<Vec<Server>> {
    let Quota { per_minute, burst } = cell.quota;
    let subject = Subject::Account(AccountId::random());
    let name = format!("account-{}", AccountId::random().as_str().split('_').next_back().unwrap_or_default());
    let account = Account::with_nothing(fixture.world.owner_with(per_minute, burst, &name).await);
    let event = account.event(FUNCTION)?;
    let partition = cell.throttles.then(Arc::<Partition>::default);
    let starting = (0..cell.servers).map(|_| async {
        let calls = calls.apart().within(partition.clone());
        let settings = calls.in_front_of(&fixture.settings(), Duration::from_millis(cell.delay)).await?;
        let kind = match cell.by {
            By::Function => {
                Kind::Function(crate::environment::Environment::start(binary, &settings).await?, event.clone())
            }
            By::Limiter => {
                let app = App::new(settings, Clock::system(), Log::to(std::io::sink()))?;
                Kind::Limiter(Limiter::new(app.table().clone(), Clock::system()), subject.clone(), cell.quota)
            }
            By::ZaeLimiter => Kind::ZaeLimiter(ZaeLimiter::start(settings.require(DYNAMODB)?, cell.quota).await?),
        };
        let mut server = Server { kind, calls };
        server.warm_up().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(server)
    });
    // The first process of zae-limiter creates its table.
    let at_once = if cell.by == By::ZaeLimiter { 1 } else { STARTING };
    stream::iter(starting).buffer_unordered(at_once).try_collect().await
}
