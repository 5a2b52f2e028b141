mod last_use;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::model::Role;
use shared::token::{TokenHash, TokenSecret};
use tests::{Actor, Answer, NOON, World, eventually};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The maximum age of a cached token.
const CACHE: Duration = Duration::from_secs(30);

/// Creates a token, which must be accepted. Returns it and a caller that holds it.
async fn make(actor: &Actor, body: Value) -> (Value, Actor) {
    let created = actor.post("/v1/tokens", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let holder = actor.holding(created.body["token"].as_str().unwrap());
    (created.body, holder)
}

fn path(token: &Value) -> String {
    format!("/v1/tokens/{}", token["id"].as_str().unwrap())
}

async fn rotate(actor: &Actor, token: &Value, body: Value) -> (Value, Actor) {
    let rotated = actor.post(&format!("{}/rotate", path(token)), body).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let holder = actor.holding(rotated.body["token"].as_str().unwrap());
    (rotated.body, holder)
}

/// Returns the names on a page whose tokens were created in the same millisecond.
fn names(page: &Answer) -> Vec<String> {
    let mut names = page.column("name");
    names.sort_unstable();
    names
}

fn hash(actor: &Actor) -> TokenHash {
    actor.token.as_ref().unwrap().parse::<TokenSecret>().unwrap().hash()
}

/// Returns an attribute of the row of a secret.
async fn secret_row(world: &World, holder: &Actor, attribute: &str) -> Option<AttributeValue> {
    let table = world.stack.app().table();
    let key = |text: String| AttributeValue::S(text);
    let get = table.client().get_item().table_name(table.name()).key("pk", key(format!("TOKEN#{}", hash(holder))));
    let found = get.key("sk", key("TOKEN".to_owned())).send().await.unwrap();
    found.item.expect("the row is there").remove(attribute)
}

#[tokio::test]
async fn a_new_token_works_and_its_secret_is_shown_this_once() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let body = json!({"name": "ci", "scopes": ["deployments:read", "repositories:read", "deployments:read"]});
    let created = owner.post("/v1/tokens", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let mut token = created.body.clone();
    assert_eq!(created.header("location"), format!("{}{}", world.stack.url(), path(&token)));
    let secret = token.as_object_mut().unwrap().remove("token").unwrap();
    let secret = secret.as_str().unwrap();
    let expected = json!({
        "id": token["id"], "name": "ci", "user_id": owner.user_id.as_ref().unwrap().as_str(),
        "prefix": "dgp_", "last_four": secret[36..], "scopes": ["repositories:read", "deployments:read"],
        "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z",
        "expires_at": "2026-04-01T12:00:00Z", "last_used_at": null,
    });
    assert_eq!(token, expected);
    assert_eq!(owner.get(&path(&token)).await.body, expected);
    let listed = owner.get("/v1/tokens").await;
    assert_eq!(names(&listed), ["bootstrap", "ci"]);
    assert_eq!(listed.body["meta"]["total"], 2);
    assert!(listed.body["data"].as_array().unwrap().contains(&expected));

    let ci = owner.holding(secret);
    assert_eq!(ci.get("/v1/repositories").await.status, 200);
    ci.get("/v1/tokens").await.refused(403, "insufficient_scope");
    let table = world.stack.app().table();
    let stored = format!("{:?}", table.client().scan().table_name(table.name()).send().await.unwrap().items());
    assert!(stored.contains(&hash(&ci).to_string()) && !stored.contains(&secret[4..34]), "only its hash is kept");
}

#[tokio::test]
async fn nobody_gives_a_token_more_than_they_have() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let scopes = vec![Scope::TokensWrite, Scope::TokensRead, Scope::RepositoriesRead];
    let weak = world.with_token(&owner, |token| token.scopes = scopes).await;
    let new = json!({"name": "more", "scopes": ["repositories:read", "repositories:write"]});
    let refused = weak.post("/v1/tokens", new).await;
    refused.refused(403, "insufficient_scope");
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"repositories:write\"";
    assert_eq!(refused.header("www-authenticate"), challenge);

    let (strong, _) = make(&owner, json!({"name": "strong", "scopes": Scope::ALL.map(Scope::as_str)})).await;
    let before = owner.get(&path(&strong)).await.body;
    weak.patch(&path(&strong), json!({"scopes": ["account:write"]})).await.refused(403, "insufficient_scope");
    weak.post(&format!("{}/rotate", path(&strong)), json!({})).await.refused(403, "insufficient_scope");
    assert_eq!(owner.get(&path(&strong)).await.body, before);
    assert_eq!(weak.get("/v1/tokens").await.body["meta"]["total"], 3);

    // Granting fewer scopes and removing scopes are allowed.
    let (less, holder) = make(&weak, json!({"name": "less", "scopes": ["repositories:read"]})).await;
    assert_eq!(holder.get("/v1/repositories").await.status, 200);
    rotate(&weak, &less, json!({})).await;
    assert_eq!(weak.patch(&path(&strong), json!({"scopes": ["tokens:read"]})).await.status, 200);
    assert_eq!(weak.delete(&path(&strong)).await.status, 200);
}

#[tokio::test]
async fn what_a_token_is_made_from_is_checked() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let new = |field: &str, value: Value| {
        let mut body = json!({"name": "ci", "scopes": ["tokens:read"]});
        body[field] = value;
        body
    };
    let days = "must be a whole number from 1 to 365";
    let name = "must be 1 to 100 characters, without surrounding spaces and without characters that can't be seen, such as \
                control and zero-width characters";
    for (field, value, message) in [
        ("name", json!(""), name),
        ("name", json!(" ci"), name),
        ("name", json!("c\ni"), name),
        ("name", json!("c\u{200b}i"), name),
        ("name", json!("c\u{202e}i"), name),
        ("name", json!("\u{3164}"), name),
        ("name", json!("é".repeat(101)), name),
        ("name", json!(1), "must be a string"),
        ("scopes", json!([]), "must have at least one entry"),
        ("scopes", json!("tokens:read"), "must be an array"),
        ("expires_in_days", json!(0), days),
        ("expires_in_days", json!(366), days),
        ("expires_in_days", json!(1.5), days),
        ("expires_in_days", json!("30"), days),
        ("expires_in_days", json!(-1), days),
        ("permanent", json!("yes"), "must be a boolean"),
    ] {
        let refused = owner.post("/v1/tokens", new(field, value.clone())).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"], json!([{"field": field, "message": message}]), "{value}");
    }
    let refused = owner.post("/v1/tokens", new("scopes", json!(["everything"]))).await;
    assert_eq!(refused.refused(400, "invalid_request").body["error"]["details"][0]["field"], "scopes[0]");
    let both = json!({"name": "ci", "scopes": ["tokens:read"], "expires_in_days": 1, "permanent": true});
    owner.post("/v1/tokens", both).await.refused(400, "invalid_request");
    owner.post("/v1/tokens", new("user_id", json!("user_aaaaaaaaaaaaaaaa"))).await.refused(400, "invalid_request");
    assert_eq!(owner.get("/v1/tokens").await.body["meta"]["total"], 1, "what was refused left nothing behind");

    for (field, value, expires_at) in [
        ("expires_in_days", json!(1), json!("2026-01-02T12:00:00Z")),
        ("expires_in_days", json!(365), json!("2027-01-01T12:00:00Z")),
        ("permanent", json!(true), Value::Null),
        ("permanent", json!(false), json!("2026-04-01T12:00:00Z")),
        ("name", json!("é".repeat(100)), json!("2026-04-01T12:00:00Z")),
    ] {
        let (created, _) = make(&owner, new(field, value)).await;
        assert_eq!(created["expires_at"], expires_at, "{field}");
    }
}

#[tokio::test]
async fn an_account_can_forbid_permanent_tokens() {
    let world = World::start().await;
    let event = json!({
        "account": "strict", "plan": "pro", "owner_email": "owner@example.com", "permanent_tokens": false,
    });
    let created = world.stack.bootstrap(event).await.unwrap();
    let owner = world.anonymous().holding(created["token"].as_str().unwrap());
    let new = |permanent: bool| json!({"name": "ci", "scopes": ["tokens:read"], "permanent": permanent});
    owner.post("/v1/tokens", new(true)).await.refused(403, "insufficient_permission");
    let (token, _) = make(&owner, new(false)).await;
    let rotation = format!("{}/rotate", path(&token));
    owner.post(&rotation, json!({"permanent": true})).await.refused(403, "insufficient_permission");
    assert_eq!(owner.get(&path(&token)).await.body["expires_at"], "2026-04-01T12:00:00Z");
}

/// A permanent token outlives its user's account at the identity provider.
#[tokio::test]
async fn an_account_with_sign_in_allows_permanent_tokens_only_if_somebody_says_so() {
    let world = World::start().await;
    for (slug, said, allowed) in [("unsaid", None, false), ("refused", Some(false), false), ("said", Some(true), true)]
    {
        let mut event = json!({
            "account": slug, "plan": "pro", "owner_email": "owner@example.com", "email_domains": [format!("{slug}.example")],
        });
        if let Some(said) = said {
            event["permanent_tokens"] = json!(said);
        }
        let owner = world.bootstrapped(event).await;
        assert_eq!(owner.get("/v1/account").await.body["permanent_tokens"], allowed, "{slug}");
        let new = json!({"name": "ci", "scopes": ["tokens:read"], "permanent": true});
        let made = owner.post("/v1/tokens", new).await;
        assert_eq!(made.status, if allowed { 201 } else { 403 }, "{made:?}");
    }
    let without = world.owner("without").await;
    assert_eq!(without.get("/v1/account").await.body["permanent_tokens"], true);
}

#[tokio::test]
async fn a_user_has_their_own_tokens_and_who_oversees_them_sees_and_revokes_all() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (admin, member) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    let mut made = Vec::new();
    for (at, actor) in [&owner, &member, &admin, &member, &owner].into_iter().enumerate() {
        world.clock.advance(Duration::from_secs(1));
        made.push(make(actor, json!({"name": format!("token-{at}"), "scopes": ["tokens:read"]})).await);
    }
    let made_names = |page: &Answer| {
        let names = page.column("name").into_iter();
        names.filter(|name| name.starts_with("token-")).collect::<Vec<_>>()
    };
    for (actor, own) in
        [(&owner, &["token-4", "token-0"][..]), (&member, &["token-3", "token-1"]), (&admin, &["token-2"])]
    {
        for query in ["", "?user=me"] {
            let page = actor.get(&format!("/v1/tokens{query}")).await;
            assert_eq!(made_names(&page), own);
            assert_eq!(page.body["meta"]["total"], own.len() + 1, "and the one that the request has");
        }
    }
    member.get("/v1/tokens?user=all").await.refused(403, "insufficient_permission");
    member.get("/v1/tokens?user=nobody").await.refused(400, "invalid_request");
    for actor in [&owner, &admin] {
        let mut seen = Vec::new();
        let mut next = Some("/v1/tokens?user=all&per_page=3".to_owned());
        while let Some(path) = next {
            let page = actor.get(&path).await;
            assert_eq!(page.body["meta"]["total"], 8);
            seen.extend(page.column("name"));
            next = page.link("next");
        }
        assert_eq!(seen[..5], ["token-4", "token-3", "token-2", "token-1", "token-0"]);
        assert_eq!(seen.len(), 8);
    }

    let ((of_owner, _), (of_member, members_program)) = (&made[0], &made[1]);
    for (method, path) in [("GET", path(of_owner)), ("PATCH", path(of_owner)), ("DELETE", path(of_owner))] {
        let request = member.request(method.parse().unwrap(), &path).json(&json!({}));
        member.send(request).await.refused(404, "not_found");
    }
    member.post(&format!("{}/rotate", path(of_owner)), json!({})).await.refused(404, "not_found");
    for actor in [&owner, &admin] {
        assert_eq!(actor.get(&path(of_member)).await.body["name"], "token-1");
        actor.patch(&path(of_member), json!({"name": "x"})).await.refused(403, "insufficient_permission");
        actor.post(&format!("{}/rotate", path(of_member)), json!({})).await.refused(403, "insufficient_permission");
    }
    assert_eq!(members_program.get("/v1/tokens").await.status, 200);
    assert_eq!(admin.delete(&path(of_member)).await.status, 200);
    world.clock.advance(CACHE);
    members_program.get("/v1/tokens").await.refused(401, "token_revoked");
    assert_eq!(made_names(&member.get("/v1/tokens").await), ["token-3"]);
    assert_eq!(owner.get("/v1/tokens?user=all").await.body["meta"]["total"], 7);
}

#[tokio::test]
async fn a_change_of_a_token_takes_effect_within_30_seconds() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, holder) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read", "tokens:read"]})).await;
    assert_eq!(holder.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_secs(5));

    let changed = owner.patch(&path(&token), json!({"scopes": ["tokens:read"]})).await;
    assert_eq!(changed.body["scopes"], json!(["tokens:read"]));
    assert_eq!(changed.body["updated_at"], "2026-01-01T12:00:05Z");
    let changed = owner.patch(&path(&token), json!({"name": "other"})).await;
    assert_eq!((&changed.body["name"], &changed.body["scopes"]), (&json!("other"), &json!(["tokens:read"])));
    assert_eq!(owner.get(&path(&token)).await.body["name"], "other");
    assert_eq!(names(&owner.get("/v1/tokens").await), ["bootstrap", "other"]);

    world.clock.advance(CACHE);
    holder.get("/v1/repositories").await.refused(403, "insufficient_scope");
    assert_eq!(holder.get("/v1/tokens").await.status, 200);
    for body in [json!({"scopes": []}), json!({"name": ""}), json!({"expires_in_days": 1}), json!({"name": 1})] {
        owner.patch(&path(&token), body).await.refused(400, "invalid_request");
    }
    assert_eq!(owner.patch(&path(&token), json!({})).await.body["name"], "other");
}

#[tokio::test]
async fn a_rotated_secret_lives_on_for_the_overlap() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, first) =
        make(&owner, json!({"name": "ci", "scopes": ["repositories:read"], "expires_in_days": 30})).await;
    world.clock.advance(10 * DAY);

    let (rotated, second) = rotate(&owner, &token, json!({})).await;
    assert_eq!(
        (&rotated["id"], &rotated["expires_at"]),
        (&token["id"], &json!("2026-02-10T12:00:00Z")),
        "30 days again"
    );
    assert_eq!(rotated["last_four"], second.token.as_ref().unwrap()[36..]);
    let answer = first.get("/v1/repositories").await;
    assert_eq!((answer.status, answer.header("x-token-expires-at")), (200, "2026-01-12T12:00:00Z"));
    assert!(!answer.header("link").contains("rotate"), "it has been: {answer:?}");
    world.clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(first.get("/v1/repositories").await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    let over = first.get("/v1/repositories").await;
    let message = &over.refused(401, "token_rotated").body["error"]["message"];
    assert_eq!(message, "The token was rotated and stopped working at 2026-01-12T12:00:00Z");
    assert_eq!(second.get("/v1/repositories").await.status, 200);

    let (rotated, third) = rotate(&owner, &token, json!({"overlap_hours": 168, "expires_in_days": 7})).await;
    assert_eq!(rotated["expires_at"], "2026-01-19T12:00:00Z");
    let (_, fourth) = rotate(&owner, &token, json!({"overlap_hours": 0, "permanent": true})).await;
    world.clock.advance(CACHE);
    third.get("/v1/repositories").await.refused(401, "token_rotated");
    assert_eq!(second.get("/v1/repositories").await.status, 200, "its overlap is its own");
    assert!(fourth.get("/v1/repositories").await.headers.get("x-token-expires-at").is_none());
    for body in [json!({"overlap_hours": 169}), json!({"overlap_hours": -1}), json!({"expires_in_days": 0})] {
        owner.post(&format!("{}/rotate", path(&token)), body).await.refused(400, "invalid_request");
    }
    // A change also applies to the old secrets.
    assert_eq!(owner.patch(&path(&token), json!({"scopes": ["tokens:read"]})).await.status, 200);
    world.clock.advance(CACHE);
    for holder in [&second, &fourth] {
        holder.get("/v1/repositories").await.refused(403, "insufficient_scope");
        assert_eq!(holder.get("/v1/tokens").await.status, 200);
    }
    let page = owner.get("/v1/tokens").await;
    assert_eq!(names(&page), ["bootstrap", "ci"]);
    assert_eq!(page.body["meta"]["total"], 2);
}

#[tokio::test]
async fn a_token_has_ten_old_secrets_at_most() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, first) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read"]})).await;
    let mut holders = vec![first];
    for _ in 0..11 {
        holders.push(rotate(&owner, &token, json!({"overlap_hours": 168})).await.1);
    }
    for (at, holder) in holders.iter().enumerate() {
        let answer = holder.get("/v1/repositories").await;
        if at == 0 {
            answer.refused(401, "token_rotated");
        } else {
            assert_eq!(answer.status, 200, "secret {at}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_says_so_for_90_days() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, old) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read"], "permanent": true})).await;
    let (_, new) = rotate(&owner, &token, json!({"overlap_hours": 168})).await;
    for holder in [&old, &new] {
        assert_eq!(holder.get("/v1/repositories").await.status, 200);
    }
    assert_eq!(secret_row(&world, &new, "expires_at").await, None, "a permanent token is not forgotten");
    let deleted = owner.delete(&path(&token)).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"id": token["id"], "deleted": true})));
    deleted.rate_limit();
    owner.get(&path(&token)).await.refused(404, "not_found");
    owner.delete(&path(&token)).await.refused(404, "not_found");
    owner.post(&format!("{}/rotate", path(&token)), json!({})).await.refused(404, "not_found");
    assert_eq!(owner.get("/v1/tokens").await.body["meta"]["total"], 1);
    assert_eq!(owner.get("/v1/tokens?user=all").await.body["meta"]["total"], 1);

    // A function that has not cached the token refuses it at once. A function that has refuses it when the cache
    // expires.
    new.get("/v1/rate_limit").await.refused(401, "token_revoked");
    world.clock.advance(CACHE - Duration::from_millis(1));
    assert_eq!(new.get("/v1/repositories").await.status, 200, "this function remembers the token");
    world.clock.advance(Duration::from_millis(1));
    let in_90_days = (NOON.plus(90 * DAY)).as_seconds().to_string();
    for holder in [&old, &new] {
        holder.get("/v1/repositories").await.refused(401, "token_revoked");
        assert_eq!(secret_row(&world, holder, "expires_at").await, Some(AttributeValue::N(in_90_days.clone())));
    }
}

#[tokio::test]
async fn an_expired_token_says_so_for_90_days() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let body = json!({"name": "ci", "scopes": ["repositories:read"], "expires_in_days": 1});
    let (token, holder) = make(&owner, body).await;
    world.clock.advance(DAY);
    let expired = holder.get("/v1/repositories").await;
    assert_eq!(expired.refused(401, "token_expired").header("x-token-expires-at"), "2026-01-02T12:00:00Z");
    let deletable_at = NOON.plus(91 * DAY).as_seconds().to_string();
    assert_eq!(secret_row(&world, &holder, "expires_at").await, Some(AttributeValue::N(deletable_at)));
    assert_eq!(owner.get(&path(&token)).await.body["expires_at"], "2026-01-02T12:00:00Z", "it is still listed");
    let (_, renewed) = rotate(&owner, &token, json!({})).await;
    assert_eq!(renewed.get("/v1/repositories").await.header("x-token-expires-at"), "2026-01-03T12:00:00Z");
    world.clock.advance(CACHE);
    holder.get("/v1/repositories").await.refused(401, "token_expired");
}

#[tokio::test]
async fn each_answer_says_when_the_token_expires_and_in_time_where_to_rotate_it() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, holder) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read"]})).await;
    let rotation = format!("<{}/rotate>; rel=\"rotate\"", path(&token));
    let calls = [
        ("GET", "/v1/repositories", 200),
        ("GET", "/v1/repositories/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/tokens", 403),
        ("POST", "/v1/repositories", 403),
        ("GET", "/v1/rate_limit", 200),
    ];
    let links = |answer: &Answer| answer.headers.get("link").map(|links| links.to_str().unwrap().to_owned());
    world.clock.advance(76 * DAY);
    for (method, path, status) in calls {
        let answer = holder.send(holder.request(method.parse().unwrap(), path)).await;
        assert_eq!((answer.status, answer.header("x-token-expires-at")), (status, "2026-04-01T12:00:00Z"), "{path}");
        assert!(links(&answer).is_none_or(|links| !links.contains("rotate")), "14 days are left: {answer:?}");
    }
    world.clock.advance(Duration::from_millis(1));
    for (method, path, status) in calls {
        let answer = holder.send(holder.request(method.parse().unwrap(), path)).await;
        assert_eq!((answer.status, answer.header("x-token-expires-at")), (status, "2026-04-01T12:00:00Z"), "{path}");
        let links = links(&answer).unwrap();
        assert_eq!(links.matches("rotate").count(), 2, "the path and the relation: {links}");
        assert!(links.ends_with(&rotation), "{links}");
        assert_eq!(links.contains("rel=\"first\""), path == "/v1/repositories" && method == "GET", "{links}");
        assert_eq!(answer.headers.get_all("link").iter().count(), 1, "API Gateway has no second one");
    }
    let (_, permanent) = make(&owner, json!({"name": "ci", "scopes": ["tokens:read"], "permanent": true})).await;
    for answer in [permanent.get("/v1/tokens").await, world.anonymous().get("/v1/openapi.json").await] {
        assert!(answer.headers.get("x-token-expires-at").is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_last_use_is_recorded_once_an_hour_by_whoever_comes_first() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, holder) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read"]})).await;
    let path = path(&token);
    let last_use = async || owner.get(&path).await.body["last_used_at"].clone();
    let becomes = async |time: &str| {
        eventually("the last use", async || (last_use().await == json!(time)).then_some(())).await;
    };
    assert_eq!(last_use().await, Value::Null);
    assert_eq!(holder.get("/v1/repositories").await.status, 200);
    becomes("2026-01-01T12:00:00Z").await;

    // Many functions have not cached that.
    world.clock.advance(Duration::from_secs(3599));
    for path in ["/v1/rate_limit", "/v1/repositories/nothing", "/v1/deployments/nothing", "/v1/nothing"] {
        holder.get(path).await;
    }
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(last_use().await, "2026-01-01T12:00:00Z");
    assert_eq!(holder.get("/v1/repositories").await.status, 200);
    becomes("2026-01-01T13:00:00Z").await;
    assert!(owner.get("/v1/tokens").await.column("last_used_at").contains(&"2026-01-01T13:00:00Z".to_owned()));

    // A change does not affect it, nor does the use of a token that was deleted meanwhile.
    rotate(&owner, &token, json!({})).await;
    owner.patch(&path, json!({"name": "other"})).await;
    assert_eq!(last_use().await, "2026-01-01T13:00:00Z");
    assert_eq!(owner.delete(&path).await.status, 200);
    world.clock.advance(Duration::from_secs(7200));
    holder.get("/v1/repositories").await.refused(401, "token_revoked");
    owner.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn whoever_changes_a_token_at_the_same_time_no_secret_outlives_its_deletion() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, first) = make(&owner, json!({"name": "ci", "scopes": ["repositories:read"]})).await;
    let rotation = format!("{}/rotate", path(&token));
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..6 {
        let (owner, rotation, path) = (owner.clone(), rotation.clone(), path(&token));
        calls.spawn(async move {
            match at {
                5 => owner.delete(&path).await,
                3 | 4 => owner.patch(&path, json!({"name": format!("name {at}")})).await,
                _ => owner.post(&rotation, json!({"overlap_hours": 24})).await,
            }
        });
    }
    let answers = calls.join_all().await;
    let statuses: BTreeSet<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.is_subset(&[200, 404].into()), "{answers:?}");
    world.clock.advance(CACHE);
    let secrets = answers.iter().filter_map(|answer| answer.body["token"].as_str());
    for holder in secrets.map(|secret| owner.holding(secret)).chain([first]) {
        holder.get("/v1/repositories").await.refused(401, "token_revoked");
    }
    assert_eq!(owner.get("/v1/tokens").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_token_costs_what_the_table_of_accesses_says() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let (token, _) = make(&owner, json!({"name": "ci", "scopes": ["tokens:read"]})).await;
    let cost = |answer: &Answer| {
        assert!(answer.status < 300, "{answer:?}");
        let (calls, units) = world.cost(answer);
        // This write is in addition to the limiter's.
        (calls - 1, units - 1.0)
    };
    let new = json!({"name": "ci", "scopes": ["tokens:read"]});
    for path in ["/v1/tokens".to_owned(), path(&token)] {
        owner.get(&path).await;
    }
    // Each change also reads the caller's current rows, and writes an event and checks its author's rows in the transaction. That of a
    // token that exists also writes the number of the event.
    let (current_rows, event, author, number) = (3.0, 4.0, 4.0, 2.0);
    assert_eq!(cost(&owner.post("/v1/tokens", new).await), (2, 10.0 + current_rows + event + author));
    assert_eq!(cost(&owner.get("/v1/tokens").await), (2, 1.5));
    assert_eq!(cost(&owner.get(&path(&token)).await), (1, 1.0));
    owner.patch(&path(&token), json!({})).await;
    assert_eq!(
        cost(&owner.patch(&path(&token), json!({"name": "other"})).await),
        (3, 7.0 + current_rows + event + author + number)
    );
}
