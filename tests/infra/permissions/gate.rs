//! The gate between the functions and the services. It allows only the calls that the function's role allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use s3s::service::S3Service;
use serde_json::{Value, json};

use super::super::text;
use super::PROJECT;
use super::statement::{Call, Permission, Statement};

/// The ending of the names of dead-letter queues.
const DEAD: &str = "-dead-letters";
/// The ending of the names of queues of commit statuses.
pub(super) const STATUSES: &str = "-statuses";

/// The ending of the name of the queue of deliveries to hooks.
pub(super) const HOOKS: &str = "-hooks";
/// The ending of the name of the queue of webhooks.
pub(super) const WEBHOOKS: &str = "-webhooks";

/// The gate between the functions and the services.
pub(super) struct Gate {
    pub(super) policies: BTreeMap<String, Vec<Statement>>,
    pub(super) client: reqwest::Client,
    pub(super) dynamodb: String,
    pub(super) sqs: String,
    pub(super) s3: S3Service,
    pub(super) used: Mutex<BTreeMap<String, BTreeSet<Permission>>>,
    pub(super) refused: Mutex<Vec<(String, Call)>>,
}

impl Gate {
    pub(super) async fn pass(
        self: Arc<Self>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        let (credential, uri) = match headers.get("authorization") {
            // Credential=<access key>/<date>/<region>/<service>/aws4_request
            Some(signed) => (signed.to_str().unwrap().split("Credential=").nth(1).unwrap().to_owned(), uri),
            // A signed URL, which a client got from the function.
            None => {
                let url = reqwest::Url::parse(&format!("http://s3{uri}")).unwrap();
                let credential = url.query_pairs().find(|(name, _)| name == "X-Amz-Credential").unwrap().1.into_owned();
                (credential, uri.path().parse().unwrap())
            }
        };
        let mut credential = credential.split('/');
        let (function, service) = (credential.next().unwrap().to_owned(), credential.nth(2).unwrap().to_owned());
        let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap().split('.').nth(1).unwrap());
        let json = || serde_json::from_slice::<Value>(&body).unwrap();
        let calls = match (service.as_str(), target) {
            ("dynamodb", Some(operation)) => dynamodb_calls(operation, &json()),
            ("sqs", Some(operation)) => {
                let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
                let queue = json()["QueueUrl"].clone();
                let resource = match text(&queue) {
                    url if url.ends_with(DEAD) => "DeadLetters.Arn",
                    url if url.ends_with(STATUSES) => "Statuses.Arn",
                    url if url.ends_with(HOOKS) => "HookDeliveries.Arn",
                    url if url.ends_with(WEBHOOKS) => "Webhooks.Arn",
                    _ => "Deployments.Arn",
                };
                vec![Call { action, resource: resource.to_owned(), keys: BTreeSet::new() }]
            }
            ("kms", Some(operation)) => {
                let action = format!("kms:{operation}");
                vec![Call { action, resource: "Key.Arn".to_owned(), keys: BTreeSet::new() }]
            }
            ("s3", None) => s3_calls(&method, &uri, &body),
            ("codebuild" | "secretsmanager", Some(operation)) => named_calls(&service, operation, &json()),
            other => panic!("{function} calls {other:?}"),
        };
        for call in calls {
            if !self.allows(&function, &call) {
                self.refused.lock().unwrap().push((function, call));
                let body = json!({"__type": "AccessDeniedException", "message": "the role does not allow it"});
                return response(if service == "s3" { 403 } else { 400 }, body.to_string());
            }
        }
        match service.as_str() {
            "dynamodb" => self.forward(&self.dynamodb, headers, body).await,
            "sqs" => self.forward(&self.sqs, headers, body).await,
            "kms" => kms(target.unwrap(), &json()),
            "codebuild" | "secretsmanager" => self.tell(target.unwrap(), &json()),
            _ => {
                // The service does not check access keys, and the calls behind the gate are not signed.
                let mut request = Request::builder().method(method).uri(uri);
                let unsigned = headers.iter().filter(|(name, _)| *name != "authorization");
                request.headers_mut().unwrap().extend(unsigned.map(|(name, value)| (name.clone(), value.clone())));
                let answer = self.s3.call(request.body(s3s::Body::from(body)).unwrap()).await.unwrap();
                answer.map(Body::new)
            }
        }
    }

    fn allows(&self, function: &str, call: &Call) -> bool {
        let statements = self.policies.get(function).into_iter().flatten();
        let Some(permissions) = statements.filter_map(|statement| statement.allows(call)).next() else { return false };
        self.used.lock().unwrap().entry(function.to_owned()).or_default().extend(permissions);
        true
    }

    /// Stands in for CodeBuild, which forgets each build, and Secrets Manager.
    fn tell(&self, operation: &str, request: &Value) -> Response<Body> {
        let answer = match operation {
            "StartBuild" => json!({"build": {"id": format!("{PROJECT}:{}", text(&request["idempotencyToken"]))}}),
            "BatchGetBuilds" => json!({"builds": []}),
            _ => json!({}),
        };
        response(200, answer.to_string())
    }

    async fn forward(&self, to: &str, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let mut request = self.client.post(to).body(body);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        response(answer.status().as_u16(), answer.bytes().await.unwrap())
    }
}

fn response(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0".parse().unwrap());
    response
}

fn dynamodb_calls(operation: &str, body: &Value) -> Vec<Call> {
    let key = |item: &Value| text(&item["pk"]["S"]).to_owned();
    let call = |operation: &str, index: Option<&str>, keys: BTreeSet<String>| {
        let resource = index.map_or("Table.Arn".to_owned(), |index| format!("${{Table.Arn}}/index/{index}"));
        Call { action: format!("dynamodb:{operation}"), resource, keys }
    };
    match operation {
        "GetItem" | "UpdateItem" => vec![call(operation, None, [key(&body["Key"])].into())],
        "PutItem" => vec![call(operation, None, [key(&body["Item"])].into())],
        "BatchGetItem" => {
            let keys = body["RequestItems"].as_object().unwrap().values();
            vec![call(operation, None, keys.flat_map(|table| table["Keys"].as_array().unwrap()).map(key).collect())]
        }
        "Query" => {
            let partition = text(&body["ExpressionAttributeValues"][":pk"]["S"]).to_owned();
            vec![call(operation, body["IndexName"].as_str(), [partition].into())]
        }
        "Scan" => {
            // A Scan has no leading key. It is limited to the attributes that it names.
            assert_eq!(body["Select"], "SPECIFIC_ATTRIBUTES");
            let named = text(&body["ProjectionExpression"]).split(", ").map(str::to_owned);
            vec![call(operation, body["IndexName"].as_str(), named.collect())]
        }
        "TransactWriteItems" => {
            let writes: Vec<_> =
                body["TransactItems"].as_array().unwrap().iter().flat_map(Value::as_object).flatten().collect();
            let keys: BTreeSet<_> = writes
                .iter()
                .map(|(kind, write)| key(if *kind == "Put" { &write["Item"] } else { &write["Key"] }))
                .collect();
            let kinds: BTreeSet<_> = writes.iter().map(|(kind, _)| format!("{kind}Item")).collect();
            kinds.iter().map(|kind| call(kind, None, keys.clone())).collect()
        }
        other => panic!("an operation that the gate does not know: {other}"),
    }
}

/// Returns the calls to services whose requests name their resources.
fn named_calls(service: &str, operation: &str, body: &Value) -> Vec<Call> {
    let arn = |service: &str, resource: &str| {
        format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}")
    };
    let project = |id: &Value| {
        assert_eq!(text(id).split(':').next(), Some(PROJECT));
        arn("codebuild", "project/${AWS::StackName}")
    };
    let secret = |name: &Value| {
        let name = text(name).strip_prefix(PROJECT).unwrap();
        arn("secretsmanager", &format!("secret:${{AWS::StackName}}{name}-x1y2z3"))
    };
    let resources = match operation {
        "StartBuild" => vec![project(&body["projectName"])],
        "StopBuild" => vec![project(&body["id"])],
        "BatchGetBuilds" => body["ids"].as_array().unwrap().iter().map(project).collect(),
        "CreateSecret" => vec![secret(&body["Name"])],
        "GetSecretValue" | "DeleteSecret" => vec![secret(&body["SecretId"])],
        other => panic!("an operation that the gate does not know: {other}"),
    };
    let call = |resource| Call { action: format!("{service}:{operation}"), resource, keys: BTreeSet::new() };
    resources.into_iter().map(call).collect()
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn s3_calls(method: &Method, uri: &Uri, body: &[u8]) -> Vec<Call> {
    let query: BTreeMap<String, String> =
        reqwest::Url::parse(&format!("http://s3{uri}")).unwrap().query_pairs().into_owned().collect();
    let object = uri.path().trim_start_matches('/').split_once('/').map(|(_, object)| object).filter(|o| !o.is_empty());
    let Some(object) = object else {
        if method == Method::POST && query.contains_key("delete") {
            let body = String::from_utf8_lossy(body);
            let keys = body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
            return keys.map(|key| object_call("s3:DeleteObject", key)).collect();
        }
        assert!(method == Method::GET && query.contains_key("list-type"), "{method} {uri}");
        let keys = query.get("prefix").cloned().into_iter().collect();
        return vec![Call { action: "s3:ListBucket".to_owned(), resource: "Archive.Arn".to_owned(), keys }];
    };
    let action = match *method {
        Method::GET | Method::HEAD => "s3:GetObject",
        Method::PUT | Method::POST => "s3:PutObject",
        Method::DELETE if query.contains_key("uploadId") => "s3:AbortMultipartUpload",
        _ => "s3:DeleteObject",
    };
    vec![object_call(action, object)]
}

fn object_call(action: &str, object: &str) -> Call {
    Call { action: action.to_owned(), resource: format!("${{Archive.Arn}}/{object}"), keys: BTreeSet::new() }
}

/// Stands in for KMS: a blob contains the key and its context, and opens only in that context.
fn kms(operation: &str, request: &Value) -> Response<Body> {
    let context = request["EncryptionContext"].to_string();
    let key = [7; 32];
    let blob = BASE64_STANDARD.encode([&key[..], context.as_bytes()].concat());
    let answer = match operation {
        "GenerateDataKey" => json!({"KeyId": "key", "Plaintext": BASE64_STANDARD.encode(key), "CiphertextBlob": blob}),
        "Decrypt" if request["CiphertextBlob"] == blob => {
            json!({"KeyId": "key", "Plaintext": BASE64_STANDARD.encode(key)})
        }
        _ => return response(400, json!({"__type": "InvalidCiphertextException"}).to_string()),
    };
    response(200, answer.to_string())
}
