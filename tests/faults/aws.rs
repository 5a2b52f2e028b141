//! AWS as the functions see it: an embedded DynamoDB, a queue and CodeBuild, whose calls fail when the seed says so.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use serde_json::{Value, json};
use tests::Random;

use super::codebuild::CodeBuild;
use super::step;

/// A condition that is removed from the calls, to prove that the checks notice its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// A lane's lock can be taken from its holder and released by anyone.
    Lock,
    /// A creation's sequence is written even if the lane has a higher one.
    Sequence,
    /// The turn of a deployment does not compare what is live with what the deployment expects.
    Expected,
    /// A deployment's row is written without its optimistic lock.
    Version,
    /// A deployment is missing from the index of due deployments.
    Due,
    /// A counter is repaired without its optimistic lock.
    Counter,
    /// A counter of deployments does not count its changes.
    Changes,
    /// A permit is taken although none is free, or it is another's turn.
    Permit,
    /// The end of a run does not give its permit back.
    GivenBack,
    /// The report of a build counts for whatever attempt the deployment has reached.
    Attempt,
    /// A delivery to a webhook is missing from the index of what is due.
    Pending,
    /// The second mark of an outbox moves as the first one does.
    Settled,
}

/// The HTTP client of the functions. Its calls reach [`Services`].
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Mutex<Services>>);

/// DynamoDB, SQS and CodeBuild.
pub(crate) struct Services {
    database: Database,
    pub(crate) random: Random,
    /// Whether calls fail.
    pub(crate) faults: bool,
    pub(crate) broken: Broken,
    /// The messages that were not delivered yet.
    pub(crate) sent: Vec<Value>,
    pub(crate) codebuild: CodeBuild,
    /// Whether sweeps compare counters. It makes a sweep longer, so that less happens at once.
    pub(crate) recounts: bool,
    /// Whether a counter was falsified.
    pub(crate) drifted: bool,
    /// The number of repairs of a counter.
    pub(crate) repairs: u32,
    /// The number of permits that the sweep has given back.
    pub(crate) lost_permits: u32,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    /// Makes a call one step of the scheduler: the call waits once, and then succeeds or fails.
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap().to_owned();
            let body = std::str::from_utf8(request.body().bytes().unwrap()).unwrap();
            if body.contains(r#""RECOUNT""#) && !wire.services().recounts {
                let resting = json!({"Item": {"revision": {"N": "1"}, "rests_until": {"N": i64::MAX.to_string()}}});
                return Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(resting.to_string())));
            }
            step().await;
            let answer = wire.services().call(&target, body);
            // The SDK does not send a call again that fails like this.
            let (status, body) = answer.ok_or_else(|| ConnectorError::user("the answer is lost".into()))?;
            Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body)))
        })
    }
}

impl Wire {
    pub(crate) fn new(seed: u64, broken: Broken) -> Self {
        Self(Arc::new(Mutex::new(Services {
            database: Database::memory().unwrap(),
            random: Random::new(seed),
            faults: false,
            broken,
            sent: Vec::new(),
            codebuild: CodeBuild::default(),
            recounts: seed % 2 == 1,
            drifted: false,
            repairs: 0,
            lost_permits: 0,
        })))
    }

    pub(crate) fn services(&self) -> MutexGuard<'_, Services> {
        self.0.lock().unwrap()
    }
}

impl Services {
    /// Answers a call. Returns `None` if the answer is lost.
    fn call(&mut self, target: &str, body: &str) -> Option<(u16, String)> {
        let (service, operation) = target.split_once('.').unwrap();
        if service.starts_with("CodeBuild") || service == "secretsmanager" {
            return self.call_codebuild(operation, body);
        }
        let refused = (400, json!({"__type": "AccessDeniedException", "message": "a fault"}).to_string());
        let fate = if self.faults { self.random.below(100) } else { 99 };
        if fate < 4 {
            return Some(refused);
        }
        let answer = match operation {
            "SendMessage" => self.send(body),
            _ => self.ask(operation, &self.without_a_condition(operation, body)),
        };
        // Only a repair changes a counter outside of a transaction.
        let is_repair = || serde_json::from_str::<Value>(body).unwrap()["Key"]["sk"]["S"] == "DEPLOYS";
        if operation == "UpdateItem" && answer.0 == 200 && is_repair() {
            self.repairs += 1;
        }
        let is_of_a_lost_permit = || serde_json::from_str::<Value>(body).unwrap()["Key"]["pk"]["S"] == "CAPACITY";
        if operation == "UpdateItem" && answer.0 == 200 && body.contains("DELETE running") && is_of_a_lost_permit() {
            self.lost_permits += 1;
        }
        Some(if fate < 8 { refused } else { answer })
    }

    /// Answers a call of CodeBuild, unless CodeBuild is busy or its answer gets lost.
    fn call_codebuild(&mut self, operation: &str, body: &str) -> Option<(u16, String)> {
        let fate = if self.faults { self.random.below(6) } else { 5 };
        if fate == 0 {
            let busy = json!({"__type": "AccountLimitExceededException", "message": "a fault"});
            return Some((400, busy.to_string()));
        }
        let answer = self.codebuild.call(operation, body);
        (fate != 1).then_some(answer)
    }

    fn send(&mut self, body: &str) -> (u16, String) {
        let request: Value = serde_json::from_str(body).unwrap();
        self.sent.push(serde_json::from_str(request["MessageBody"].as_str().unwrap()).unwrap());
        (200, json!({"MessageId": "m", "MD5OfMessageBody": "m"}).to_string())
    }

    /// Calls DynamoDB without a fault.
    pub(crate) fn ask(&self, operation: &str, body: &str) -> (u16, String) {
        macro_rules! ask {
            ($method:ident) => {
                self.database
                    .$method(serde_json::from_str(body).unwrap())
                    .map(|answer| serde_json::to_string(&answer).unwrap())
            };
        }
        let answer = match operation {
            "CreateTable" => ask!(create_table),
            "UpdateTimeToLive" => ask!(update_time_to_live),
            "GetItem" => ask!(get_item),
            "BatchGetItem" => ask!(batch_get_item),
            "UpdateItem" => ask!(update_item),
            "Query" => ask!(query),
            "Scan" => ask!(scan),
            "DeleteItem" => ask!(delete_item),
            "PutItem" => ask!(put_item),
            "TransactWriteItems" => ask!(transact_write_items),
            other => panic!("the operation {other} is missing here"),
        };
        answer.map_or_else(|error| (error.status_code(), error.to_json()), |answer| (200, answer))
    }

    /// Removes the conditions of [`Broken`] from a call.
    fn without_a_condition(&self, operation: &str, body: &str) -> String {
        let breaks = match self.broken {
            Broken::Nothing => false,
            Broken::Counter | Broken::Settled => operation == "UpdateItem",
            Broken::Pending => operation == "PutItem",
            _ => operation == "TransactWriteItems",
        };
        if !breaks {
            return body.to_owned();
        }
        if self.broken == Broken::Changes {
            return body.replace("#to :one, changes :one", "#to :one");
        }
        let mut request: Value = serde_json::from_str(body).unwrap();
        if self.broken == Broken::Counter {
            if request["Key"]["sk"]["S"] == "DEPLOYS" {
                let expression = request["UpdateExpression"].as_str().unwrap().to_owned();
                request.as_object_mut().unwrap().remove("ConditionExpression");
                for used in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
                    let used = request[used].as_object_mut().unwrap();
                    used.retain(|name, _| expression.split([' ', ',']).any(|word| word == name));
                }
            }
            return request.to_string();
        }
        if self.broken == Broken::Settled {
            if request["Key"]["pk"]["S"] == "OUTBOXES" && !request["ExpressionAttributeValues"][":read"].is_null() {
                request["ExpressionAttributeValues"][":settled"] =
                    request["ExpressionAttributeValues"][":read"].clone();
            }
            return request.to_string();
        }
        if self.broken == Broken::Pending {
            let item = request["Item"].as_object_mut().unwrap();
            if item["sk"]["S"].as_str().unwrap().starts_with("DELIVERY#") {
                item.remove("gsi5pk");
                item.remove("gsi5sk");
            }
            return request.to_string();
        }
        for write in request["TransactItems"].as_array_mut().unwrap() {
            let (kind, write) = write.as_object_mut().unwrap().iter_mut().next().unwrap();
            let key = if kind == "Put" { &write["Item"]["sk"]["S"] } else { &write["Key"]["sk"]["S"] };
            let key = key.as_str().unwrap().to_owned();
            match (self.broken, key.as_str()) {
                (Broken::Sequence, "LANE") if is_of_sequence(write) => {
                    write.as_object_mut().unwrap().remove("ConditionExpression");
                }
                (Broken::Lock, "LANE") if !is_of_sequence(write) => {
                    write["ConditionExpression"] = json!("attribute_exists(pk) OR attribute_not_exists(pk)");
                    let expression = write["UpdateExpression"].as_str().unwrap().to_owned();
                    let values = write["ExpressionAttributeValues"].as_object_mut().unwrap();
                    values.retain(|name, _| expression.contains(name.as_str()));
                    if values.is_empty() {
                        write.as_object_mut().unwrap().remove("ExpressionAttributeValues");
                    }
                }
                (Broken::Version, "DEPLOY") => {
                    let write = write.as_object_mut().unwrap();
                    write.remove("ConditionExpression");
                    write.remove("ExpressionAttributeValues");
                }
                (Broken::Version, event) if event.starts_with("EVENT#") => {
                    write.as_object_mut().unwrap().remove("ConditionExpression");
                }
                (Broken::Permit, "PERMITS") if takes_a_permit(write) => {
                    let write = write.as_object_mut().unwrap();
                    write.remove("ConditionExpression");
                    let expression = write["UpdateExpression"].as_str().unwrap().to_owned();
                    let values = write["ExpressionAttributeValues"].as_object_mut().unwrap();
                    values.retain(|name, _| expression.contains(name.as_str()));
                }
                (Broken::GivenBack, "PERMITS") if !takes_a_permit(write) => {
                    if let Some(permit) = write.pointer_mut("/ExpressionAttributeValues/:permit/SS/0") {
                        *permit = json!("another");
                    }
                }
                (Broken::Expected, "DEPLOY") => {
                    write["Item"].as_object_mut().unwrap().remove("expected_current");
                }
                (Broken::Due, "DEPLOY") => {
                    let item = write["Item"].as_object_mut().unwrap();
                    item.remove("gsi5pk");
                    item.remove("gsi5sk");
                }
                _ => {}
            }
        }
        request.to_string()
    }
}

/// Returns whether an update of permits takes one.
fn takes_a_permit(update: &Value) -> bool {
    update["UpdateExpression"].as_str().is_some_and(|expression| expression.contains("ADD running"))
}

/// Returns whether an update of a lane keeps a sequence.
fn is_of_sequence(update: &Value) -> bool {
    update["UpdateExpression"].as_str().is_some_and(|expression| expression.contains("sequence"))
}
