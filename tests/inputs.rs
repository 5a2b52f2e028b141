//! Bodies and query strings against the document: what its schemas exclude is refused, by name and in plain words.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tests::estate::Estate;
use tests::{Answer, GitRepository, World};

use crate::contract::{document, operations};

/// Words of parsers and of the language that the API is written in.
const NOT_FOR_CLIENTS: [&str; 27] = [
    "bool",
    "byte",
    "char",
    "deserialize",
    "enum",
    "expected",
    "f32",
    "f64",
    "i16",
    "i32",
    "i64",
    "i8",
    "identifier",
    "map",
    "newtype",
    "Option",
    "seq",
    "sequence",
    "serde",
    "str",
    "struct",
    "tuple",
    "u16",
    "u32",
    "u64",
    "u8",
    "variant",
];

/// Follows the schema's references, and takes the half of a `oneOf` that is not null.
pub(crate) fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let is_null = |half: &&Value| half["type"] != "null";
    match schema["oneOf"].as_array() {
        Some(halves) if halves.len() == 2 && halves.iter().any(|half| half["type"] == "null") => {
            resolved(document, halves.iter().find(is_null).unwrap())
        }
        _ => schema,
    }
}

/// Returns values that the schema excludes. Null is not among them.
fn excluded(document: &Value, schema: &Value) -> Vec<Value> {
    let schema = resolved(document, schema);
    let kinds = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    let is = |kind: &str| kinds.iter().any(|one| one == kind);
    let samples = [
        ("string", json!("hunter2")),
        ("integer", json!(5012)),
        ("number", json!(50.12)),
        ("boolean", json!(true)),
        ("array", json!([])),
        ("object", json!({})),
    ];
    let mut values: Vec<_> = samples.into_iter().filter(|(kind, _)| !is(kind)).map(|(_, value)| value).collect();
    if schema["enum"].is_array() {
        values.push(json!("hunter2"));
    }
    if let Some(shortest @ 1..) = schema["minLength"].as_u64() {
        values.push(json!("a".repeat(shortest as usize - 1)));
    }
    if let Some(longest) = schema["maxLength"].as_u64() {
        values.push(json!("a".repeat(longest as usize + 1)));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        values.push(json!(least - 1));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        values.push(json!(most + 1));
    }
    if schema["format"] == "int64" && schema["maximum"].is_null() {
        values.push(json!(i64::MAX as u64 + 1));
    }
    if let Some(1..) = schema["minItems"].as_u64() {
        values.push(json!([]));
    }
    if let (Some(most), Some(text)) =
        (schema["maxItems"].as_u64(), resolved(document, &schema["items"])["examples"][0].as_str())
    {
        values.push((0..=most).map(|number| numbered(text, number)).collect());
    }
    if let Some(item) = schema.get("items") {
        values.extend(excluded(document, item).into_iter().map(|item| json!([item])));
    }
    values
}

/// Returns whether the schema has null.
fn takes_null(schema: &Value) -> bool {
    let kinds = schema["type"].as_array().into_iter().flatten();
    let halves = schema["oneOf"].as_array().into_iter().flatten().map(|half| &half["type"]);
    kinds.chain(halves).any(|kind| kind == "null")
}

/// Returns an id that differs from the example in its last two characters.
fn numbered(example: &str, number: u64) -> String {
    let digit = |of: u64| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(of % 32) as usize]);
    format!("{}{}{}", &example[..example.len() - 2], digit(number / 32), digit(number))
}

/// Asserts that the request was refused because of a field, without a word of its value.
fn refused_because_of(answer: &Answer, field: &str, context: &str) {
    answer.refused(400, "invalid_request");
    let details = answer.body["error"]["details"].as_array().unwrap();
    let named = details[0]["field"].as_str().unwrap();
    let rest = named.strip_prefix(field).unwrap_or_else(|| panic!("{context}: {answer:?}"));
    assert!(rest.is_empty() || rest.starts_with(['.', '[']), "{context}: {answer:?}");
    let message = details[0]["message"].as_str().unwrap();
    let words = message.split(|char: char| !char.is_ascii_alphanumeric());
    // The names of fields and values are in quotes.
    let quoted = message.split('`').skip(1).step_by(2);
    let quoted: Vec<_> = quoted.flat_map(|quoted| quoted.split(|char: char| !char.is_ascii_alphanumeric())).collect();
    for word in words.filter(|word| !quoted.contains(word)) {
        assert!(!NOT_FOR_CLIENTS.contains(&word), "{context}: {message}");
    }
    for value in ["hunter2", "5012", "50.12"] {
        assert!(!answer.body.to_string().contains(value), "{context}: {answer:?}");
    }
}

/// Returns the schema of the body that an operation needs. The body of a delivery to a hook is in the form of its git host.
fn required_body(operation: &Value) -> Option<&Value> {
    let body = operation.get("requestBody").filter(|body| body["required"] == true)?;
    body.pointer("/content/application~1json/schema")
}

/// Returns the query parameters of an operation, by their names.
fn in_query(operation: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let in_query = parameters.filter(|parameter| parameter["in"] == "query");
    in_query.map(|parameter| (parameter["name"].as_str().unwrap(), parameter))
}

#[tokio::test]
async fn a_body_that_its_schema_excludes_is_refused_by_the_name_of_the_field() {
    let world = World::start().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    let mut bodies = 0;
    for (route, operation) in operations(&document) {
        let Some(schema) = required_body(operation) else { continue };
        bodies += 1;
        let schema = resolved(&document, schema);
        let valid = estate.body(&route).as_object().unwrap().clone();
        let send = async |body: &Map<String, Value>| {
            estate.caller(&route).send(estate.request_with(&route, &json!(body))).await
        };
        let properties = schema["properties"].as_object().unwrap();
        for (name, property) in properties {
            // The source address may send another burst to a public endpoint.
            world.clock.advance(Duration::from_secs(60));
            let null = (!takes_null(property)).then_some(Value::Null);
            for value in excluded(&document, property).into_iter().chain(null) {
                let context = format!("{route} with {name} {value}");
                let mut body = valid.clone();
                body.insert(name.clone(), value);
                refused_because_of(&send(&body).await, name, &context);
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            let mut body = valid.clone();
            body.remove(name);
            let answer = send(&body).await;
            refused_because_of(&answer, name, &route);
            let message = answer.body["error"]["details"][0]["message"].as_str().unwrap();
            assert!(message == "is required" || message.starts_with("is required; "), "{route}: {message}");
        }
        let mut body = valid;
        body.insert("surprise".to_owned(), json!(1));
        let answer = send(&body).await;
        refused_because_of(&answer, "surprise", &route);
        let message = answer.body["error"]["details"][0]["message"].as_str().unwrap();
        assert!(properties.keys().all(|name| message.contains(&format!("`{name}`"))), "{route}: {message}");
    }
    assert!(bodies > 10, "{bodies} operations have a body");
}

#[tokio::test]
async fn a_parameter_that_no_endpoint_has_is_refused_by_its_name() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    for (route, operation) in operations(&document) {
        let (method, path) = (route.split(' ').next().unwrap().parse().unwrap(), estate.path(&route));
        let request = estate.caller(&route).request(method, &format!("{path}?surprise=1&Page=2&surprise=2"));
        let request = match operation.pointer("/requestBody/content/application~1json") {
            Some(_) => request.json(&estate.body(&route)),
            None if operation["requestBody"]["required"] == true => {
                request.header("content-type", "application/x-www-form-urlencoded")
            }
            None => request,
        };
        let refused = estate.owner.send(request).await;
        refused.refused(400, "invalid_request");
        let details = refused.body["error"]["details"].as_array().unwrap();
        let fields: Vec<_> = details.iter().map(|detail| detail["field"].as_str().unwrap()).collect();
        assert_eq!(fields[..2], ["Page", "surprise"], "{route}");
        let message = details[0]["message"].as_str().unwrap();
        for (name, _) in in_query(operation) {
            assert!(message.contains(&format!("`{name}`")), "{route}: {message}");
        }
    }
}

#[tokio::test]
async fn all_parameters_and_fields_that_do_not_fit_are_told_at_once() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let deployments = estate.path("GET /v1/repositories/{repo_id}/deployments");
    let list = format!("{deployments}?page=0&statuz=failed&environment=Moon&per_page=ten&status=failed&sort=size");
    let body = json!({
        "environment": "Moon", "sequence": -1, "expected_current": 5, "force": true,
        "variables": {"LOG_LEVEL": "debug", "AWS_X": "1"},
    });
    let update = format!("{}?surprise=1", estate.path("PATCH /v1/repositories/{repo_id}"));
    let hook = json!({
        "url": "https://10.0.0.1/in", "name": "Board", "events": ["*"],
        "repositories": [estate.parameters["repo_id"], "repo_aaaaaaaaaaaaaaaa"],
    });
    let too_many = json!({"name": 5, "url": "nowhere", "events": [], "environments": vec!["staging"; 101]});
    for (answer, fields) in [
        (
            estate.owner.patch(&update, json!({"visibility": 5, "size": 1})).await,
            vec!["surprise", "visibility", "size"],
        ),
        (estate.owner.post("/v1/webhooks", hook).await, vec!["url", "repositories[1]"]),
        (
            estate.owner.post("/v1/webhooks?surprise=1", too_many).await,
            vec!["surprise", "name", "url", "events", "environments"],
        ),
        (estate.owner.get(&list).await, vec!["statuz", "page", "per_page", "sort", "environment"]),
        (
            estate.owner.post(&deployments, body).await,
            vec!["environment", "expected_current", "force", "sequence", "variables.AWS_X", "ref"],
        ),
    ] {
        answer.refused(400, "invalid_request");
        let details = answer.body["error"]["details"].as_array().unwrap();
        let found: Vec<_> = details.iter().map(|detail| detail["field"].as_str().unwrap()).collect();
        assert_eq!(BTreeSet::from_iter(found), BTreeSet::from_iter(fields), "{answer:?}");
    }
}

#[tokio::test]
async fn all_fields_that_do_not_fit_what_is_stored_are_told_at_once() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let (owner, repository, team) = (&estate.owner, &estate.parameters["repo_id"], &estate.parameters["team_id"]);
    let unknown_team = "team_aaaaaaaaaaaaaaaa";
    let of_repository = |sub: &str| format!("/v1/repositories/{repository}{sub}");
    let trust = |repository: &str| {
        json!({
            "name": "CI", "issuer": "https://10.0.0.1", "claims": {"repository": "acme/app"},
            "scopes": ["deployments:read", "tokens:write", "deployments:write", "teams:read"],
            "repository_id": repository, "environments": ["moon", "preview", "mars"],
        })
    };
    let settings = json!({
        "reviewers": {"users": ["user_aaaaaaaaaaaaaaaa", owner.user_id], "teams": [unknown_team, team]},
        "requires": ["staging", "production"], "image": "public.ecr.aws/acme/build:1",
        "compute_type": "BUILD_GENERAL1_2XLARGE", "privileged": true, "removed_after_days": 3,
    });
    let connection = json!({
        "name": "Host", "kind": "github_app", "host": "10.0.0.1", "provider": "gitlab", "username": "bot", "password": "x",
    });
    let rules = json!([
        {"refs": ["main"], "environment": "moon"}, {"refs": ["v*"], "environment": "preview"},
        {"refs": ["x"], "environment": "mars"},
    ]);
    let url = "https://ada:secret@git.example.com/app.git";
    let new = json!({"name": "other", "clone_url": url, "deploy_rules": rules});
    for (answer, fields) in [
        (
            owner.post("/v1/trusts", trust(repository)).await,
            vec!["scopes[1]", "scopes[3]", "issuer", "environments[0]", "environments[2]"],
        ),
        (
            owner.post("/v1/trusts", trust("repo_aaaaaaaaaaaaaaaa")).await,
            vec!["scopes[1]", "scopes[3]", "issuer", "repository_id"],
        ),
        (
            owner.patch(&of_repository("/environments/production"), settings).await,
            vec![
                "reviewers.users[0]",
                "reviewers.teams[0]",
                "requires[1]",
                "image",
                "compute_type",
                "privileged",
                "removed_after_days",
            ],
        ),
        (
            owner
                .post("/v1/invitations", json!({"email": "b@c.example", "teams": [unknown_team, team, unknown_team]}))
                .await,
            vec!["teams[0]", "teams[2]"],
        ),
        (
            owner.post("/v1/connections", connection).await,
            vec!["host", "provider", "username", "password", "app_id", "private_key"],
        ),
        (
            owner
                .post(&of_repository("/hooks"), json!({"provider": "gitlab", "environment": "moon", "ref": "main"}))
                .await,
            vec!["environment", "ref"],
        ),
        (
            owner
                .post(
                    &of_repository("/hooks"),
                    json!({"provider": "deploy", "environment": "moon", "ref": "a\u{200b}"}),
                )
                .await,
            vec!["environment", "ref"],
        ),
        (
            owner.post("/v1/repositories", new).await,
            vec!["clone_url", "deploy_rules[0].environment", "deploy_rules[2].environment"],
        ),
        (
            owner.patch(&of_repository(""), json!({"clone_url": url, "deploy_rules": rules})).await,
            vec!["clone_url", "deploy_rules[0].environment", "deploy_rules[2].environment"],
        ),
        (owner.post("/v1/session", json!({"code": "c"})).await, vec!["code_verifier", "redirect_uri"]),
        (owner.put("/v1/account/variables/AWS_SECRET_ACCESS_KEY", json!({"value": "x"})).await, vec!["name", "secret"]),
        (
            owner.post(&of_repository("/deployments"), json!({"ref": "a..b", "variables": {"AWS_X": "1"}})).await,
            vec!["ref", "variables.AWS_X"],
        ),
    ] {
        answer.refused(400, "invalid_request");
        assert_eq!(fields_named(&answer), BTreeSet::from_iter(fields), "{answer:?}");
    }

    // An answer lists a bounded number of fields, and one that is alone keeps its code.
    let unknown: Vec<_> = (0..100).map(|_| shared::id::RepositoryId::random()).collect();
    let webhook = json!({"url": "https://10.0.0.1/in", "name": "Board", "events": ["*"], "repositories": unknown});
    assert_eq!(fields_named(&owner.post("/v1/webhooks", webhook).await).len(), 20);
    owner.patch(&of_repository(""), json!({"clone_url": url})).await.refused(400, "invalid_clone_url");
}

/// Returns the fields that an answer names, each once.
fn fields_named(answer: &Answer) -> BTreeSet<&str> {
    let details = answer.body["error"]["details"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    let fields: Vec<_> = details.iter().map(|detail| detail["field"].as_str().unwrap()).collect();
    let each_once = BTreeSet::from_iter(fields.iter().copied());
    assert_eq!(each_once.len(), fields.len(), "{answer:?}");
    each_once
}

#[tokio::test]
async fn all_fields_of_a_body_that_are_missing_unknown_or_wrong_are_told_at_once() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    let mut several = 0;
    for (route, operation) in operations(&document) {
        let Some(schema) = required_body(operation) else { continue };
        let schema = resolved(&document, schema);
        let properties = schema["properties"].as_object().unwrap();
        let required = schema["required"].as_array().into_iter().flatten();
        let required: BTreeSet<_> = required.map(|name| name.as_str().unwrap()).collect();
        several += usize::from(required.len() > 1);
        let send = async |body: Value| estate.caller(&route).send(estate.request_with(&route, &body)).await;

        let answer = send(json!({"surprise": 1, "surprises": 2})).await;
        answer.refused(400, "invalid_request");
        let missing = required.iter().copied().chain(["surprise", "surprises"]);
        assert_eq!(fields_named(&answer), missing.collect(), "{route}");

        let wrong = |(name, property)| (String::clone(name), excluded(&document, property).swap_remove(0));
        let wrong: Map<_, _> = properties.iter().map(wrong).chain([("surprise".to_owned(), json!(1))]).collect();
        let all = wrong.keys().map(String::as_str).collect::<BTreeSet<_>>();
        let answer = send(json!(wrong)).await;
        answer.refused(400, "invalid_request");
        assert_eq!(fields_named(&answer), all, "{route}");

        let mut wrong_or_missing = wrong.clone();
        wrong_or_missing.retain(|name, _| !required.contains(name.as_str()));
        let answer = send(json!(wrong_or_missing)).await;
        answer.refused(400, "invalid_request");
        assert_eq!(fields_named(&answer), all, "{route}");
    }
    assert!(several > 2, "{several} bodies have several required fields");

    let variables = json!({"AWS_X": "1", "LOG_LEVEL": "debug", "1": "x", "GIT_DIR": 5, "KEY": {"value": 1}});
    let deployments = estate.path("POST /v1/repositories/{repo_id}/deployments");
    let answer = estate.owner.post(&deployments, json!({"variables": variables})).await;
    let fields = ["ref", "variables.1", "variables.AWS_X", "variables.GIT_DIR", "variables.KEY"];
    assert_eq!(fields_named(&answer), fields.into(), "{answer:?}");
}

#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    let mut patches = 0;
    for (route, operation) in operations(&document) {
        let Some(path) = route.strip_prefix("PATCH ") else { continue };
        patches += 1;
        let (actor, read) = (estate.caller(&route), estate.path(&format!("GET {path}")));
        let schema = operation.pointer("/requestBody/content/application~1json/schema").unwrap();
        let before = actor.get(&read).await;
        assert_eq!(before.status, 200, "{before:?}");
        let stored = estate.items(&world).await;
        world.clock.advance(Duration::from_secs(1));
        let properties = resolved(&document, schema)["properties"].as_object().unwrap();
        let same = properties.keys().map(|name| (name.clone(), before.body[name].clone()));
        let same = same.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>();
        assert!(!same.is_empty(), "{route}: {before:?}");
        for body in [json!({}), json!(same)] {
            let patched = actor.send(estate.request_with(&route, &body)).await;
            let after = actor.get(&read).await;
            for answer in [patched, after] {
                assert_eq!((answer.status, &answer.body), (before.status, &before.body), "{route} {body}");
                // A weak tag is that of a read.
                let strong =
                    |answer: &Answer| answer.headers.get("etag").filter(|tag| tag.as_bytes()[0] == b'"').cloned();
                assert_eq!(strong(&answer), strong(&before), "{route} {body}");
            }
            assert_eq!(estate.items(&world).await, stored, "{route} {body}");
        }
        // The same request writes when it changes something.
        let patched = actor.send(estate.request_with(&route, &estate.changing(&route, &before.body))).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        assert_ne!(estate.items(&world).await, stored, "{route}");
    }
    assert!(patches >= 4, "{patches} endpoints take a PATCH");
}

#[tokio::test]
async fn a_parameter_that_its_schema_excludes_is_refused_by_its_name() {
    let world = World::start().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let document = document();
    let mut parameters = 0;
    for (route, operation) in operations(&document) {
        let path = estate.path(&route);
        for (name, parameter) in in_query(operation) {
            let texts = excluded(&document, &parameter["schema"]).into_iter().filter_map(|value| match value {
                Value::String(text) => Some(text),
                Value::Number(number) if resolved(&document, &parameter["schema"])["type"] == "integer" => {
                    Some(number.to_string())
                }
                _ => None,
            });
            for text in texts {
                parameters += 1;
                let method = route.split(' ').next().unwrap().parse().unwrap();
                let answer = estate.owner.send(estate.owner.request(method, &format!("{path}?{name}={text}"))).await;
                refused_because_of(&answer, name, &format!("{route} with {name}={text}"));
            }
        }
    }
    assert!(parameters > 10, "{parameters} parameters exclude a value");
}
