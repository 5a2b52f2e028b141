//! Accounts to measure with: repositories, deployments that have run, and events that request them.

use serde_json::{Value, json};
use shared::clock::Clock;
use shared::settings::{QUEUE_URL, Settings};
use tests::{Actor, GitRepository, World};

use crate::Result;
use crate::binaries::workspace;

pub(crate) const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";
pub(crate) const SQS: &str = "AWS_ENDPOINT_URL_SQS";

/// The token and the ids in the sample events.
const SAMPLE_TOKEN: &str = "dgp_0000000000000000000000000000003A6u5b";
const SAMPLE_ACCOUNT: &str = "acct_b5jnd3s7uyg2kq4v";
const SAMPLE_REPOSITORY: &str = "repo_k3vyq2w7x5m4n6pa";
const SAMPLE_DEPLOYMENT: &str = "deploy_t6mwz4hq2c7rfx3e";

pub(crate) struct Fixture {
    pub world: World,
    source: GitRepository,
}

pub(crate) struct Account {
    owner: Actor,
    repository: String,
    deployment: String,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let world = World::start_with(|options| options.clock = Clock::system()).await;
        Self { world, source: GitRepository::with_commands(&["true"]) }
    }

    /// Fills an account with this number of repositories, and this number of deployments of one of them, all of which
    /// have run.
    pub(crate) async fn account(&self, owner: Actor, size: u32) -> Account {
        let repository = owner.repository("app", &self.source).await;
        for number in 1..size {
            owner.repository(&format!("app-{number}"), &self.source).await;
        }
        let mut deployment = Value::Null;
        for _ in 0..size {
            deployment =
                owner.ended(&owner.deploy("app", json!({"ref": "main", "environment": "production"})).await).await;
        }
        let id = |resource: &Value| resource["id"].as_str().unwrap_or_default().to_owned();
        Account { owner, repository: id(&repository), deployment: id(&deployment) }
    }

    /// Returns the settings of the functions' binaries. Their messages stay queued, because they go to the dead-letter
    /// queue, which nothing consumes.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.world.stack.environment().settings.clone();
        settings.set(QUEUE_URL, self.world.stack.dead_letter_queue().to_owned());
        settings
    }
}

impl Account {
    pub(crate) fn with_nothing(owner: Actor) -> Self {
        Self { owner, repository: String::new(), deployment: String::new() }
    }

    /// Returns a function's sample event, sent by the account's owner and about the account's resources.
    pub(crate) fn event(&self, function: &str) -> Result<Value> {
        let sample = std::fs::read_to_string(workspace().join(format!("events/{function}.json")))?;
        let event = sample
            .replace(SAMPLE_TOKEN, self.owner.token.as_deref().unwrap_or_default())
            .replace(SAMPLE_ACCOUNT, &self.id())
            .replace(SAMPLE_REPOSITORY, &self.repository)
            .replace(SAMPLE_DEPLOYMENT, &self.deployment);
        Ok(serde_json::from_str(&event)?)
    }

    /// Returns the settings of a stand-in that reads the account's repository. `3` is three concurrent reads; `1,2` is
    /// one read, then two concurrent ones.
    pub(crate) fn reader(&self, settings: &Settings, calls: &[usize]) -> Settings {
        let mut settings = settings.clone();
        settings.set("ITEM_PK", format!("ACCT#{}", self.id()));
        settings.set("ITEM_SK", format!("REPO#{}", self.repository));
        settings.set("CALLS", calls.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
        settings
    }

    pub(crate) fn id(&self) -> String {
        self.owner.account_id.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}
