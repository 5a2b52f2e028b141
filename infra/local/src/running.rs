//! The stack that a command uses.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use console::style;
use fs_err as fs;
use local::data::DataFolder;
use local::demo::{Api, DemoHook, DetachedHead, PRIVATE_REPOSITORY, Registered, Tokens};
use local::git_host::GitHost;
use local::issuer::Client;
use local::stack::{Options, Stack};
use shared::InitError;
use shared::app::SIGN_IN_PATH;
use shared::telemetry::Log;

use crate::{StackArgs, checkout};

/// The command that reads the token from a response of the token endpoint.
const EXTRACT: &str = r#"sed 's/.*"access_token":"\([^"]*\).*/\1/'"#;

/// A stack that this process runs, with the demo's accounts.
pub(crate) struct Running {
    stack: Stack,
    tokens: Tokens,
    folder: DataFolder,
    /// The host of the private repository, if the repository of the demo is a folder.
    git_host: Option<GitHost>,
}

impl Running {
    pub(crate) async fn start(args: &StackArgs) -> Result<Self, InitError> {
        let folder = DataFolder::lock(&args.data)?;
        if args.fresh {
            folder.erase()?;
        }
        let log = Log::to(folder.open_log()?);
        let stack = Stack::start(Options::new(args.port, folder.path().to_owned(), log)).await?;
        let tokens = Tokens::ensure(&stack, folder.path()).await?;
        let git_host = match args.repo.contains("://") {
            true => None,
            false => {
                let port = if args.port == 0 { 0 } else { args.port + 4 };
                let address = (Ipv4Addr::LOCALHOST, port).into();
                Some(GitHost::start(address, folder.path(), &fs::canonicalize(&args.repo)?).await?)
            }
        };
        Ok(Self { stack, tokens, folder, git_host })
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.stack.url(), &self.tokens.pro)
    }

    /// Registers the client of the stack's issuer as an application of the demo's account.
    pub(crate) async fn ensure_application(&self) -> Result<(), InitError> {
        match self.stack.issuer() {
            Some(issuer) => self.api().ensure_application(issuer).await,
            None => Ok(()),
        }
    }

    /// Registers the private repository with a connection. Returns whether there is one.
    pub(crate) async fn ensure_private_repository(&self, branch: &str) -> Result<bool, InitError> {
        match &self.git_host {
            Some(host) => self.api().ensure_private_repository(host, branch).await,
            None => Ok(false),
        }
    }

    /// Makes a hook of a repository of the demo, unless there is one.
    pub(crate) async fn ensure_hook(&self, repository: &str) -> Result<DemoHook, InitError> {
        DemoHook::ensure(&self.api(), repository, self.folder.path()).await
    }

    /// Returns a command with the options that name this stack.
    pub(crate) fn command(&self, command: &str, args: &StackArgs) -> String {
        let mut command = command.to_owned();
        let port = self.stack.url().rsplit_once(':').map_or_else(String::new, |(_, port)| port.to_owned());
        let text = |path: &Path| path.display().to_string();
        let given = [
            ("--port", port, "3000".to_owned()),
            ("--data", text(self.folder.path()), text(&checkout().join(".local"))),
            ("--repo", args.repo.clone(), text(checkout())),
        ];
        for (option, value, default) in given {
            let is_plain = value.chars().all(|char| char.is_ascii_alphanumeric() || "/._-:@".contains(char));
            if value != default {
                let quote = if is_plain { "" } else { "'" };
                let _ = write!(command, " {option} {quote}{value}{quote}");
            }
        }
        command
    }

    pub(crate) async fn stop(self) {
        self.stack.shutdown().await;
        if let Some(host) = self.git_host {
            host.shutdown().await;
        }
    }
}

/// Returns a client of the stack that answers on the port, or starts a stack and returns it, too.
pub(crate) async fn find_or_start(args: &StackArgs) -> Result<(Api, Option<Running>), InitError> {
    let (port, data) = (args.port, args.data.display());
    let url = format!("http://127.0.0.1:{port}");
    if port == 0 || !Api::answers(&url).await {
        let running = Running::start(args).await?;
        return Ok((running.api(), Some(running)));
    }
    if args.fresh {
        let advice = "stop it first, or choose another --port and --data";
        return Err(format!("a stack runs on port {port}, and --fresh would delete its data; {advice}").into());
    }
    match Tokens::load(&args.data)? {
        Some(tokens) => Ok((Api::new(&url, &tokens.pro), None)),
        None => {
            Err(format!("the stack on port {port} has another data folder than {data}; name it with --data").into())
        }
    }
}

/// Registers the repository. Returns it with its default branch, or the commit of a detached HEAD.
pub(crate) async fn register(api: &Api, repo: &str) -> Result<(Registered, String), InitError> {
    let (clone_url, head) = if repo.contains("://") {
        (repo.to_owned(), None)
    } else {
        let path = fs::canonicalize(repo)?;
        (path.display().to_string(), DetachedHead::of(&path)?)
    };
    let repository = api.ensure_repository(&clone_url, head.as_ref()).await?;
    let git_ref = head.map_or_else(|| repository.default_branch.clone(), |head| head.sha);
    Ok((repository, git_ref))
}

/// The text that a stack starts with.
pub(crate) struct Welcome<'a> {
    pub args: &'a StackArgs,
    pub running: &'a Running,
    pub repository: &'a Registered,
    pub git_ref: &'a str,
    /// The commit of the default branch.
    pub head: &'a str,
    /// Whether there is a private repository beside the other.
    pub has_private: bool,
    pub hook: &'a DemoHook,
}

impl Welcome<'_> {
    pub(crate) fn write(&self, output: &mut impl Write, took: Duration) -> io::Result<()> {
        let Self { args, running, repository, git_ref, head, hook, .. } = self;
        let Running { stack, tokens, folder, .. } = running;
        let Registered { name: repository, default_branch, .. } = repository;
        let url = stack.url();
        let title = |text: &str| style(text.to_owned()).bold();
        writeln!(
            output,
            "{} {} {}\n\n\
             {}      {url}{SIGN_IN_PATH}#token={}\n\
             {}  {url}/docs\n\
             {}           {}\n\
             {}       {}\n\
             {}  {} (its account is on the Starter plan)\n\n\
             {}\n\n  \
             {}\n\n\
             {}\n\n  \
             export TOKEN={}\n  \
             curl -i -H \"Authorization: Bearer $TOKEN\" {url}/v1/repositories\n  \
             curl -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n    \
             -d '{{\"ref\": \"{git_ref}\"}}' {url}/v1/repositories/{repository}/deployments\n  \
             curl -H \"Authorization: Bearer $TOKEN\" {url}/v1/repositories/{repository}/deployments\n\n\
             {}\n\n  \
             PUSH='{{\"ref\": \"refs/heads/{default_branch}\", \"after\": \"{head}\"}}'\n  \
             SIGNATURE=$(printf %s \"$PUSH\" | openssl dgst -sha256 -hmac '{}' -r | cut -d ' ' -f 1)\n  \
             curl -X POST -H 'X-GitHub-Event: push' -H \"X-Hub-Signature-256: sha256=$SIGNATURE\" \\\n    \
             -d \"$PUSH\" {url}/v1/hooks/{}\n",
            style("The .git API runs at").bold().green(),
            style(&url).bold().green().underlined(),
            style(format!("(started in {} ms)", took.as_millis())).dim(),
            title("Dashboard"),
            tokens.pro,
            title("Documentation"),
            title("Data"),
            folder.path().display(),
            title("Requests"),
            folder.log_file().display(),
            title("Another token"),
            tokens.starter,
            title("In another terminal, deploy this repository and follow the deployment to its end:"),
            running.command("cargo local demo", args),
            title("Or call the API:"),
            tokens.pro,
            title("Or push as a git host does, to the repository's hook:"),
            hook.secret,
            hook.id,
        )?;
        if self.has_private {
            writeln!(
                output,
                "{}\n\n  \
                 curl -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n    \
                 -d '{{\"ref\": \"{git_ref}\"}}' {url}/v1/repositories/{PRIVATE_REPOSITORY}/deployments\n  \
                 curl -H \"Authorization: Bearer $TOKEN\" {url}/v1/connections\n",
                title(
                    "Or deploy it as a private repository, from a git host that asks for the password of a connection:"
                ),
            )?;
        }
        if let Some(issuer) = stack.issuer() {
            writeln!(
                output,
                "{}\n\n  \
                 export ACCESS_TOKEN=$(curl -s -u {}:{} -d grant_type=client_credentials \\\n    \
                 {}/oauth2/token | {EXTRACT})\n  \
                 curl -i -H \"Authorization: Bearer $ACCESS_TOKEN\" {url}/v1/repositories\n\n\
                 {}\n",
                title("Or call it as an application, with an OAuth2 token that is valid for ten minutes:"),
                Client::Machines.id(),
                issuer.client_secret(),
                issuer.url(),
                title("Users sign in at this issuer, too: infra/docs/oauth2.md."),
            )?;
        }
        writeln!(output, "{}", title("Press Ctrl-C to stop."))?;
        output.flush()
    }
}
