//! Accounts that share a stack's machines, in virtual time: the stack decides which deployment starts, and a build only takes its time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::json;
use shared::App;
use shared::clock::Timestamp;
use shared::dispatch::{Dispatched, dispatch, finish};
use shared::id::DeploymentId;
use shared::model::{Deployment, Terms, Transition};
use shared::queue::{DeploymentMessage, Queue};
use shared::settings::{CONCURRENT_BUILDS, QUEUE_URL};
use shared::telemetry::Log;

use crate::{Actor, GitRepository, World, without_queue};

/// The time of each build.
pub const BUILD: Duration = Duration::from_secs(5 * 60);
/// The time between the deployments of one account and of the next.
pub const BETWEEN: Duration = Duration::from_secs(60);

/// Accounts of which the first deploys many refs at once. Each other one deploys once, a minute after the one before.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// The number of accounts.
    pub accounts: usize,
    /// The number of deployments of the first account.
    pub greedy: usize,
    /// The number of deployments that run at once.
    pub builds: usize,
}

/// The order in which deployments of different accounts start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order of their creation, as without turns: all are of one account in the stack.
    Creation,
    /// The turns of the accounts.
    Turns,
}

/// The wait of an account's deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The time from the creation of the last deployment to its start.
    pub time: Duration,
    /// The number of the first account's deployments that started meanwhile.
    pub greedy: usize,
}

/// A deployment of an account, by the number of the account.
struct Created {
    account: usize,
    at: Timestamp,
    /// The number of deployments that had started by then.
    before: usize,
    /// The time at which it started, and the number of deployments that had started by then.
    started: Option<(Timestamp, usize)>,
}

struct Running {
    world: World,
    app: App,
    queue: Queue,
    terms: Terms,
    created: BTreeMap<DeploymentId, Created>,
    /// The accounts of the deployments that have started, in their order.
    starts: Vec<usize>,
    in_progress: VecDeque<(Timestamp, Deployment)>,
}

impl Crowd {
    /// Returns the wait of each account, the first one first.
    pub async fn waits(self, order: Order) -> Vec<Wait> {
        let source = GitRepository::with_commands(&["true"]);
        for at in 0..self.greedy {
            source.git(&["branch", &format!("b{at}")]);
        }
        let mut running = Running::start(self.builds).await;
        let owners = match order {
            Order::Creation => vec![running.world.owner("all").await; self.accounts],
            Order::Turns => {
                let mut owners = Vec::new();
                for account in 0..self.accounts {
                    owners.push(running.world.owner(&format!("account-{account}")).await);
                }
                owners
            }
        };
        for (account, owner) in owners.iter().enumerate() {
            owner.repository(&format!("app-{account}"), &source).await;
        }
        for at in 0..self.greedy {
            running.deploy(&owners[0], 0, &format!("b{at}")).await;
        }
        for (account, owner) in owners.iter().enumerate().skip(1) {
            running.advance(running.world.clock.now().plus(BETWEEN)).await;
            running.deploy(owner, account, "main").await;
        }
        while let Some(end) = running.in_progress.front().map(|(end, _)| *end) {
            running.advance(end).await;
        }
        (0..self.accounts).map(|account| running.wait_of(account)).collect()
    }
}

impl Running {
    async fn start(builds: usize) -> Self {
        let world = World::start_with(|options| {
            without_queue(options);
            options.overrides.push((CONCURRENT_BUILDS, builds.to_string()));
        })
        .await;
        // Nothing consumes the dead-letter queue, so the messages stay for this runner.
        let settings = world.environment_with(QUEUE_URL, world.stack.dead_letter_queue()).settings;
        let app = App::new(settings, world.clock.clone(), Log::to(std::io::sink())).unwrap();
        let queue = Queue::new(&app).unwrap();
        // The runner of a deployment is never lost.
        let terms = Terms { lease: Duration::from_secs(30 * 24 * 60 * 60), ..world.terms() };
        let (created, starts, in_progress) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        Self { world, app, queue, terms, created, starts, in_progress }
    }

    /// Creates a deployment, and delivers its message.
    async fn deploy(&mut self, owner: &Actor, account: usize, git_ref: &str) {
        let created = owner.deploy(&format!("app-{account}"), json!({"ref": git_ref})).await;
        let stored = self.world.stored(owner, &created).await;
        let (at, before) = (self.world.clock.now(), self.starts.len());
        self.created.insert(stored.id.clone(), Created { account, at, before, started: None });
        self.consume(stored).await;
        self.deliver().await;
    }

    /// Lets time pass. Builds end, and others start.
    async fn advance(&mut self, until: Timestamp) {
        while let Some((end, _)) = self.in_progress.front().filter(|(end, _)| *end <= until) {
            self.world.clock.advance(end.since(self.world.clock.now()));
            let (_, deployment) = self.in_progress.pop_front().expect("it has a front");
            finish(&self.app, &self.queue, &deployment, Transition::Succeed).await.unwrap();
            self.deliver().await;
        }
        self.world.clock.advance(until.since(self.world.clock.now()));
    }

    /// Consumes the messages until none is left.
    async fn deliver(&mut self) {
        let sqs = self.app.aws().sqs();
        let url = self.world.stack.dead_letter_queue().to_owned();
        loop {
            let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10);
            let messages = receive.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let DeploymentMessage { account_id, deployment_id } =
                    serde_json::from_str(message.body().unwrap()).unwrap();
                let stored = Deployment::load(self.app.table(), &account_id, &deployment_id).await.unwrap().unwrap();
                self.consume(stored).await;
                let delete = sqs.delete_message().queue_url(&url).set_receipt_handle(message.receipt_handle);
                delete.send().await.unwrap();
            }
        }
    }

    async fn consume(&mut self, deployment: Deployment) {
        let dispatched = dispatch(&self.app, &self.queue, deployment, self.terms).await.unwrap();
        let Dispatched::Claimed(claimed) = dispatched else { return };
        let now = self.world.clock.now();
        let created = self.created.get_mut(&claimed.id).expect("this runner created it");
        assert_eq!(created.started.replace((now, self.starts.len())), None, "a deployment starts once");
        self.starts.push(created.account);
        self.in_progress.push_back((now.plus(BUILD), claimed));
    }

    fn wait_of(&self, account: usize) -> Wait {
        let of_account = self.created.values().filter(|created| created.account == account);
        let last = of_account.max_by_key(|created| created.started).expect("each account deploys");
        let (started, position) = last.started.expect("each deployment starts");
        let of_first = self.starts[last.before..position].iter().filter(|account| **account == 0).count();
        Wait { time: started.since(last.at), greedy: of_first }
    }
}
