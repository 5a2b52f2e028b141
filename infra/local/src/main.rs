//! `cargo local`: the whole system on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use local::demo::{Api, DetachedHead, Registered, Tokens};
use local::functions::Area;
use local::generate;
use local::new::NewEndpoint;
use local::stack::{Options, Stack};
use shared::InitError;
use shared::telemetry::Log;

/// Runs the .git API on 127.0.0.1: every function, DynamoDB, SQS and the gateway in one process.
#[derive(Parser)]
#[command(name = "cargo local")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Lists repositories, creates a deployment and follows it to its end; fails unless it succeeded
    Demo {
        #[command(flatten)]
        stack: StackArgs,
        /// Branch, tag or commit to deploy; the default branch unless given
        #[arg(long = "ref", value_name = "REF")]
        git_ref: Option<String>,
    },
    /// Writes every file that follows from the functions
    Generate,
    /// Writes an endpoint that answers with an empty object, and prints the remaining steps
    New {
        /// Name of the function: a verb and a noun, such as get-thing
        name: String,
        /// Method and path, such as 'GET /v1/things/{thing_id}'
        route: String,
        /// Area whose template has the function; that of the endpoints with the longest path in common unless given
        #[arg(long)]
        area: Option<Area>,
    },
}

#[derive(Args)]
struct StackArgs {
    /// Port of the API; DynamoDB and SQS take the next two
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Folder of the data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Starts with no data
    #[arg(long)]
    fresh: bool,
    /// Repository to register; this checkout unless given
    #[arg(long, value_name = "PATH_OR_URL")]
    repo: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_writer(std::io::stderr).init();
    let Cli { command, stack } = Cli::parse();
    let done = match command {
        None => serve(stack).await.map(|()| true),
        Some(Command::Demo { stack, git_ref }) => demo(stack, git_ref).await,
        Some(Command::Generate) => generate::write(checkout()).map(|written| {
            written.iter().for_each(|path| println!("{}", path.display()));
            true
        }),
        Some(Command::New { name, route, area }) => new(&name, &route, area).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", shared::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

impl StackArgs {
    fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| checkout().join(".local"))
    }

    /// Registers the repository. Returns it with its default branch, or the commit of a detached HEAD.
    async fn register(&self, api: &Api) -> Result<(Registered, String), InitError> {
        let (clone_url, head) = match &self.repo {
            Some(url) if url.contains("://") => (url.clone(), None),
            repo => {
                let path = fs::canonicalize(repo.as_deref().map_or(checkout(), Path::new))?;
                (path.display().to_string(), DetachedHead::of(&path)?)
            }
        };
        let repository = api.ensure_repository(&clone_url, head.as_ref()).await?;
        let git_ref = head.map_or_else(|| repository.default_branch.clone(), |head| head.sha);
        Ok((repository, git_ref))
    }

    async fn start(&self) -> Result<Stack, InitError> {
        let data = self.data();
        fs::create_dir_all(&data)?;
        if self.fresh {
            erase(&data)?;
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(data.join("log.jsonl"))?;
        Stack::start(Options::new(self.port, data, Log::to(log))).await
    }
}

/// Removes only a stack's files, because the user chose the folder.
fn erase(data: &Path) -> Result<(), InitError> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Some("archive") => fs::remove_dir_all(entry.path())?,
            Some("demo-tokens.json" | "log.jsonl" | "variables.key") => fs::remove_file(entry.path())?,
            Some(name) if name.starts_with("dynamodb.sqlite") => fs::remove_file(entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the path of this repository.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in infra/local")
}

async fn serve(args: StackArgs) -> Result<(), InitError> {
    let started = Instant::now();
    let stack = args.start().await?;
    let tokens = Tokens::ensure(&stack, &args.data()).await?;
    let url = stack.url();
    let (repository, git_ref) = args.register(&Api::new(&url, &tokens.pro)).await?;
    let name = repository.name;
    println!(
        "The .git API is at {url} (started in {} ms); requests are logged to {}\n\n\
         export TOKEN={}   # Pro plan; the Starter plan's is {}\n\n\
         curl -i -H \"Authorization: Bearer $TOKEN\" {url}/v1/repositories\n\
         curl -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n  \
         -d '{{\"ref\": \"{git_ref}\"}}' {url}/v1/repositories/{name}/deployments\n\
         curl -H \"Authorization: Bearer $TOKEN\" {url}/v1/repositories/{name}/deployments\n",
        started.elapsed().as_millis(),
        args.data().join("log.jsonl").display(),
        tokens.pro,
        tokens.starter,
    );
    tokio::signal::ctrl_c().await?;
    stack.shutdown().await;
    Ok(())
}

/// Writes an endpoint into this checkout.
fn new(name: &str, route: &str, area: Option<Area>) -> Result<(), InitError> {
    let endpoint = NewEndpoint::parse(name, route, area)?;
    for path in endpoint.write(checkout())? {
        println!("{}", path.display());
    }
    print!("\nLeft to do:\n{}", endpoint.next_steps());
    Ok(())
}

/// Uses the stack that runs on the port, or starts one for the demo.
async fn demo(args: StackArgs, git_ref: Option<String>) -> Result<bool, InitError> {
    let running = format!("http://127.0.0.1:{}", args.port);
    if Api::answers(&running).await {
        let tokens = Tokens::load(&args.data())?.ok_or("the running stack was started with another data folder")?;
        return deploy(&Api::new(&running, &tokens.pro), &args, git_ref).await;
    }
    let stack = args.start().await?;
    let tokens = Tokens::ensure(&stack, &args.data()).await?;
    let succeeded = deploy(&Api::new(&stack.url(), &tokens.pro), &args, git_ref).await;
    stack.shutdown().await;
    succeeded
}

async fn deploy(api: &Api, args: &StackArgs, git_ref: Option<String>) -> Result<bool, InitError> {
    let (repository, default_ref) = args.register(api).await?;
    api.run(&repository.name, &git_ref.unwrap_or(default_ref)).await
}
