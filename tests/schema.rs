//! Compares the items that the API writes with `SCHEMA`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::json;
use shared::id::{
    AccountId, AuditEventId, ConnectionId, DeliveryId, DeploymentId, HookId, InvitationId, RepositoryId, SessionId,
    TeamId, TokenId, TrustId, UserId, WebhookId,
};
use shared::model::{
    BuildCache, BuildCaches, BuildLogPlace, CacheKeys, CacheScope, Due, Environment, ItemKind, LogBatch, Presence,
    Results, SCHEMA, Status, Terms,
};
use shared::table::{Index, Item, Source};
use tests::estate::Estate;
use tests::git_server::{GitServer, Reply};
use tests::{GitRepository, World, eventually};

use crate::statuses::git_host::GitHost;
use crate::statuses::{by_hand, connect, message};
use crate::webhooks::receiver::Receiver;

/// The attribute that DynamoDB's TTL reads.
const EXPIRY: &str = "expires_at";

/// The texts that stand in an item's keys for the placeholders of its patterns.
type Parts = BTreeMap<&'static str, String>;

/// A kind of item, an attribute, and whether an item of the kind has the attribute.
type Fact = (&'static str, &'static str, bool);

#[tokio::test]
async fn each_item_has_the_keys_and_attributes_of_its_kind() {
    let source = GitRepository::with_commands(&["true"]);
    let world = filled(&source).await;
    let mut facts = BTreeSet::new();
    for item in items(&world).await {
        let (kind, mut parts) = kind_of(&item);
        for index in indexes() {
            let (partition, sort) = index.key_attributes();
            let keys = (text(&item, partition), text(&item, sort));
            assert_eq!(keys.0.is_some(), keys.1.is_some(), "a key of {} is missing: {item:?}", index.name());
            if let (Some(partition), Some(sort)) = keys {
                let entry = kind.indexes.iter().find(|entry| entry.index.name() == index.name());
                let entry =
                    entry.unwrap_or_else(|| panic!("{} is in no entry of {}: {item:?}", index.name(), kind.name));
                assert!(fits(entry.partition, partition, &mut parts), "{partition} is not {}", entry.partition);
                assert!(fits(entry.sort, sort, &mut parts), "{sort} is not {}", entry.sort);
            }
            facts.insert((kind.name, partition, item.contains_key(partition)));
        }
        facts.insert((kind.name, EXPIRY, item.contains_key(EXPIRY)));
    }
    let expected: BTreeSet<Fact> = SCHEMA.iter().flat_map(expected).collect();
    let wrong: Vec<_> = facts.difference(&expected).collect();
    assert!(wrong.is_empty(), "items differ from the schema: {wrong:?}");
    let unmet: Vec<_> = expected.difference(&facts).collect();
    assert!(unmet.is_empty(), "the schema has what no item shows: {unmet:?}");
}

#[test]
fn a_kind_has_a_name_of_its_own_and_one_entry_in_each_index() {
    let names: BTreeSet<_> = SCHEMA.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), SCHEMA.len());
    for kind in SCHEMA {
        let indexes: BTreeSet<_> = kind.indexes.iter().map(|entry| entry.index.name()).collect();
        assert_eq!(indexes.len(), kind.indexes.len(), "{}", kind.name);
    }
}

/// Starts a stack whose table has items of every kind, in every form that the schema distinguishes.
async fn filled(source: &GitRepository) -> World {
    let world = World::start_with(by_hand).await;
    let issuer = &world.issuer;
    let estate = Estate::new(&world, "acme", source).await;
    estate.program(&world).await;
    let Estate { owner, parameters, .. } = estate;
    let repository = &parameters["repo_name"];

    // A public repository beside the private one, one that uses a connection, and a token that expires beside permanent ones.
    let public = json!({"name": "public", "clone_url": source.url(), "visibility": "public"});
    assert_eq!(owner.post("/v1/repositories", public).await.status, 201);
    let server = GitServer::replying(source, |_| Reply::Git).await;
    let connection = owner.connection(&server.host(), "deploy-bot", "hunter2").await;
    let connected =
        json!({"name": "connected", "clone_url": server.url("/app.git"), "connection_id": connection["id"]});
    assert_eq!(owner.post("/v1/repositories", connected).await.status, 201);
    let account = owner.account_id.as_ref().unwrap();
    assert_eq!(world.stack.app().limiter().count_slow_look_up(account).await, None);
    let token = json!({"name": "ci", "scopes": ["deployments:read"], "expires_in_days": 7});
    assert_eq!(owner.post("/v1/tokens", token).await.status, 201);

    // A deployment in progress, one that has ended, and one that is queued and has variables and an idempotency key.
    let running = world.lose_a_runner(&owner, &json!({"id": parameters["deployment_id"]})).await;
    let results = Results { outputs: [("VERSION".to_owned(), "1".to_owned())].into(), ..Results::default() };
    let running = running.with_results(world.stack.app().table(), &results).await.unwrap();
    let batch = LogBatch { first: "1".to_owned(), last: "2".to_owned(), after: 0, head_bytes: 0 };
    let log = BuildLogPlace::after(0).with(batch, 2, 20, Vec::new());
    assert!(log.store(world.stack.app().table(), &running).await.unwrap());
    let canceled = owner.deploy(repository, json!({"ref": "main", "environment": "staging"})).await;
    assert_eq!(owner.act(&canceled, "cancel", json!({})).await.status, 200);
    let succeeded = owner.deploy(repository, json!({"ref": "main", "environment": "staging"})).await;
    world.deliver(&owner, &succeeded).await;
    assert_eq!(owner.ended(&succeeded).await["status"], "succeeded");
    let scope = CacheScope::of(&running).unwrap();
    let keys = CacheKeys { paths: "", key: "npm", fallbacks: &[] };
    let cache = BuildCache::new(keys, 1, world.clock.now());
    BuildCaches::save(None, world.stack.app().table(), &running, &scope, cache).await.unwrap().unwrap();
    let body = json!({"ref": "main", "environment": "production", "variables": {"A": "1"}});
    let request = owner.request(Method::POST, &format!("/v1/repositories/{repository}/deployments"));
    let created = owner.send(request.header("idempotency-key", "k1").json(&body)).await;
    assert_eq!(created.status, 201, "{created:?}");
    owner.set(repository, "production", json!({"frozen": true})).await;

    // A pattern, a member of it, and an environment that was deleted after a deployment to it.
    let environments = format!("/v1/repositories/{repository}/environments");
    for name in ["review-*", "qa", "gated"] {
        assert_eq!(owner.post(&environments, json!({"name": name})).await.status, 201);
    }
    let review = owner.deploy(repository, json!({"ref": "main", "environment": "review-*"})).await;
    assert_eq!(review["environment"], "review-main");
    // A deployment that waits for it.
    owner.set(repository, "gated", json!({"requires": ["review-main"]})).await;
    owner.deploy(repository, json!({"ref": "main", "environment": "gated"})).await;
    let canceled = owner.deploy(repository, json!({"ref": "main", "environment": "qa"})).await;
    assert_eq!(owner.act(&canceled, "cancel", json!({})).await.status, 200);
    assert_eq!(owner.delete(&format!("{environments}/qa")).await.status, 200);
    // Variables of each scope, which a deployment has.
    for place in [
        "account".to_owned(),
        format!("repositories/{repository}"),
        format!("repositories/{repository}/environments/staging"),
    ] {
        let set = owner.put(&format!("/v1/{place}/variables/A"), json!({"value": "1", "secret": true})).await;
        assert_eq!(set.status, 200, "{set:?}");
    }
    owner.deploy(repository, json!({"ref": "main", "environment": "staging"})).await;

    // A name that a repository had, and a deletion that waits for a build to stop.
    assert_eq!(owner.patch("/v1/repositories/public", json!({"name": "renamed"})).await.status, 200);
    owner.repository("gone", source).await;
    let running = owner.deploy("gone", json!({"ref": "main"})).await;
    world.lose_a_runner(&owner, &running).await;
    assert_eq!(owner.delete("/v1/repositories/gone").await.status, 200);
    // A push that was deployed, and one that waits because the git host can't be read.
    let rules = json!([{"refs": ["main"], "environment": "preview"}]);
    let new = json!({"name": "pushed", "clone_url": source.url(), "deploy_rules": rules});
    let pushed = owner.post("/v1/repositories", new).await.body;
    let hook = owner.post("/v1/repositories/pushed/hooks", json!({"provider": "gitlab"})).await.body;
    for outcome in ["deployed", "queued"] {
        let push = json!({"object_kind": "push", "ref": "refs/heads/main", "after": "1".repeat(40)});
        let request = world.anonymous().request(Method::POST, hook["url"].as_str().unwrap());
        let request =
            request.header("x-gitlab-event", "Push Hook").header("x-gitlab-token", hook["secret"].as_str().unwrap());
        let sent = owner.send(request.json(&push)).await;
        assert_eq!(sent.status, 202, "{sent:?}");
        let path = format!("/v1/repositories/pushed/hooks/{}/deliveries", hook["id"].as_str().unwrap());
        eventually("the attempt at the delivery", async || {
            let deliveries = owner.get(&path).await.body;
            let newest = deliveries["data"].as_array().unwrap().iter().find(|found| found["id"] == sent.body["id"]);
            let (outcome, reason) = (outcome, newest.unwrap()["reason"].as_str().unwrap());
            (newest.unwrap()["outcome"] == outcome && !reason.ends_with("waits to be handled")).then_some(())
        })
        .await;
        let row = format!("REPO#{}", pushed["id"].as_str().unwrap());
        let down = AttributeValue::S("http://127.0.0.1:1/acme/app.git".to_owned());
        let account = format!("ACCT#{}", owner.account_id.as_ref().unwrap());
        world.set_attribute((&account, &row), "clone_url", down).await;
    }

    // An email domain, an identity that it links, both rate limits of an account and of a source address, and the recount.
    let event = json!({
        "account": "other", "plan": "pro", "owner_email": "owner@acme.example", "email_domains": ["acme.example"],
    });
    world.bootstrapped(event).await;
    let ada = world.anonymous().holding(&issuer.token(&issuer.claims("ada", world.clock.now())));
    let joined = ada.post("/v1/user/join", json!({})).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    world.anonymous().get("/v1/user").await.refused(401, "missing_token");
    assert_eq!(owner.get("/v1/rate_limit").await.status, 200);
    assert_eq!(owner.get_unless("/v1/account", "*").await.status, 304);
    world.sweep().await.unwrap();

    // A deployment that waits for a permit.
    owner.repository("full", source).await;
    let waiting = owner.deploy("full", json!({"ref": "main"})).await;
    let (stored, terms) = (world.stored(&owner, &waiting).await, Terms { builds: 0, ..world.terms() });
    let turn = stored.claim_next_in_lane(world.stack.app().table(), terms, world.clock.now()).await.unwrap();
    assert!(turn.into_claimed().is_none());

    // The status of a commit that its git host was told, and one that it was not.
    let host = GitHost::start("github", source).await;
    connect(&owner, &host, "hosted").await;
    let told = owner.deploy("hosted", json!({"ref": "main", "environment": "staging"})).await;
    owner.deploy("hosted", json!({"ref": "main", "environment": "production"})).await;
    let reporter = world.stack.environment().report_status().unwrap();
    reporter.invoke(json!({"Records": [message(&owner, &told)]})).await.unwrap();
    assert_eq!(host.states(), ["pending"]);

    // A delivery to a webhook that is pending, one that was sent, and the lease of the function that sent it.
    let sender = world.stack.environment().send_webhooks().unwrap();
    let receiver = Receiver::start().await;
    let new = json!({"name": "Board", "url": receiver.url("/"), "events": ["webhook.tested"]});
    let webhook = owner.post("/v1/webhooks", new).await.body;
    let (account_id, webhook_id) = (&owner.account_id, &webhook["id"]);
    let tested = owner.post(&format!("/v1/webhooks/{}/test", webhook_id.as_str().unwrap()), json!({})).await;
    assert_eq!(tested.status, 202, "{tested:?}");
    let message =
        json!({"send": {"account_id": account_id, "webhook_id": webhook_id, "deliveries": [tested.body["id"]]}});
    sender.invoke(json!({"Records": [{"messageId": "m", "body": message.to_string()}]})).await.unwrap();
    eventually("the message", async || (!receiver.received().is_empty()).then_some(())).await;
    let delivered = format!("/v1/webhooks/{}/deliveries?status=succeeded", webhook_id.as_str().unwrap());
    let is_there = async || {
        let found = owner.get(&delivered).await.body;
        (!found["data"].as_array().unwrap().is_empty()).then_some(())
    };
    eventually("the delivery", is_there).await;
    world
}

async fn items(world: &World) -> Vec<Item> {
    let table = world.stack.app().table();
    let mut scanned = table.client().scan().table_name(table.name()).into_paginator().items().send();
    let mut items = Vec::new();
    while let Some(item) = scanned.try_next().await.unwrap() {
        items.push(item);
    }
    items
}

/// Returns the one kind whose patterns an item's keys have.
fn kind_of(item: &Item) -> (&'static ItemKind, Parts) {
    let (pk, sk) = (text(item, "pk").unwrap(), text(item, "sk").unwrap());
    let mut kinds: Vec<_> = SCHEMA
        .iter()
        .filter_map(|kind| {
            let mut parts = Parts::new();
            (fits(kind.pk, pk, &mut parts) && fits(kind.sk, sk, &mut parts)).then_some((kind, parts))
        })
        .collect();
    let names: Vec<_> = kinds.iter().map(|(kind, _)| kind.name).collect();
    assert_eq!(names.len(), 1, "{pk} {sk} is of the kinds {names:?}");
    kinds.remove(0)
}

/// Returns the facts that the items of a kind show together.
fn expected(kind: &'static ItemKind) -> Vec<Fact> {
    let indexed = indexes().map(|index| {
        let entry = kind.indexes.iter().find(|entry| entry.index.name() == index.name());
        (index.key_attributes().0, entry.map_or(Presence::Never, |entry| entry.presence))
    });
    let facts = |(attribute, presence): (&'static str, Presence)| {
        let present = match presence {
            Presence::Never => vec![false],
            Presence::Always => vec![true],
            Presence::If(_) => vec![false, true],
        };
        present.into_iter().map(move |present| (kind.name, attribute, present))
    };
    indexed.chain([(EXPIRY, kind.expiry)]).flat_map(facts).collect()
}

/// Returns each global secondary index once.
fn indexes() -> impl Iterator<Item = Index> {
    Source::ALL.into_iter().filter_map(|source| match source {
        Source::Table => None,
        Source::Index(index) => Some(index),
    })
}

fn text<'a>(item: &'a Item, attribute: &str) -> Option<&'a str> {
    item.get(attribute).map(|value| value.as_s().unwrap().as_str())
}

/// Matches a key with a pattern and keeps the texts of the placeholders. A placeholder has the same text in all keys of an
/// item.
fn fits(pattern: &'static str, key: &str, parts: &mut Parts) -> bool {
    let patterns: Vec<_> = pattern.split('#').collect();
    // Only the last part may contain a `#`.
    let texts: Vec<_> = key.splitn(patterns.len(), '#').collect();
    patterns.len() == texts.len()
        && patterns.into_iter().zip(texts).all(|(pattern, text)| {
            match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                None => pattern == text,
                Some(name) => is(name, text) && *parts.entry(name).or_insert_with(|| text.to_owned()) == *text,
            }
        })
}

/// Says whether a text can stand for a placeholder.
fn is(placeholder: &str, text: &str) -> bool {
    let digits = |lengths: &[usize]| lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let environment = |text: &str| text.parse::<Environment>().is_ok();
    match placeholder {
        "account" => text.parse::<AccountId>().is_ok(),
        "user" => text.parse::<UserId>().is_ok(),
        "token" => text.parse::<TokenId>().is_ok(),
        "connection" => text.parse::<ConnectionId>().is_ok(),
        "trust" => text.parse::<TrustId>().is_ok(),
        "invitation" => text.parse::<InvitationId>().is_ok(),
        "session" => text.parse::<SessionId>().is_ok(),
        "holder" => text.parse::<UserId>().is_ok() || is("sha256", text),
        "team" => text.parse::<TeamId>().is_ok(),
        "hook" => text.parse::<HookId>().is_ok(),
        "webhook" => text.parse::<WebhookId>().is_ok(),
        "delivery" => text.parse::<DeliveryId>().is_ok(),
        "repository" => text.parse::<RepositoryId>().is_ok(),
        "deployment" => text.parse::<DeploymentId>().is_ok(),
        "event" => text.parse::<AuditEventId>().is_ok(),
        "actor" => text.parse::<UserId>().is_ok(),
        "target" => !text.is_empty(),
        "address" => text.parse::<IpAddr>().is_ok(),
        "sha" => text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "sha256" => text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "environment" => environment(text),
        "status" => Status::ALL.iter().any(|status| status.as_str() == text),
        "lane" => text.starts_with("preview#") || (text != "preview" && environment(text)),
        "number" => digits(&[6, 12]),
        "attempt" => text.parse::<u32>().is_ok(),
        "created" | "updated" | "added" | "received" | "due" => digits(&[15]),
        "month" => text.split_once('-').is_some_and(|(year, month)| year.len() == 4 && month.len() == 2),
        "shard" => text.parse().is_ok_and(|shard: u8| shard < Due::SHARDS),
        "slug" | "domain" | "email" | "client" | "name" | "ref" => !text.is_empty(),
        other => panic!("infra/docs/table.md explains no placeholder {other}"),
    }
}
