//! `cargo local`: the whole system on this machine.

mod running;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use local::demo::{Api, Ended, Reviewer, Run};
use local::functions::Area;
use local::generate;
use local::interrupt::Interrupt;
use local::new::NewEndpoint;
use local::progress::{Progress, report};
use shared::InitError;

use crate::running::{Running, Welcome, find_or_start, register};

/// DynamoDB, SQS, the issuer and the git host take the four ports after the API's.
const LAST_PORT: u16 = u16::MAX - 4;
/// The exit status of a command whose output's reader has gone, as shells report SIGPIPE.
const BROKEN_PIPE: u8 = 141;
const ENVIRONMENT: &str = "\
Environment variables:
  NO_COLOR  Turns colors off
  TMPDIR    Folder of the working folders of builds [default: /tmp]

Exit status:
  0 success, 1 failure, 2 invalid arguments, 130 ended by Ctrl-C";

/// Runs the .git API on 127.0.0.1: every function, DynamoDB, SQS, the gateway, an OAuth2 issuer and a git host in one process.
#[derive(Parser)]
#[command(
    name = "cargo local", bin_name = "cargo local", version, args_conflicts_with_subcommands = true,
    after_help = ENVIRONMENT
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Lists repositories, and deploys to a production that a second person protects; fails unless the deployment succeeded
    Demo {
        #[command(flatten)]
        stack: StackArgs,
        /// Branch, tag or commit to deploy [default: the default branch]
        #[arg(long = "ref", value_name = "REF")]
        git_ref: Option<String>,
    },
    /// Writes every file that is generated from the functions
    Generate,
    /// Writes an endpoint that answers with an empty object, and prints the remaining steps
    New {
        /// Name of the function: a verb and a noun, such as get-thing
        name: String,
        /// Method and path, such as 'GET /v1/things/{thing_id}'
        route: String,
        /// Area whose template has the function [default: that of the endpoints with the longest path in common]
        #[arg(long)]
        area: Option<Area>,
    },
}

#[derive(Args)]
struct StackArgs {
    /// Port of the API; DynamoDB, SQS, the OAuth2 issuer and a git host take the next four, and 0 takes five free ones
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(..=i64::from(LAST_PORT)))]
    port: u16,
    /// Folder of the data
    #[arg(long, value_name = "DIR", default_value_os_t = checkout().join(".local"))]
    data: PathBuf,
    /// Deletes the data of earlier runs first
    #[arg(long)]
    fresh: bool,
    /// Repository to register
    #[arg(long, value_name = "PATH_OR_URL", default_value_t = checkout().display().to_string())]
    repo: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(io::stderr).init();
    let Cli { command, stack } = Cli::parse();
    let done = match command {
        None => serve(stack).await,
        Some(Command::Demo { stack, git_ref }) => demo(stack, git_ref).await,
        Some(Command::Generate) => generate(),
        Some(Command::New { name, route, area }) => new(&name, &route, area),
    };
    done.unwrap_or_else(|error| {
        let kind = error.downcast_ref().map(io::Error::kind);
        if kind == Some(io::ErrorKind::BrokenPipe) {
            return BROKEN_PIPE.into();
        }
        report(shared::error::chain(&*error));
        ExitCode::FAILURE
    })
}

/// Returns the path of this repository.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in infra/local")
}

/// Runs a stack until a signal asks it to end.
async fn serve(args: StackArgs) -> Result<ExitCode, InitError> {
    let mut interrupt = Interrupt::listen()?;
    let started = Instant::now();
    let running = tokio::select! {
        running = Running::start(&args) => running?,
        status = interrupt.received() => return Ok(status.into()),
    };
    let welcomed = tokio::select! {
        welcomed = welcome(&running, &args, started) => welcomed,
        _ = interrupt.received() => Ok(()),
    };
    if welcomed.is_ok() {
        interrupt.received().await;
        // The stack stops even if nobody reads that it does.
        let _ = writeln!(io::stderr(), "Stopping. Press Ctrl-C again to stop at once.");
    }
    running.stop().await;
    welcomed.map(|()| ExitCode::SUCCESS)
}

/// Registers the repository and the demo's application, and writes how to use the stack.
async fn welcome(running: &Running, args: &StackArgs, started: Instant) -> Result<(), InitError> {
    let api = running.api();
    let (repository, git_ref) = register(&api, &args.repo).await?;
    running.ensure_application().await?;
    let has_private = running.ensure_private_repository(&repository.default_branch).await?;
    let hook = running.ensure_hook(&repository.name).await?;
    let head = api.head(&repository.name, &repository.default_branch).await?.unwrap_or_else(|| git_ref.clone());
    let welcome =
        Welcome { args, running, repository: &repository, git_ref: &git_ref, head: &head, has_private, hook: &hook };
    // The stack is of use even if nobody reads this.
    let _ = welcome.write(&mut io::stdout().lock(), started.elapsed());
    Ok(())
}

fn generate() -> Result<ExitCode, InitError> {
    let mut output = io::stdout().lock();
    for path in generate::write(checkout())? {
        writeln!(output, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an endpoint into this checkout.
fn new(name: &str, route: &str, area: Option<Area>) -> Result<ExitCode, InitError> {
    let endpoint = NewEndpoint::parse(name, route, area)?;
    let mut output = io::stdout().lock();
    for path in endpoint.write(checkout())? {
        writeln!(output, "{}", path.display())?;
    }
    write!(output, "\nRemaining steps:\n{}", endpoint.next_steps())?;
    Ok(ExitCode::SUCCESS)
}

/// Uses the stack that runs on the port, or starts one for the demo.
async fn demo(args: StackArgs, git_ref: Option<String>) -> Result<ExitCode, InitError> {
    let mut interrupt = Interrupt::listen()?;
    let progress = Progress::start("Starting");
    let (api, started) = tokio::select! {
        found = find_or_start(&args) => found?,
        status = interrupt.received() => return Ok(status.into()),
    };
    let ended = tokio::select! {
        ended = deploy(&api, &args, git_ref, &progress) => ended,
        status = interrupt.received() => {
            stop(started, &progress).await;
            return Ok(status.into());
        }
    };
    let advice = match (&ended, &started) {
        (Ok(Ended { has_artifacts: true, .. }), Some(running)) => {
            let command = running.command("cargo local", &args);
            progress.line(format_args!("This stack stops now. The URLs work while it runs: {command}"))
        }
        _ => Ok(()),
    };
    stop(started, &progress).await;
    let ended = ended?;
    advice?;
    Ok(if ended.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn stop(started: Option<Running>, progress: &Progress) {
    progress.status("Stopping");
    if let Some(running) = started {
        running.stop().await;
    }
}

async fn deploy(api: &Api, args: &StackArgs, git_ref: Option<String>, progress: &Progress) -> Result<Ended, InitError> {
    progress.status("Registering the repository");
    let (repository, default_ref) = register(api, &args.repo).await?;
    let reviewer = Reviewer::ensure(api, &args.data).await?;
    Run::start(api, &reviewer, progress).deploy(&repository.name, &git_ref.unwrap_or(default_ref)).await
}
