//! Invoked by hand by operators: lists and explains the messages in the dead-letter queue, and sends them to the consumer
//! again.
//!
//! | the message | with `dry_run` | without |
//! |---|---|---|
//! | names a deployment that has not ended | is kept | is sent to the deployment queue, then deleted |
//! | names a deployment that has ended or does not exist | is kept | is deleted |
//! | names no deployment | is kept | is kept, or deleted with `discard_unreadable` |
//!
//! A message is sent before it is deleted. If the function dies in between, the message is sent twice, which is harmless:
//! the deployment's row decides what follows from a message. Kept messages become visible again at the end.

mod letter;
mod queue;

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::Message;
use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::model::Deployment;
use shared::queue::{DeploymentMessage, Queue};
use shared::telemetry::{Level, Metrics};
use shared::usage::Usage;
use shared::{App, InitError};

use crate::queue::DeadLetterQueue;

pub use letter::{Action, DeadLetter, DeploymentState, NamedDeployment};
pub use queue::DEAD_LETTER_QUEUE_URL;

/// The maximum number of messages in one answer, because a Lambda response has at most 6 MB. The counts cover all
/// messages.
const MAX_SHOWN: usize = 500;
/// The part of the invocation's time that is kept to make messages visible again.
const STOP_BEFORE: Duration = Duration::from_secs(10);

/// The event: the choices of the operator.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Lists and explains the messages without changing anything.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Also deletes messages that name no deployment.
    #[serde(default)]
    discard_unreadable: bool,
}

fn yes() -> bool {
    true
}

/// The numbers of messages by what happened to them, or under `dry_run` would happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that were sent to the main queue again.
    pub redriven: u32,
    discarded: u32,
    /// Messages that stay in the dead-letter queue.
    pub kept: u32,
    /// Messages whose deployment could not be read, or that could not be sent or deleted. They are kept.
    pub failed: u32,
    /// Whether there was time to handle all messages.
    pub complete: bool,
}

/// The response: the counts, and the messages with an explanation of each.
#[derive(Debug, Serialize)]
pub struct Redriven {
    dry_run: bool,
    /// The numbers of all messages.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first 500 messages.
    pub messages: Vec<DeadLetter>,
}

#[derive(Serialize)]
struct RedriveLine<'a> {
    #[serde(flatten)]
    metrics: Metrics<'a>,
    level: Level,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
}

/// The handler of an operator's invocation.
#[derive(Clone, Debug)]
pub struct Redrive {
    app: App,
    dead_letters: DeadLetterQueue,
    queue: Queue,
}

impl Redrive {
    /// # Errors
    /// Fails if a setting is missing.
    pub fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { dead_letters: DeadLetterQueue::new(app)?, queue: Queue::new(app)?, app: app.clone() })
    }

    /// Goes through the queue once.
    ///
    /// # Errors
    /// Fails if the queue can't be read. The failure of a single message is part of the answer.
    pub async fn invoke(&self, event: LambdaEvent<Request>) -> Result<Redriven, InitError> {
        let (started, clock) = (Instant::now(), self.app.clock());
        let request = event.payload;
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let time = deadline.since(clock.now()).saturating_sub(STOP_BEFORE);
        let mut redriven = Redriven { dry_run: request.dry_run, counts: Counts::default(), messages: Vec::new() };
        let mut kept = Vec::new();
        let (result, usage) = Usage::of(async {
            while started.elapsed() < time {
                let received = self.dead_letters.receive().await?;
                if received.is_empty() {
                    redriven.counts.complete = true;
                    break;
                }
                for message in received {
                    let letter = self.handle(&message, request, &mut redriven.counts).await;
                    if request.dry_run || letter.action == Action::Keep {
                        kept.extend(message.receipt_handle);
                    }
                    if redriven.messages.len() < MAX_SHOWN {
                        redriven.messages.push(letter);
                    }
                }
            }
            Ok(())
        })
        .await;
        for receipt in kept {
            if let Err(error) = self.dead_letters.release(&receipt).await {
                self.app.log().warn("a dead letter stays hidden until its visibility timeout", &*error);
            }
        }
        let counts = redriven.counts;
        let failed = counts.failed > 0 || result.is_err();
        let level = if failed { Level::Error } else { Level::Info };
        let metrics = self.app.metrics(env!("CARGO_PKG_NAME"), started.elapsed(), usage, failed);
        self.app.log().write(&RedriveLine { metrics, level, dry_run: request.dry_run, counts });
        result.map(|()| redriven)
    }

    /// Explains a message and, unless `dry_run` is set, acts on it.
    async fn handle(&self, message: &Message, request: Request, counts: &mut Counts) -> DeadLetter {
        let body = message.body().unwrap_or_default();
        let (mut letter, deployment) = match serde_json::from_str::<DeploymentMessage>(body) {
            Err(error) => {
                let action = if request.discard_unreadable { Action::Discard } else { Action::Keep };
                (DeadLetter::unreadable(message, action, &error), None)
            }
            Ok(DeploymentMessage { account_id, deployment_id }) => {
                match Deployment::load(self.app.table(), &account_id, &deployment_id).await {
                    Err(error) => {
                        self.app.log().warn("a dead letter's deployment could not be read", &error);
                        counts.failed += 1;
                        let explanation = "the deployment could not be read".to_owned();
                        return DeadLetter { explanation, ..DeadLetter::new(message) };
                    }
                    Ok(found) => {
                        let now = self.app.clock().now();
                        (DeadLetter::of_deployment(message, deployment_id, found.as_ref(), now), found)
                    }
                }
            }
        };
        if !request.dry_run
            && let Err(error) = self.act(letter.action, message, deployment.as_ref()).await
        {
            self.app.log().warn("a dead letter could not be redriven", &*error);
            letter.action = Action::Keep;
            letter.explanation.push_str("; SQS failed");
            counts.failed += 1;
            return letter;
        }
        match letter.action {
            Action::Redrive => counts.redriven += 1,
            Action::Discard => counts.discarded += 1,
            Action::Keep => counts.kept += 1,
        }
        letter
    }

    async fn act(&self, action: Action, message: &Message, deployment: Option<&Deployment>) -> Result<(), InitError> {
        if action == Action::Keep {
            return Ok(());
        }
        if let (Action::Redrive, Some(deployment)) = (action, deployment) {
            self.queue.send(deployment).await?;
        }
        self.dead_letters.delete(message).await
    }
}
