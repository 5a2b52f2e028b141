//! The line that each request leaves in the log.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{GitRepository, World, cost_of, eventually};

use super::post;

#[tokio::test]
async fn every_answer_has_an_id_of_its_own_that_its_log_line_has_too() {
    let world = World::start().await;
    let (owner, anonymous) = (world.owner("acme").await, world.anonymous());
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let mut answers = vec![
        owner.get("/v1/openapi.json").await,
        owner.get("/v1/rate_limit").await,
        owner.post("/v1/repositories", json!({})).await,
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await,
        owner.get("/v1/nothing").await,
        owner.send(owner.request(Method::DELETE, "/v1/repositories")).await,
        // A client can't choose the id.
        owner.send(owner.request(Method::GET, "/v1/repositories").header("x-request-id", "req_mine")).await,
    ];
    for _ in 0..20 {
        let (one, other) = tokio::join!(owner.get("/v1/repositories"), anonymous.get("/v1/repositories"));
        answers.extend([one, other]);
    }
    let mut ids = HashSet::new();
    for answer in &answers {
        let id = answer.header("x-request-id");
        assert!(id.strip_prefix("req_").is_some_and(|id| id.len() == 16), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} came twice");
        assert_eq!(world.line_of(answer)["status"], answer.status);
        if answer.status >= 400 {
            assert_eq!(answer.body["error"]["request_id"], id);
        }
    }
}

#[tokio::test]
async fn a_request_is_one_line_in_the_log() {
    let world = World::start().await;
    let (owner, anonymous) = (world.owner("acme").await, world.anonymous());
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let account = json!(owner.account_id.as_ref().unwrap().as_str());
    owner.get("/v1/repositories").await;
    let me = owner.get("/v1/user").await.body;
    let list = "/v1/repositories";
    let (list_function, get_function) = ("list-repositories", "get-repository");
    for (answer, function, route, status, account, code, cost) in [
        (owner.get(list).await, list_function, list, 200, &account, Value::Null, Some((3, 2.5))),
        (
            owner.get("/v1/repositories?page=0").await,
            list_function,
            list,
            400,
            &account,
            json!("invalid_request"),
            None,
        ),
        (
            owner.get("/v1/repositories/x").await,
            get_function,
            "/v1/repositories/{repo_id}",
            404,
            &account,
            json!("not_found"),
            None,
        ),
        (owner.get("/v1/nothing").await, "not-found", "$default", 404, &account, json!("not_found"), None),
        // The first request from a source costs one write: it counts against the source.
        (anonymous.get(list).await, list_function, list, 401, &Value::Null, json!("missing_token"), Some((1, 1.0))),
    ] {
        assert_eq!(answer.status, status);
        let line = world.line_of(&answer);
        assert_eq!(line["function"], function);
        assert_eq!((&line["route"], &line["status"]), (&json!(route), &json!(status)));
        assert_eq!((&line["account_id"], &line["code"]), (account, &code));
        // Who called from where. A caller without a token has only an address.
        let who = ["actor_id", "token_id", "client_id", "source_address"].map(|field| line[field].clone());
        let [user, token] = if account.is_null() { [&Value::Null; 2] } else { [&me["user"]["id"], &me["token"]["id"]] };
        assert_eq!(who, [user.clone(), token.clone(), Value::Null, json!("127.0.0.1")]);
        assert_eq!((&line["level"], &line["server_errors"]), (&json!("INFO"), &json!(0)));
        assert_eq!(line["_aws"]["Timestamp"], world.clock.now().as_millis());
        assert_eq!((&line["timestamp"], &line["level"]), (&json!("2026-01-01T12:00:00.000Z"), &json!("INFO")));
        // With these ids the line finds the request in the gateway's access log.
        assert_eq!(line["gateway_request_id"], answer.header("apigw-requestid"));
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
        assert!(line["lambda_request_id"].as_str().unwrap().len() >= 32);
        let (calls, units) = cost_of(&line);
        assert!(calls > 0 && units > 0.0, "{line}");
        if let Some(cost) = cost {
            assert_eq!((calls, units), cost);
        }
    }
}

#[tokio::test]
async fn a_trace_is_taken_over_into_the_log() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    for (traceparent, taken) in [
        (format!("00-{trace}-{parent}-01"), true),
        (format!("01-{trace}-{parent}-00-more"), true),
        (format!("00-{trace}-{parent}"), false),
        (format!("00-{}-{parent}-01", "0".repeat(32)), false),
        ("garbage\"}".to_owned(), false),
    ] {
        let request = owner.request(Method::GET, "/v1/repositories").header("traceparent", &traceparent);
        let answer = owner.send(request).await;
        assert_eq!(answer.status, 200);
        let line = world.line_of(&answer);
        let expected = if taken { (json!(trace), json!(parent)) } else { (Value::Null, Value::Null) };
        assert_eq!((&line["trace_id"], &line["parent_id"]), (&expected.0, &expected.1), "{traceparent}");
    }
}

#[tokio::test]
async fn the_log_has_no_token_no_variable_and_no_body() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["echo $API_KEY", "exit 1"]);
    owner.repository("app", &source).await;
    let deployment = json!({"ref": "main", "variables": {"API_KEY": "hunter2-variable"}});
    owner.ended(&owner.deploy("app", deployment).await).await;

    let mut secrets = vec![owner.token.clone().unwrap(), "hunter2".to_owned()];
    for body in [
        "{\"ref\": \"main\", \"variables\": {\"API_KEY\": [\"hunter2-list\"]}}",
        "{\"ref\": \"main\", \"variables\": {\"AWS_KEY\": \"hunter2-reserved\"}}",
        "{\"ref\": \"main\", \"variables\": {\"KEY\": \"hunter2-nul\\u0000\"}}",
        "{\"ref\": \"hunter2-branch\"}",
        "{\"ref\": \"hunter2-cut",
        "hunter2-text",
    ] {
        let refused = post(&owner, "/v1/repositories/app/deployments", Some("application/json"), body).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let mut mistyped = owner.token.clone().unwrap();
    mistyped.pop();
    for token in [&mistyped[..], "dgp_hunter2", "hunter2 hunter2"] {
        owner.holding(token).get("/v1/repositories").await.refused(401, "invalid_token");
        secrets.push(token.to_owned());
    }
    owner.get("/v1/repositories?token=hunter2&cursor=hunter2").await.refused(400, "invalid_request");
    owner.get("/v1/hunter2").await.refused(404, "not_found");

    let log = world.log();
    assert!(log.iter().any(|line| line["function"] == "deployment-consumer"), "{log:?}");
    assert!(log.len() >= 14, "{}", log.len());
    for line in log {
        // Lambda takes a line without them for one of level INFO.
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert!(["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()), "{line}");
        for secret in &secrets {
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
}

#[tokio::test]
async fn the_trace_of_a_request_goes_on_in_the_messages_that_it_sends() {
    let world = World::start().await;
    let (owner, _source) = world.app().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = owner.request(Method::POST, "/v1/repositories/app/deployments").json(&json!({"ref": "main"}));
    let created = owner.send(request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))).await;
    assert_eq!(created.status, 201, "{created:?}");
    let untraced = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
    for deployment in [&created.body, &untraced] {
        owner.ended(deployment).await;
    }
    let line_of_run = async |deployment: &Value| {
        eventually("the line of the run", async || {
            let is_of_run = |line: &Value| line["deployment_id"] == deployment["id"] && line["outcome"] == "succeeded";
            world.log().into_iter().find(is_of_run)
        })
        .await
    };
    let (sender, run) = (world.line_of(&created), line_of_run(&created.body).await);
    assert_eq!((&run["trace_id"], &run["parent_id"]), (&json!(trace), &sender["span_id"]), "{run}");
    assert_ne!(run["span_id"], sender["span_id"]);
    assert_eq!(line_of_run(&untraced).await["trace_id"], Value::Null);
}
