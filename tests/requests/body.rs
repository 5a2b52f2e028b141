//! Bodies of requests.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{GitRepository, World};

use super::{MAX_BODY, post};

const ENDPOINTS_WITH_A_BODY: [&str; 2] = ["/v1/repositories", "/v1/repositories/app/deployments"];

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let json = Some("application/json");
    let deep = format!("{{\"name\": {}", "[".repeat(100_000));
    for path in ENDPOINTS_WITH_A_BODY {
        for body in [
            &b""[..],
            b" \n",
            b"{",
            b"name=app",
            b"{'name': 'app'}",
            b"{\"name\": \"app\",}",
            b"{\"name\": app}",
            b"{} {}",
            b"{\"name\": \"app\"} trailing",
            b"{\"ref\": \"\xff\", \"name\": \"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\"ref\": \"main\"\0}",
            deep.as_bytes(),
        ] {
            post(&owner, path, json, body).await.refused(400, "invalid_json");
        }
        for content_type in
            [None, Some(""), Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")]
        {
            post(&owner, path, content_type, "{\"ref\": \"main\"}").await.refused(415, "unsupported_media_type");
        }
    }
    for content_type in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        let path = "/v1/repositories/app/deployments";
        let created = post(&owner, path, Some(content_type), " {\"ref\": \"main\"}\r\n").await;
        assert_eq!(created.status, 201, "{content_type}: {created:?}");
    }
    let repositories = owner.get("/v1/repositories").await;
    assert_eq!(repositories.column("name"), ["app"], "a refused request has no effect");
    let deployments = owner.get("/v1/repositories/app/deployments").await;
    assert_eq!(deployments.body["meta"]["total"], 3);
}

#[tokio::test]
async fn a_field_of_the_wrong_shape_is_named_and_its_value_is_not_repeated() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let deep = format!("{{\"name\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let [repositories, deployments] = ENDPOINTS_WITH_A_BODY;
    let no_variable = "must be a string or {\"value\": string, \"secret\": boolean}";
    for (path, body, field, message) in [
        (repositories, "null", "body", "must be an object"),
        (repositories, "5", "body", "must be an object"),
        (repositories, "\"name\"", "body", "must be an object"),
        (repositories, "[\"app2\", \"https://example.com/a\", \"private\", null]", "body", "must be an object"),
        (repositories, "{}", "name", "is required"),
        (repositories, "{\"name\": \"x\"}", "clone_url", "is required"),
        (repositories, "{\"name\": null, \"clone_url\": \"/\"}", "name", "must be a string"),
        (repositories, "{\"name\": 5012, \"clone_url\": \"/\"}", "name", "must be a string"),
        (repositories, &deep, "name", "must be a string"),
        (repositories, "{\"clone_url\": {\"a\": 1}}", "clone_url", "must be a string"),
        (repositories, "{\"default_branch\": 5012}", "default_branch", "must be a string"),
        (repositories, "{\"visibility\": \"hidden\"}", "visibility", "must be `private` or `public`"),
        (repositories, "{\"visibility\": 5012}", "visibility", "must be a string"),
        (repositories, "{\"visibility\": null}", "visibility", "must be a string"),
        (repositories, "{\"name\": \"a\", \"name\": \"b\"}", "name", "is given twice"),
        (
            repositories,
            "{\"names\": \"a\"}",
            "names",
            "is not one of `name`, `clone_url`, `connection_id`, `visibility`, `default_branch`, `root_folder`, `buildspec_path`, `fetch_depth`, \
             `cache`, `image`, `compute_type`, `privileged`, `deploy_rules`",
        ),
        (deployments, "null", "body", "must be an object"),
        (deployments, "[\"main\", \"preview\", {}]", "body", "must be an object"),
        (deployments, "{}", "ref", "is required; the repository's default branch is 'main'"),
        (deployments, "{\"ref\": 5012}", "ref", "must be a string"),
        (deployments, "{\"ref\": \"\"}", "ref", "must not be empty"),
        (deployments, "{\"ref\": \"a\", \"ref\": \"b\"}", "ref", "is given twice"),
        (
            deployments,
            "{\"ref\": \"main\", \"force\": true}",
            "force",
            "is not one of `ref`, `environment`, `variables`, `expected_current`, `sequence`, `override`",
        ),
        (
            deployments,
            "{\"environment\": \"Moon\"}",
            "environment",
            "must be 1 to 40 characters of a-z, 0-9, '.', '_' and '-' that start and end with a letter or a digit, or at most 30 \
             that end with '*'; for example 'moon'",
        ),
        (deployments, "{\"environment\": []}", "environment", "must be a string"),
        (deployments, "{\"variables\": [\"hunter2\"]}", "variables", "must be an object"),
        (deployments, "{\"variables\": \"KEY=hunter2\"}", "variables", "must be an object"),
        (deployments, "{\"variables\": {\"KEY\": 5012}}", "variables.KEY", no_variable),
        (deployments, "{\"variables\": {\"KEY\": {\"hunter2\": 1}}}", "variables.KEY", no_variable),
    ] {
        let refused = post(&owner, path, Some("application/json"), body).await;
        refused.refused(400, "invalid_request");
        let details = refused.body["error"]["details"].as_array().unwrap();
        assert_eq!(details[0], json!({"field": field, "message": message}), "{body:.100}");
        // The others are the required fields that the body lacks.
        assert!(
            details[1..].iter().all(|detail| detail["message"].as_str().unwrap().starts_with("is required")),
            "{refused:?}"
        );
        if details.len() == 1 {
            assert_eq!(refused.body["error"]["message"], format!("{field} {message}"));
        }
        assert!(!refused.body.to_string().contains("5012"), "{refused:?}");
        assert!(!refused.body.to_string().contains("hunter2"), "{refused:?}");
    }
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);
    assert_eq!(owner.get(deployments).await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn a_body_with_a_content_encoding_is_refused_by_its_name() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let with = async |encoding: &str, body: &[u8]| {
        let request = owner.request(Method::POST, "/v1/repositories/app/deployments").body(body.to_vec());
        owner.send(request.header("content-type", "application/json").header("content-encoding", encoding)).await
    };
    for encoding in ["gzip", "br", "deflate, gzip"] {
        let refused = with(encoding, b"\x1f\x8b\x08\0\0\0\0\0").await;
        refused.refused(415, "unsupported_media_type");
        let message = format!("The body has 'Content-Encoding: {encoding}'; send it without an encoding");
        assert_eq!(
            (&refused.body["error"]["message"], refused.header("accept-encoding")),
            (&json!(message), "identity")
        );
    }
    assert_eq!(with("identity", br#"{"ref": "main"}"#).await.status, 201);
}

/// Pads a text with spaces.
fn padded(text: &str, size: usize) -> String {
    format!("{text}{}", " ".repeat(size - text.len()))
}

#[tokio::test]
async fn a_body_may_have_256_kib() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    owner.repository("app", &source).await;
    let path = "/v1/repositories/app/deployments";
    let of_size = |size: usize| padded(&json!({"ref": "main"}).to_string(), size);
    let json = Some("application/json");
    assert_eq!(post(&owner, path, json, of_size(MAX_BODY)).await.status, 201);
    for size in [MAX_BODY + 1, 2 * MAX_BODY, 9 * 1024 * 1024] {
        post(&owner, path, json, of_size(size)).await.refused(413, "body_too_large");
    }
    // Authentication comes before the size.
    world
        .anonymous()
        .send(world.anonymous().request(Method::POST, path).body(of_size(MAX_BODY + 1)))
        .await
        .refused(401, "missing_token");
    assert_eq!(owner.get(path).await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_body_that_the_gateway_delivers_in_base64_is_decoded() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let functions = world.stack.environment().http().unwrap();
    let (key, function) = functions.into_iter().find(|(key, _)| key == "POST /v1/repositories").unwrap();
    let event = |body: &[u8]| {
        json!({
            "version": "2.0", "routeKey": key, "rawPath": "/v1/repositories", "rawQueryString": "",
            "headers": {
                "authorization": format!("Bearer {}", owner.token.as_ref().unwrap()), "content-type": "application/json",
            },
            "requestContext": {
                "accountId": "0", "apiId": "api", "domainName": "api.git.dev", "domainPrefix": "api",
                "http": {
                    "method": "POST", "path": "/v1/repositories", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                    "userAgent": "curl",
                },
                "requestId": "JKJaXmPLvHcESHA=", "routeKey": key, "stage": "$default",
                "time": "01/Jan/2026:12:00:00 +0000", "timeEpoch": 1_767_268_800_000_u64,
            },
            "body": BASE64_STANDARD.encode(body), "isBase64Encoded": true,
        })
    };
    let body = json!({"name": "app", "clone_url": source.url()}).to_string();
    for (body, status, code) in [
        (body.as_bytes(), 201, Value::Null),
        (b"{\"name\": \"\xff\"}", 400, json!("invalid_json")),
        // The limit is for the decoded body.
        (padded(&body, MAX_BODY).as_bytes(), 409, json!("name_taken")),
        (padded(&body, MAX_BODY + 1).as_bytes(), 413, json!("body_too_large")),
    ] {
        let response = function.invoke(event(body)).await.unwrap();
        assert_eq!(response["statusCode"], status, "{response}");
        let answer: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    assert_eq!(owner.get("/v1/repositories").await.column("full_name"), ["acme/app"]);
}
