//! Shows what is in the dead-letter queue, explains it, and sends it to the consumer again. Operators invoke it by
//! hand.
//!
//! | the message | with `dry_run` | without |
//! |---|---|---|
//! | names a deployment that has not ended | is left | is sent to the queue of deployments, and then deleted |
//! | names one that has ended, or that there is not | is left | is deleted |
//! | names nothing | is left | is left, or deleted if `discard_unreadable` |
//!
//! A message is sent before it is deleted. If the function dies in between, the message is sent twice, which changes
//! nothing: the deployment's row decides what a message leads to. A message that is left becomes visible again at the
//! end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use shared::clock::{Rfc3339, Timestamp};
use shared::id::DeploymentId;
use shared::model::{Deployment, Failure, Status};
use shared::queue::{DeploymentMessage, Queue};
use shared::table::Usage;
use shared::telemetry::{Level, Metrics};
use shared::{App, InitError};

/// URL of the queue that messages go to after their last delivery.
pub const DEAD_LETTER_QUEUE_URL: &str = "DEAD_LETTER_QUEUE_URL";

/// Messages of one answer: a response of Lambda has 6 MB at most. The numbers are of all.
const MAX_SHOWN: usize = 500;
/// What is shown of a message that names nothing, in characters.
const MAX_TEXT: usize = 200;
/// What SQS gives at once.
const PAGE: i32 = 10;
/// Long polling asks all of SQS's servers, so that nothing coming means that nothing is there.
const WAIT_SECONDS: i32 = 1;
/// For how long nobody else gets what was received: the function's time limit and some more, so that it gets nothing twice.
const HIDDEN_SECONDS: i32 = 90;
/// What is kept of the invocation's time to make messages visible again.
const STOP_BEFORE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only shows and explains.
    #[serde(default = "yes")]
    pub dry_run: bool,
    /// Deletes what names no deployment too.
    #[serde(default)]
    pub discard_unreadable: bool,
}

fn yes() -> bool {
    true
}

/// What happens to a message, or would without `dry_run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Redrive,
    Discard,
    Keep,
}

#[derive(Debug, Serialize)]
pub struct DeadLetter {
    pub message_id: Option<String>,
    /// When it was sent for the first time.
    pub sent_at: Option<Rfc3339>,
    pub action: Action,
    pub explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Named>,
    /// The beginning of a message that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The deployment that a message names.
#[derive(Debug, Serialize)]
pub struct Named {
    pub id: DeploymentId,
    #[serde(flatten)]
    pub state: Option<State>,
}

#[derive(Debug, Serialize)]
pub struct State {
    pub status: Status,
    pub attempts: u32,
    pub updated_at: Rfc3339,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    pub redriven: u32,
    pub discarded: u32,
    pub kept: u32,
    /// Messages whose deployment could not be read, or that could not be sent or deleted. They are left.
    pub failed: u32,
    /// Whether there was time for all messages.
    pub complete: bool,
}

#[derive(Debug, Serialize)]
pub struct Redriven {
    pub dry_run: bool,
    #[serde(flatten)]
    pub numbers: Numbers,
    pub messages: Vec<DeadLetter>,
}

#[derive(Serialize)]
struct RedriveLine<'a> {
    #[serde(flatten)]
    metrics: Metrics<'a>,
    level: Level,
    dry_run: bool,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Clone, Debug)]
pub struct Redrive(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    app: App,
    sqs: Client,
    dead_letters: String,
    queue: Queue,
}

impl Redrive {
    /// # Errors
    /// When a setting is missing.
    pub fn new(app: &App) -> Result<Self, InitError> {
        let dead_letters = app.settings().require(DEAD_LETTER_QUEUE_URL)?.to_owned();
        Ok(Self(Arc::new(Parts { sqs: app.aws().sqs(), dead_letters, queue: Queue::new(app)?, app: app.clone() })))
    }

    /// Goes through the queue once.
    ///
    /// # Errors
    /// When the queue can't be read. What fails for one message is told beside it.
    pub async fn invoke(&self, event: LambdaEvent<Request>) -> Result<Redriven, InitError> {
        let (started, clock) = (Instant::now(), self.0.app.clock());
        let request = event.payload;
        let deadline = Timestamp::from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let time = deadline.since(clock.now()).saturating_sub(STOP_BEFORE);
        let mut redriven = Redriven { dry_run: request.dry_run, numbers: Numbers::default(), messages: Vec::new() };
        let mut left = Vec::new();
        let (went, usage) = Usage::of(async {
            while started.elapsed() < time {
                let received = self.receive().await?;
                if received.is_empty() {
                    redriven.numbers.complete = true;
                    break;
                }
                for message in received {
                    let letter = self.look_at(&message, request, &mut redriven.numbers).await;
                    if request.dry_run || letter.action == Action::Keep {
                        left.extend(message.receipt_handle);
                    }
                    if redriven.messages.len() < MAX_SHOWN {
                        redriven.messages.push(letter);
                    }
                }
            }
            Ok(())
        })
        .await;
        for receipt in left {
            self.show_again(&receipt).await;
        }
        let numbers = redriven.numbers;
        let failed = numbers.failed > 0 || went.is_err();
        let level = if failed { Level::Error } else { Level::Info };
        let metrics = Metrics::new(env!("CARGO_PKG_NAME"), clock.now(), started.elapsed(), usage, failed);
        self.0.app.log().write(&RedriveLine { metrics, level, dry_run: request.dry_run, numbers });
        went.map(|()| redriven)
    }

    async fn receive(&self) -> Result<Vec<Message>, InitError> {
        let received = self
            .0
            .sqs
            .receive_message()
            .queue_url(&self.0.dead_letters)
            .max_number_of_messages(PAGE)
            .wait_time_seconds(WAIT_SECONDS)
            .visibility_timeout(HIDDEN_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Explains a message, and does what it comes to.
    async fn look_at(&self, message: &Message, request: Request, numbers: &mut Numbers) -> DeadLetter {
        let body = message.body().unwrap_or_default();
        let sent_at = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
        let mut letter = DeadLetter {
            message_id: message.message_id().map(str::to_owned),
            sent_at: sent_at.and_then(|ms| ms.parse().ok()).map(|ms| Timestamp::from_millis(ms).into()),
            action: Action::Keep,
            explanation: String::new(),
            deployment: None,
            text: None,
        };
        match serde_json::from_str::<DeploymentMessage>(body) {
            Err(error) => {
                letter.action = if request.discard_unreadable { Action::Discard } else { Action::Keep };
                letter.explanation = format!("it names no deployment: {error}");
                letter.text = Some(shortened(body));
                self.act(&mut letter, message, None, request, numbers).await;
            }
            Ok(DeploymentMessage { account_id, deployment_id }) => {
                let table = self.0.app.table();
                match Deployment::load(table, &account_id, &deployment_id).await {
                    Err(error) => {
                        self.0.app.log().warn("a dead letter's deployment could not be read", &error);
                        letter.explanation = "its deployment could not be read".to_owned();
                        numbers.failed += 1;
                    }
                    Ok(found) => {
                        let now = self.0.app.clock().now();
                        (letter.action, letter.explanation) = explain(found.as_ref(), now);
                        self.act(&mut letter, message, found.as_ref(), request, numbers).await;
                        letter.deployment = Some(Named { id: deployment_id, state: found.map(State::from) });
                    }
                }
            }
        }
        letter
    }

    async fn act(
        &self,
        letter: &mut DeadLetter,
        message: &Message,
        deployment: Option<&Deployment>,
        request: Request,
        numbers: &mut Numbers,
    ) {
        if !request.dry_run
            && let Err(error) = self.try_to(letter.action, message, deployment).await
        {
            self.0.app.log().warn("a dead letter could not be redriven", &*error);
            letter.action = Action::Keep;
            letter.explanation.push_str("; SQS failed");
            numbers.failed += 1;
            return;
        }
        match letter.action {
            Action::Redrive => numbers.redriven += 1,
            Action::Discard => numbers.discarded += 1,
            Action::Keep => numbers.kept += 1,
        }
    }

    async fn try_to(
        &self,
        action: Action,
        message: &Message,
        deployment: Option<&Deployment>,
    ) -> Result<(), InitError> {
        if action == Action::Keep {
            return Ok(());
        }
        if let (Action::Redrive, Some(deployment)) = (action, deployment) {
            self.0.queue.send(deployment).await?;
        }
        let delete = self.0.sqs.delete_message().queue_url(&self.0.dead_letters);
        delete.set_receipt_handle(message.receipt_handle.clone()).send().await?;
        Ok(())
    }

    /// A message that stays hidden is only late.
    async fn show_again(&self, receipt: &str) {
        let show = self.0.sqs.change_message_visibility().queue_url(&self.0.dead_letters).receipt_handle(receipt);
        if let Err(error) = show.visibility_timeout(0).send().await {
            self.0.app.log().warn("a dead letter is hidden for a while", &error);
        }
    }
}

/// What a message comes to by what its deployment is, and why it may be here.
fn explain(deployment: Option<&Deployment>, now: Timestamp) -> (Action, String) {
    let Some(deployment) = deployment else {
        return (Action::Discard, "there is no such deployment".to_owned());
    };
    let attempt = deployment.attempt;
    let explanation = match (deployment.status, &deployment.build) {
        (Status::Queued, _) if !deployment.is_approved() => {
            "its deployment is queued and lacks approvals; nothing starts before it has them".to_owned()
        }
        (Status::Queued, _) => {
            "its deployment is queued and no runner could take it; the next of its lane starts".to_owned()
        }
        (Status::InProgress, Some(build)) => {
            format!("its deployment is in the build {build}, whose events end it; a request to cancel is passed on")
        }
        (Status::InProgress, None) if deployment.lease_until.is_some_and(|until| until > now) => {
            format!("a runner has its deployment, in attempt {attempt}; once that is lost another one takes it")
        }
        (Status::InProgress, None) => {
            format!("the runner of attempt {attempt} was lost; another one takes its deployment, or ends it")
        }
        (ended, _) => return (Action::Discard, format!("its deployment has ended: it is {}", ended.as_str())),
    };
    (Action::Redrive, explanation)
}

impl From<Deployment> for State {
    fn from(deployment: Deployment) -> Self {
        Self {
            status: deployment.status,
            attempts: deployment.attempt,
            updated_at: deployment.updated_at.into(),
            failure: deployment.failure,
        }
    }
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut start: String = chars.by_ref().take(MAX_TEXT).collect();
    if chars.next().is_some() {
        start.push('…');
    }
    start
}
