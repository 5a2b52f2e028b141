//! The whole system in one process: the embedded services, every function, the gateway and the event source mapping.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use fs_err as fs;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::app::SIGN_IN_PATH;
use shared::aws::{Aws, Limits};
use shared::clock::{Clock, Timestamp};
use shared::model::{Due, DueEntry};
use shared::queue::Queue;
use shared::settings::{self, Settings};
use shared::telemetry::Log;
use shared::{App, InitError};
use tokio_util::sync::CancellationToken;

use crate::data::ensure_private;
use crate::dynamodb::{DynamoDb, Storage};
use crate::event_source::{EventSource, Mapping};
use crate::function::{Function, FunctionError};
use crate::functions::Environment;
use crate::gateway::{Gateway, INTEGRATION_TIMEOUT};
use crate::issuer::{Client, Issuer};
use crate::route::Routes;
use crate::schedule::Schedule;
use crate::sqs::Sqs;
use crate::{REGION, server, table};

const TABLE: &str = "git-api";
const QUEUE: &str = "deployments";
const STATUS_QUEUE: &str = "statuses";
const HOOK_QUEUE: &str = "hooks";
const WEBHOOK_QUEUE: &str = "webhooks";
const TTL_SWEEP: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The number of deployments that run at once, each in a consumer of its own.
const CONCURRENT_BUILDS: usize = 4;
/// The number of further consumers. So a message waits for no build, and it is the permits that decide whose turn comes.
const SPARE_CONSUMERS: usize = 2;

/// The differences between a stack and the one that the template describes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway's port; DynamoDB, SQS and the issuer have the next three. With 0 each takes a free one.
    pub port: u16,
    /// The folder of logs, artifacts and the keys, and of the table if it outlives the process.
    pub data: PathBuf,
    /// The lifetime of the table.
    pub table: Lifetime,
    /// The source of DynamoDB and SQS.
    pub services: Services,
    /// The issuer of OAuth2 tokens.
    pub issuer: OwnIssuer,
    /// The clock of the stack and its functions.
    pub clock: Clock,
    /// The log of the functions.
    pub log: Log,
    /// The visibility timeout of a received message. It is longer than any run: otherwise the message would be
    /// delivered again during the run.
    pub visibility_timeout: Duration,
    /// Deliveries of a message before it goes to the dead-letter queue.
    pub max_receive_count: u32,
    /// The time between two sweeps; `None` leaves them to the caller.
    pub sweep_every: Option<Duration>,
    /// The factor by which a function, and the gateway that waits for it, may exceed their time limits. Tests must not fail
    /// because the machine is busy.
    pub patience: u32,
    /// Settings of the functions that replace or extend the stack's own.
    pub overrides: Vec<(&'static str, String)>,
}

/// The lifetime of the embedded table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// In memory, as long as the process.
    Process,
    /// In a file in the data folder.
    Kept,
}

/// The source of DynamoDB and SQS.
#[derive(Clone, Debug)]
pub enum Services {
    /// In this process.
    Embedded,
    /// An emulator at this URL, shared with other stacks. This stack's table and queue have a suffix of their own.
    At {
        /// The emulator's URL, for both services.
        url: String,
        /// The end of the names of this stack's table and queues.
        suffix: String,
    },
}

/// The issuer of OAuth2 tokens that a stack starts and trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnIssuer {
    /// The stack runs an issuer on loopback, and the API accepts its tokens.
    Started,
    /// The API accepts no OAuth2 token, unless the settings name an issuer.
    Absent,
}

impl Options {
    /// Returns the options of `cargo local`.
    pub fn new(port: u16, data: PathBuf, log: Log) -> Self {
        Self {
            port,
            data,
            table: Lifetime::Kept,
            services: Services::Embedded,
            issuer: OwnIssuer::Started,
            clock: Clock::system(),
            log,
            visibility_timeout: Duration::from_secs(1800),
            max_receive_count: 5,
            sweep_every: Some(Duration::from_secs(60)),
            patience: 1,
            overrides: Vec::new(),
        }
    }
}

/// A running stack.
pub struct Stack {
    environment: Environment,
    app: App,
    queues: Queues,
    bootstrap: Function,
    gateway: Gateway,
    event_source: EventSource,
    statuses: EventSource,
    hooks: EventSource,
    webhooks: EventSource,
    /// Canceled when the stack stops.
    stopping: CancellationToken,
    sweeps: Option<Schedule>,
    embedded: Option<Embedded>,
    issuer: Option<Issuer>,
}

struct Embedded {
    dynamodb: DynamoDb,
    sqs: Sqs,
}

impl Stack {
    /// # Errors
    /// Fails if a port is taken, the data folder can't be used, or a function can't start.
    pub async fn start(options: Options) -> Result<Self, InitError> {
        fs::create_dir_all(&options.data)?;
        let data = fs::canonicalize(&options.data)?;
        let listener = server::bind(address(options.port, 0)).await?;
        let (embedded, dynamodb, sqs, suffix) = match &options.services {
            Services::Embedded => {
                let embedded = Embedded::start(&options, &data).await?;
                let (dynamodb, sqs) = (embedded.dynamodb.endpoint(), embedded.sqs.endpoint());
                (Some(embedded), dynamodb, sqs, "")
            }
            Services::At { url, suffix } => (None, url.clone(), url.clone(), suffix.as_str()),
        };
        let table = format!("{TABLE}{suffix}");
        let key = ensure_key(&data)?;
        let mut settings = Settings::from([
            (settings::TABLE_NAME, table.clone()),
            (settings::API_BASE_URL, format!("http://{}", listener.local_addr()?)),
            (settings::ARCHIVE_URL, format!("file:{}", data.join("archive").display())),
            (settings::VARIABLES_KEY, format!("file:{}", key.display())),
            (settings::CLONE_HOSTS, "local".to_owned()),
            (settings::CONCURRENT_BUILDS, CONCURRENT_BUILDS.to_string()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_ENDPOINT_URL_SQS", sqs),
        ]);
        let issuer = match options.issuer {
            OwnIssuer::Started => {
                let callback = format!("http://{}{SIGN_IN_PATH}", listener.local_addr()?);
                Some(Issuer::start(address(options.port, 3), &data, callback, options.clock.clone()).await?)
            }
            OwnIssuer::Absent => None,
        };
        if let Some(issuer) = &issuer {
            settings.set(settings::OIDC_ISSUER, issuer.url().to_owned());
            settings.set(settings::OIDC_CLIENT_IDS, Client::People.id().to_owned());
            settings.set(settings::DASHBOARD_CLIENT_ID, Client::Dashboard.id().to_owned());
        }
        let operator = Aws::new(&settings)?.with_limits(Limits::PATIENT);
        let queues = Queues::create(&operator.sqs(), suffix, &options).await?;
        settings.set(settings::QUEUE_URL, queues.main.clone());
        settings.set(settings::STATUS_QUEUE_URL, queues.statuses.clone());
        settings.set(settings::HOOK_QUEUE_URL, queues.hooks.clone());
        settings.set(settings::WEBHOOK_QUEUE_URL, queues.webhooks.clone());
        settings.set(redrive_dead_letters::DEAD_LETTER_QUEUE_URL, queues.dead_letters.clone());
        for (name, value) in options.overrides {
            settings.set(name, value);
        }

        let patience = options.patience;
        let environment =
            Environment { settings, clock: options.clock, log: options.log, limits: Limits::PATIENT, patience };
        let app = environment.app()?;
        match options.services {
            Services::Embedded => table::ensure(app.table().client(), &table).await?,
            // The emulator's deletion would use the system's clock, and delete items that have not expired by the
            // stack's clock.
            Services::At { .. } => drop(table::create(app.table().client(), &table).await?),
        }
        queue_again(&app).await?;
        let routes = Routes::new(environment.http()?)?;
        let gateway = Gateway::start_on(listener, routes, environment.clock.clone(), INTEGRATION_TIMEOUT * patience)?;
        let stopping = CancellationToken::new();
        let consumer = environment.consumer_until(stopping.clone())?;
        let main = Mapping { maximum_concurrency: CONCURRENT_BUILDS + SPARE_CONSUMERS, ..Mapping::new(&queues.main) };
        let event_source = EventSource::start(operator.sqs(), main, consumer).await?;
        let statuses = Mapping { batch_size: 10, maximum_concurrency: 2, ..Mapping::new(&queues.statuses) };
        let statuses = EventSource::start(operator.sqs(), statuses, environment.report_status()?).await?;
        let hooks =
            EventSource::start(operator.sqs(), Mapping::new(&queues.hooks), environment.hook_consumer()?).await?;
        // A slow receiver takes ten seconds of one invocation.
        let webhooks = Mapping { maximum_concurrency: 8, ..Mapping::new(&queues.webhooks) };
        let webhooks = EventSource::start(operator.sqs(), webhooks, environment.send_webhooks()?).await?;
        let bootstrap = environment.bootstrap()?;
        let sweep = environment.sweep()?;
        let sweeps = options.sweep_every.map(|every| Schedule::start(sweep, every, environment.clock.clone()));
        Ok(Self {
            environment,
            app,
            queues,
            bootstrap,
            gateway,
            event_source,
            statuses,
            hooks,
            webhooks,
            stopping,
            sweeps,
            embedded,
            issuer,
        })
    }

    /// Returns the URL at which clients reach the API, without `/v1`.
    pub fn url(&self) -> String {
        self.gateway.endpoint()
    }

    /// Returns the settings, clock and log of the functions.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns an operator's access to the table.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Returns the embedded DynamoDB, if there is one.
    pub fn dynamodb(&self) -> Option<&DynamoDb> {
        self.embedded.as_ref().map(|embedded| &embedded.dynamodb)
    }

    /// Returns the stack's own issuer, if there is one.
    pub fn issuer(&self) -> Option<&Issuer> {
        self.issuer.as_ref()
    }

    /// Returns the URL of the consumer's queue.
    pub fn queue(&self) -> &str {
        &self.queues.main
    }

    /// Returns the URL of the queue of commit statuses.
    pub fn status_queue(&self) -> &str {
        &self.queues.statuses
    }

    /// Returns the URL of the queue of deliveries to hooks.
    pub fn hook_queue(&self) -> &str {
        &self.queues.hooks
    }

    /// Returns the URL of the queue of webhooks.
    pub fn webhook_queue(&self) -> &str {
        &self.queues.webhooks
    }

    /// Returns the URL of the queue of messages that were received too often.
    pub fn dead_letter_queue(&self) -> &str {
        &self.queues.dead_letters
    }

    /// Invokes the function `bootstrap`.
    ///
    /// # Errors
    /// Fails if the function fails, for example because the account exists.
    pub async fn bootstrap(&self, event: Value) -> Result<Value, FunctionError> {
        self.bootstrap.invoke(event).await
    }

    /// Ends the builds, gives their deployments back so that they run again at the next start, and answers the requests
    /// that have arrived.
    pub async fn shutdown(self) {
        drop(self.sweeps);
        self.stopping.cancel();
        let sources = [self.event_source, self.statuses, self.hooks, self.webhooks];
        let stopped = join_all(sources.map(|source| source.stop(STOP_LIMIT)));
        tokio::join!(stopped, self.gateway.shutdown());
        if let Some(issuer) = self.issuer {
            issuer.shutdown().await;
        }
        if let Some(Embedded { dynamodb, sqs }) = self.embedded {
            tokio::join!(sqs.shutdown(), dynamodb.shutdown());
        }
    }
}

/// Resends the messages of all deployments that have not ended, because the queue is lost with the process while the
/// table may be kept. Each message is delivered once the lease of the previous process's runner has ended. Nothing else
/// may run yet: a deployment that is claimed meanwhile would move to a later place in the index of due deployments, be
/// found again, and be sent twice.
async fn queue_again(app: &App) -> Result<(), InitError> {
    let (queue, now) = (Queue::new(app)?, app.clock().now());
    for shard in 0..Due::SHARDS {
        let mut last = None;
        loop {
            let page = Due::page(app.table(), shard, Timestamp::from_millis(i64::MAX), last.as_ref(), 100).await?;
            let Some(end) = page.last().cloned() else { break };
            last = Some(end);
            for due in page {
                let Some(deployment) = due.load(app.table()).await? else { continue };
                queue.send_after(deployment.lease_until.unwrap_or(now).since(now), &deployment).await?;
            }
        }
    }
    Ok(())
}

impl Embedded {
    async fn start(options: &Options, data: &Path) -> Result<Self, InitError> {
        let storage = match options.table {
            Lifetime::Process => Storage::Memory(options.clock.clone()),
            Lifetime::Kept => Storage::Folder(data.to_owned()),
        };
        // A kept table knows only the system's clock, and would delete items that have not expired by another clock.
        let by_the_right_clock = options.table == Lifetime::Process || options.clock.is_system();
        let sweep_every = by_the_right_clock.then_some(TTL_SWEEP);
        let dynamodb = DynamoDb::start(storage, address(options.port, 1), sweep_every).await?;
        Ok(Self { dynamodb, sqs: Sqs::start(address(options.port, 2)).await? })
    }
}

struct Queues {
    main: String,
    statuses: String,
    hooks: String,
    webhooks: String,
    dead_letters: String,
}

impl Queues {
    async fn create(client: &aws_sdk_sqs::Client, suffix: &str, options: &Options) -> Result<Self, InitError> {
        let (main, dead_letters) = with_dead_letters(client, &format!("{QUEUE}{suffix}"), options).await?;
        let (hooks, _) = with_dead_letters(client, &format!("{HOOK_QUEUE}{suffix}"), options).await?;
        let created = client.create_queue().queue_name(format!("{STATUS_QUEUE}{suffix}")).send().await?;
        let statuses = created.queue_url.ok_or("SQS gave no URL for the queue")?;
        let created = client.create_queue().queue_name(format!("{WEBHOOK_QUEUE}{suffix}")).send().await?;
        let webhooks = created.queue_url.ok_or("SQS gave no URL for the queue")?;
        Ok(Self { main, statuses, hooks, webhooks, dead_letters })
    }
}

/// Creates a queue and its dead-letter queue. Returns their URLs.
async fn with_dead_letters(
    client: &aws_sdk_sqs::Client,
    name: &str,
    options: &Options,
) -> Result<(String, String), InitError> {
    let created = client.create_queue().queue_name(format!("{name}-dead-letters")).send().await?;
    let dead_letters = created.queue_url.ok_or("SQS gave no URL for the queue")?;
    let arn = client
        .get_queue_attributes()
        .queue_url(&dead_letters)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await?
        .attributes
        .and_then(|mut attributes| attributes.remove(&QueueAttributeName::QueueArn))
        .ok_or("SQS gave no ARN for the queue")?;
    let redrive = json!({"deadLetterTargetArn": arn, "maxReceiveCount": options.max_receive_count});
    let created = client
        .create_queue()
        .queue_name(name)
        .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
        .attributes(QueueAttributeName::VisibilityTimeout, options.visibility_timeout.as_secs().to_string())
        .send()
        .await?;
    Ok((created.queue_url.ok_or("SQS gave no URL for the queue")?, dead_letters))
}

fn address(port: u16, offset: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, if port == 0 { 0 } else { port + offset }).into()
}

/// Creates the local stand-in for a KMS key: 32 random bytes that only the user may read.
fn ensure_key(data: &Path) -> Result<PathBuf, InitError> {
    let path = data.join("variables.key");
    ensure_private(&path, || {
        let mut key = vec![0; 32];
        getrandom::fill(&mut key)?;
        Ok(key)
    })?;
    Ok(path)
}
