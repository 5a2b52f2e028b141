//! `cargo measure`: the cost of the functions, in counts and in ratios to stand-ins that are measured in the same run.

mod beside;
mod binaries;
mod build;
mod calls;
mod cold;
mod cost;
mod endpoints;
mod environment;
mod fetch;
mod fixture;
mod growth;
mod limiter;
mod memory;
mod partition;
mod report;
mod tls;
mod turns;
mod warm;
mod webhooks;
mod zae_limiter;

use clap::Parser;

/// An error of any kind, which ends the measurement.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Measures the functions and writes the figures to tests/bench/figures.
#[derive(Parser)]
#[command(name = "cargo measure", bin_name = "cargo measure")]
enum Command {
    /// Start-up, first request, memory and size
    Cold,
    /// CPU, instructions, DynamoDB calls and capacity of a request, once warm
    Warm,
    /// The rate limiter beside zae-limiter, which is installed from PyPI
    Beside,
    /// Calls and capacity as accounts and repositories grow, and the rate limit with many functions
    Growth,
    /// The rate limiter under load, with the functions' binaries and beside zae-limiter
    Limiter,
    /// Dollars for a million requests
    Cost,
    /// Calls, capacity and dollars of a delivery to a webhook, and deliveries a second beside bare posts
    Webhooks,
    /// The wait of accounts beside a greedy one
    Turns,
    /// Memory of the local stack over 2,000 deployments
    Memory,
    /// The fetch of a commit beside `git clone --depth 1`
    Fetch,
    /// Clean and incremental builds, in half an hour
    Build,
    /// The build time of each dependency
    Dependencies,
    /// Collects all targets in one table, with the last measurements
    Targets,
    /// All of them
    All,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Command::parse() {
        Command::Cold => cold::measure().await?.publish(),
        Command::Warm => warm::measure().await?.publish(),
        Command::Beside => beside::measure().await?.publish(),
        Command::Growth => growth::measure().await?.publish(),
        Command::Limiter => limiter().await,
        Command::Cost => cost::measure().await?.publish(),
        Command::Webhooks => webhooks::measure().await?.publish(),
        Command::Turns => Box::pin(turns::measure()).await?.publish(),
        Command::Memory => memory::measure().await?.publish(),
        Command::Fetch => fetch().await,
        Command::Build => build::measure()?.publish(),
        Command::Dependencies => build::dependencies()?.publish(),
        Command::Targets => report::targets(),
        Command::All => {
            cold::measure().await?.publish()?;
            warm::measure().await?.publish()?;
            beside::measure().await?.publish()?;
            growth::measure().await?.publish()?;
            limiter().await?;
            cost::measure().await?.publish()?;
            webhooks::measure().await?.publish()?;
            Box::pin(turns::measure()).await?.publish()?;
            memory::measure().await?.publish()?;
            fetch().await?;
            build::measure()?.publish()?;
            build::dependencies()?.publish()?;
            report::targets()
        }
    }
}

/// Measures the rate limiter. The load takes more than two cores in a debug build of this program, so an optimized one
/// takes over.
async fn limiter() -> Result<()> {
    if cfg!(debug_assertions) {
        return binaries::run_optimized("limiter", "ci");
    }
    limiter::measure().await?.publish()
}

/// Measures fetches in a release build, as functions are.
async fn fetch() -> Result<()> {
    if cfg!(debug_assertions) {
        return binaries::run_optimized("fetch", "release");
    }
    fetch::measure().await?.publish()
}
