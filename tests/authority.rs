//! Rights that were taken away. The caches of the functions still have them.

use local::functions::routes;
use reqwest::Method;
use serde_json::json;
use shared::access::{Access, Caller, Scope};
use shared::id::TokenId;
use shared::model::{Author, Role};
use shared::{ErrorCode, Route};
use tests::estate::{Estate, request};
use tests::{Actor, GitRepository, World, create_team, extracted};

/// The ways in which a caller loses a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Revocation,
    Narrowing,
    Demotion,
    Removal,
    /// The caller has a session of the dashboard instead of the token itself.
    SignOut,
}

use Loss::{Demotion, Narrowing, Removal, Revocation, SignOut};

/// The endpoint that changes nothing for a caller who belongs to an account.
const CHANGES_NOTHING: &str = "join-account";

const LOSSES: [Loss; 5] = [Revocation, Narrowing, Demotion, Removal, SignOut];

/// An owner who is going to lose their rights, with one of their tokens or its session.
struct Falling {
    actor: Actor,
    token: TokenId,
}

impl Falling {
    async fn new(world: &World, owner: &Actor) -> Self {
        let actor = world.member(owner, Role::Owner).await;
        let mut token = None;
        let actor = world.with_token(&actor, |new| {
            new.scopes = Scope::ALL.to_vec();
            token = Some(new.id.clone());
        });
        Self { actor: actor.await, token: token.unwrap() }
    }

    /// Returns an owner who can lose a right in this way.
    async fn by(loss: Loss, world: &World, owner: &Actor) -> Self {
        let falling = Self::new(world, owner).await;
        match loss {
            SignOut => Self { actor: world.session(&falling.actor).await.0, ..falling },
            Revocation | Narrowing | Demotion | Removal => falling,
        }
    }

    /// Takes a right away. When this returns, the API has answered.
    async fn lose(&self, loss: Loss, owner: &Actor) {
        let token = format!("/v1/tokens/{}", self.token);
        let member = format!("/v1/members/{}", self.actor.user_id.as_ref().unwrap());
        let answer = match loss {
            Revocation => owner.delete(&token).await,
            Narrowing => self.actor.patch(&token, json!({"scopes": ["repositories:read"]})).await,
            Demotion => owner.put(&member, json!({"role": "member"})).await,
            Removal => owner.delete(&member).await,
            SignOut => self.actor.delete("/v1/session").await,
        };
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn refuses(status: u16) -> bool {
    status == 401 || status == 403
}

#[tokio::test]
async fn a_right_that_was_taken_away_changes_nothing_although_every_function_remembers_it() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let changes =
        |route: &Route| !route.is_safe() && route.access != Access::Public && route.function != CHANGES_NOTHING;
    let mut fallen = Vec::new();
    for route in routes().filter(changes) {
        for loss in LOSSES {
            // The estate's members may deploy, whatever their role.
            if loss == Demotion && route.role == Role::Member {
                continue;
            }
            // Every token may end its session, whatever its scopes.
            if loss == Narrowing && route.access == Access::Authenticated {
                continue;
            }
            let falling = Falling::by(loss, &world, &estate.owner).await;
            // The function caches the caller, and refuses the request for its unknown parameter, for the body that it lacks, or
            // because another's token is rotated by its owner only.
            let path = format!("{}?unknown=1", estate.path(&route.key()));
            let refused = falling.actor.send(falling.actor.request(route.method.clone(), &path)).await;
            assert!([400, 403, 415].contains(&refused.status), "{refused:?}");
            falling.lose(loss, &estate.owner).await;
            fallen.push((route.key(), loss, falling));
        }
    }
    assert!(fallen.len() > 110, "{}", fallen.len());
    let before = estate.items(&world).await;
    for (route, loss, falling) in fallen {
        let mut parameters = estate.parameters.clone();
        parameters.insert("token_id", falling.token.to_string());
        let answer = falling.actor.send(request(&falling.actor, &route, &parameters)).await;
        assert!(refuses(answer.status), "{route} after {loss:?}: {answer:?}");
    }
    // A use changes the row of a token.
    let after = estate.items(&world).await;
    let new: Vec<_> = after.iter().filter(|item| !before.contains(item) && !item.contains(r#""sk":"TOKEN""#)).collect();
    assert!(new.is_empty() && after.len() == before.len(), "{} before, {} after: {new:#?}", before.len(), after.len());
}

/// The right is lost after the request has been decided, and before its transaction.
#[tokio::test]
async fn a_right_that_is_taken_away_while_a_request_runs_changes_nothing() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let app = world.stack.app();
    for loss in LOSSES {
        let falling = Falling::by(loss, &world, &owner).await;
        let route = Route::post("team", "/v1/teams").requires(Scope::TeamsWrite).by(Role::Admin);
        let author: Author = extracted(app, falling.actor.token.as_deref().unwrap(), route, &[]).await;
        falling.lose(loss, &owner).await;
        let refused = create_team(app, &author, &format!("{loss:?}")).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InsufficientPermission, "{loss:?}");
    }
    assert_eq!(owner.get("/v1/teams").await.body["meta"]["total"], 0);
}

/// Another application that the same client is registered for is another author, too.
#[tokio::test]
async fn a_program_that_is_deleted_while_a_request_runs_changes_nothing() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let environment = world.stack.environment().app().unwrap();
    let Estate { owner, parameters, .. } = &estate;
    let (client, trust) = (&parameters["application_id"], &parameters["trust_id"]);
    let application = world.issuer.client_token(client, world.clock.now());
    let job = estate.program(&world).await.token.unwrap();
    for (kind, token, path) in [
        ("application", application, format!("/v1/applications/{client}")),
        ("trust", job, format!("/v1/trusts/{trust}")),
    ] {
        let _: Caller = extracted(&environment, &token, Route::get("team", "/v1/teams"), &[]).await;
        let author: Author = extracted(&environment, &token, Route::post("team", "/v1/teams"), &[]).await;
        create_team(&environment, &author, &format!("before {kind}")).await.unwrap();
        let before = owner.get("/v1/teams").await.body["meta"]["total"].clone();
        assert_eq!(owner.delete(&path).await.status, 200);
        if kind == "application" {
            assert_eq!(world.register(owner, client).await.status, 201);
        }
        let refused = create_team(&environment, &author, &format!("after {kind}")).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InsufficientPermission, "{kind}");
        assert_eq!(owner.get("/v1/teams").await.body["meta"]["total"], before);
    }
}

/// A transaction that writes a row which its author depends on. DynamoDB takes one operation on an item.
#[tokio::test]
async fn callers_may_change_their_own_token_and_role() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let falling = Falling::new(&world, &owner).await;
    let token = format!("/v1/tokens/{}", falling.token);
    let member = format!("/v1/members/{}", falling.actor.user_id.as_ref().unwrap());
    let rotated = falling.actor.post(&format!("{token}/rotate"), json!({"overlap_hours": 1})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    for (method, path, body) in [
        (Method::PATCH, &token, json!({"name": "renamed"})),
        (Method::PUT, &member, json!({"role": "admin"})),
        (Method::DELETE, &member, json!(null)),
    ] {
        let request = falling.actor.request(method, path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = falling.actor.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// An invitation gives no more than its inviter may still give.
#[tokio::test]
async fn an_invitation_ends_with_the_rights_of_its_inviter() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    for loss in [Demotion, Removal] {
        let falling = Falling::new(&world, &owner).await;
        let body = json!({"email": format!("{loss:?}@example.com"), "role": "owner"});
        let invited = falling.actor.post("/v1/invitations", body).await.body;
        falling.lose(loss, &owner).await;
        let path = format!("/v1/invitations/{}/accept", invited["invitation"]["id"].as_str().unwrap());
        let accepted = world.anonymous().post(&path, json!({"secret": invited["secret"]})).await;
        accepted.refused(404, "not_found");
    }
}

/// Keeps tests of this file from passing because nothing is remembered.
#[tokio::test]
async fn reads_remember_a_caller_for_the_documented_time() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let falling = Falling::new(&world, &owner).await;
    assert_eq!(falling.actor.get("/v1/repositories").await.status, 200);
    falling.lose(Revocation, &owner).await;
    assert_eq!(falling.actor.get("/v1/repositories").await.status, 200);
    world.callers_are_forgotten();
    falling.actor.get("/v1/repositories").await.refused(401, "token_revoked");
}
