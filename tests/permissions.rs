use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World, embedded, without_queue};

/// The permission of a member on a repository, written a second time on purpose. The row is the account's base
/// permission. The column is the team's permission: none, read, deploy or admin. The two tables are for a private and a
/// public repository. `-` means that the member can't see the repository.
const MEMBERS: [(&str, [[&str; 4]; 2]); 4] = [
    ("none", [["-", "read", "deploy", "admin"], ["read", "read", "deploy", "admin"]]),
    ("read", [["read", "read", "deploy", "admin"], ["read", "read", "deploy", "admin"]]),
    ("deploy", [["deploy", "deploy", "deploy", "admin"], ["deploy", "deploy", "deploy", "admin"]]),
    ("admin", [["admin", "admin", "admin", "admin"], ["admin", "admin", "admin", "admin"]]),
];
const GRANTS: [&str; 4] = ["nothing", "read", "deploy", "admin"];
const VISIBILITIES: [&str; 2] = ["private", "public"];
/// Each action with its scope and the permissions that are enough for it.
const ACTIONS: [(&str, Scope, &[&str]); 5] = [
    ("GET /v1/repositories/{repo_id}", Scope::RepositoriesRead, &["read", "deploy", "admin"]),
    ("GET /v1/repositories/{repo_id}/deployments", Scope::DeploymentsRead, &["read", "deploy", "admin"]),
    ("POST /v1/repositories/{repo_id}/deployments", Scope::DeploymentsWrite, &["deploy", "admin"]),
    ("GET /v1/deployments/{deployment_id}", Scope::DeploymentsRead, &["read", "deploy", "admin"]),
    ("GET /v1/deployments/{deployment_id}/log", Scope::DeploymentsRead, &["read", "deploy", "admin"]),
];

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap_or_else(|| panic!("no id in {row}"))
}

async fn act(actor: &Actor, action: &str, repository: &str, deployment: &Value) -> Answer {
    let (method, path) = action.split_once(' ').unwrap();
    let path = path.replace("{repo_id}", repository).replace("{deployment_id}", id(deployment));
    match method {
        "POST" => actor.post(&path, json!({"ref": "main"})).await,
        _ => actor.get(&path).await,
    }
}

#[tokio::test]
async fn role_grant_scope_and_visibility_decide_each_action() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let team = owner.team("Platform").await;
    let mut repositories = Vec::new();
    for (v, visibility) in VISIBILITIES.into_iter().enumerate() {
        for (g, grant) in GRANTS.into_iter().enumerate() {
            let name = format!("{visibility}-{grant}");
            let new = json!({"name": name, "clone_url": source.url(), "visibility": visibility});
            assert_eq!(owner.post("/v1/repositories", new).await.status, 201);
            let deployment = owner.deploy(&name, json!({"ref": "main"})).await;
            if grant != "nothing" {
                owner.grant(&team, &name, grant).await;
            }
            repositories.push((name, deployment, v, g));
        }
    }
    let mut people = Vec::new();
    for role in Role::ALL {
        let person = world.member(&owner, role).await;
        owner.add_to_team(&team, &person).await;
        let mut narrowed = Vec::new();
        for (_, scope, _) in ACTIONS {
            let with = world.with_token(&person, |token| token.scopes = vec![scope]).await;
            let others = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
            narrowed.push((with, world.with_token(&person, |token| token.scopes = others).await));
        }
        people.push((role, narrowed));
    }

    let mut decided = BTreeSet::new();
    for (base, expected) in MEMBERS {
        world.set_base_permission(&owner, base).await;
        for (role, narrowed) in &people {
            for (name, deployment, v, g) in &repositories {
                let has = if *role == Role::Member { expected[*v][*g] } else { "admin" };
                for ((action, scope, enough), (with, without)) in ACTIONS.iter().zip(narrowed) {
                    let what = format!("{action} in {name} by {role:?}, base {base}");
                    let refused = act(without, action, name, deployment).await;
                    refused.refused(403, "insufficient_scope");
                    let answer = act(with, action, name, deployment).await;
                    let resource = if action.contains("{deployment_id}") { "Deployment" } else { "Repository" };
                    match has {
                        "-" => {
                            let message = answer.refused(404, "not_found").body["error"]["message"].clone();
                            assert_eq!(message, format!("{resource} not found"), "{what}");
                        }
                        _ if enough.contains(&has) => {
                            let success = if action.starts_with("POST") { 201 } else { 200 };
                            assert_eq!(answer.status, success, "{what}: {answer:?}");
                            if *action == ACTIONS[0].0 {
                                assert_eq!(answer.body["permission"], has, "{what}");
                            }
                        }
                        _ => {
                            answer.refused(403, "insufficient_permission");
                            assert!(!answer.headers.contains_key("www-authenticate"), "no other token helps: {what}");
                        }
                    }
                    decided.insert((scope.as_str(), answer.status));
                }
            }
        }
    }
    assert_eq!(decided.len(), 2 + 2 + 3, "each outcome that there can be came up: {decided:?}");
}

/// An account without a base permission, with a member in one team.
struct Closed {
    world: World,
    owner: Actor,
    member: Actor,
    team: Value,
    source: GitRepository,
}

impl Closed {
    async fn start() -> Self {
        Self::start_in(World::start_without_queue().await).await
    }

    async fn start_in(world: World) -> Self {
        let owner = world.owner("acme").await;
        let member = world.member(&owner, Role::Member).await;
        let team = owner.team("Platform").await;
        owner.add_to_team(&team, &member).await;
        world.set_base_permission(&owner, "none").await;
        Self { world, owner, member, team, source: GitRepository::new(&[]) }
    }

    async fn repository(&self, name: &str, visibility: &str) -> Value {
        let new = json!({"name": name, "clone_url": self.source.url(), "visibility": visibility});
        let created = self.owner.post("/v1/repositories", new).await;
        assert_eq!(created.status, 201, "{created:?}");
        self.world.clock.advance(Duration::from_secs(1));
        created.body
    }

    async fn cost(&self, actor: &Actor, path: &str) -> (u64, f64) {
        let answer = actor.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.world.cost(&answer)
    }
}

#[tokio::test]
async fn a_list_has_what_its_reader_may_see_and_no_more() {
    let acme = Closed::start().await;
    let second = acme.owner.team("Second").await;
    acme.owner.add_to_team(&second, &acme.member).await;
    let elsewhere = acme.owner.team("Elsewhere").await;
    let mut visible = Vec::new();
    for n in 0..24 {
        let visibility = if n % 4 == 0 { "public" } else { "private" };
        // The order of the names differs from the order of creation.
        let name = format!("app-{:02}", n * 7 % 24);
        acme.repository(&name, visibility).await;
        match n % 4 {
            0 => {}
            1 => acme.owner.grant(&acme.team, &name, "read").await,
            2 => {
                // A repository of both teams is listed once.
                acme.owner.grant(&acme.team, &name, "deploy").await;
                acme.owner.grant(&second, &name, "read").await;
            }
            _ => {
                acme.owner.grant(&elsewhere, &name, "admin").await;
                continue;
            }
        }
        visible.push(name);
    }
    // A public repository of a team is listed once.
    acme.owner.grant(&acme.team, "app-00", "admin").await;
    acme.world.callers_are_forgotten();

    for (query, ordered) in [
        ("", visible.iter().rev().cloned().collect::<Vec<_>>()),
        ("&direction=asc", visible.clone()),
        ("&sort=updated", visible.iter().rev().cloned().collect()),
        ("&sort=name", visible.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
        ("&sort=name&direction=desc", visible.iter().cloned().collect::<BTreeSet<_>>().into_iter().rev().collect()),
    ] {
        let pages = acme.member.walk(&format!("/v1/repositories?per_page=5{query}"), "next").await;
        let names: Vec<_> = pages.iter().flat_map(|page| page.column("name")).collect();
        assert_eq!(names, ordered, "{query}");
        for (number, page) in (1..).zip(&pages) {
            assert_eq!(page.body["meta"], json!({"total": 18, "page": number, "per_page": 5}), "{query}");
        }
        let last = pages[0].link("last").unwrap();
        let back = acme.member.walk(&last, "prev").await;
        let mut back: Vec<_> = back.iter().map(|page| page.column("name")).collect();
        back.reverse();
        assert_eq!(back, pages.iter().map(|page| page.column("name")).collect::<Vec<_>>(), "{query}");
        let jump = acme.member.get(&format!("/v1/repositories?per_page=5&page=3{query}")).await;
        assert_eq!(jump.body, pages[2].body, "{query}");
        let beyond = acme.member.get(&format!("/v1/repositories?per_page=5&page=9{query}")).await;
        assert_eq!((&beyond.body["data"], &beyond.body["meta"]["total"]), (&json!([]), &json!(18)));
    }

    let all = acme.member.get("/v1/repositories?per_page=100").await;
    let own = |name: &str| {
        let found = all.body["data"].as_array().unwrap().iter().find(|one| one["name"] == name);
        found.map_or("-", |one| one["permission"].as_str().unwrap())
    };
    assert_eq!(
        ["app-00", "app-04", "app-07", "app-14", "app-21"].map(own),
        ["admin", "read", "read", "deploy", "-"],
        "a public one of a team, a public one, one of a team, one of two teams, one of another team"
    );

    // Rows are inserted during the walk.
    let first = acme.member.get("/v1/repositories?per_page=5").await;
    acme.repository("newest", "public").await;
    let second_page = acme.member.get(&first.link("next").unwrap()).await;
    assert_eq!(second_page.column("name"), visible.iter().rev().skip(5).take(5).cloned().collect::<Vec<_>>());
    assert_eq!(second_page.body["meta"]["total"], 19);

    // Admins see all repositories, and so does every member if the base permission allows it.
    assert_eq!(acme.owner.get("/v1/repositories").await.body["meta"]["total"], 25);
    acme.world.set_base_permission(&acme.owner, "read").await;
    assert_eq!(acme.member.get("/v1/repositories").await.body["meta"]["total"], 25);
    let stranger = acme.world.owner("globex").await;
    assert_eq!(stranger.get("/v1/repositories").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn authorization_costs_nothing_when_it_is_warm_and_a_read_beside_another_for_a_deployment() {
    // Emulators count capacity units differently.
    let world = World::start_with(|options| {
        without_queue(options);
        embedded(options);
    });
    let acme = Closed::start_in(world.await).await;
    let app = acme.repository("app", "private").await;
    acme.owner.grant(&acme.team, "app", "deploy").await;
    for n in 0..30 {
        acme.repository(&format!("other-{n}"), "private").await;
    }
    let deployment = acme.owner.deploy("app", json!({"ref": "main"})).await;
    let by_id = format!("/v1/repositories/{}", id(&app));
    let followed = format!("/v1/deployments/{}", id(&deployment));
    for path in [&by_id, &followed, "/v1/repositories"] {
        acme.owner.get(path).await;
        acme.member.get(path).await;
    }
    // One write counts the request. A strongly consistent read is 1 unit, another 0.5.
    for actor in [&acme.owner, &acme.member] {
        assert_eq!(acme.cost(actor, &by_id).await, (2, 2.0), "the repository");
        assert_eq!(acme.cost(actor, "/v1/repositories/app").await, (2, 1.5), "the repository, by its name");
    }
    // The deployment is queued, so its place in the queue costs two more reads.
    assert_eq!(acme.cost(&acme.owner, &followed).await, (4, 4.0), "the deployment");
    assert_eq!(acme.cost(&acme.member, &followed).await, (5, 5.0), "the deployment and its repository");
    // The cost is a query of the public repositories, one of the team's, and the page's rows. The 30 other repositories
    // cost nothing.
    assert_eq!(acme.cost(&acme.member, "/v1/repositories").await, (4, 1.0 + 3.0 * 0.5));
}

#[tokio::test]
async fn rows_read_beside_their_resource_are_returned_only_with_its_permission() {
    let acme = Closed::start().await;
    let app = acme.repository("app", "private").await;
    let deployment = acme.owner.deploy("app", json!({"ref": "main"})).await;
    let stranger = acme.world.owner("globex").await;
    let paths = [
        "/v1/repositories/app/deployments".to_owned(),
        format!("/v1/repositories/{}/deployments", id(&app)),
        format!("/v1/deployments/{}", id(&deployment)),
    ];
    for path in &paths {
        assert_eq!(acme.owner.get(path).await.status, 200, "the function remembers the place");
        acme.member.get(path).await.refused(404, "not_found");
        stranger.get(path).await.refused(404, "not_found");
    }
    acme.owner.grant(&acme.team, "app", "read").await;
    for path in &paths {
        let (granted, owned) = (acme.member.get(path).await, acme.owner.get(path).await);
        assert_eq!((granted.status, granted.body), (200, owned.body), "{path}");
    }
}

#[tokio::test]
async fn what_changes_takes_effect_within_30_seconds() {
    let acme = Closed::start().await;
    acme.repository("app", "private").await;
    let path = "/v1/repositories/app";
    let almost = Duration::from_millis(29_999);
    acme.member.get(path).await.refused(404, "not_found");
    // A grant is in the repository's row, which each request reads.
    acme.owner.grant(&acme.team, "app", "read").await;
    assert_eq!(acme.member.get(path).await.status, 200);
    acme.member
        .post("/v1/repositories/app/deployments", json!({"ref": "main"}))
        .await
        .refused(403, "insufficient_permission");
    acme.owner.grant(&acme.team, "app", "deploy").await;
    assert_eq!(acme.member.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await.status, 201);
    let grant = format!("/v1/teams/{}/repositories/app", id(&acme.team));
    assert_eq!(acme.owner.delete(&grant).await.status, 200);
    acme.member.get(path).await.refused(404, "not_found");

    // Each function caches the teams and roles of its callers.
    acme.owner.grant(&acme.team, "app", "read").await;
    acme.world.callers_are_forgotten();
    assert_eq!(acme.member.get(path).await.status, 200);
    let membership = format!("/v1/teams/{}/members/{}", id(&acme.team), acme.member.user_id.as_ref().unwrap());
    assert_eq!(acme.owner.delete(&membership).await.status, 200);
    acme.world.clock.advance(almost);
    assert_eq!(acme.member.get(path).await.status, 200, "this function remembers the teams");
    acme.world.clock.advance(Duration::from_millis(1));
    acme.member.get(path).await.refused(404, "not_found");

    let member = format!("/v1/members/{}", acme.member.user_id.as_ref().unwrap());
    assert_eq!(acme.owner.put(&member, json!({"role": "admin"})).await.status, 200);
    acme.world.callers_are_forgotten();
    assert_eq!(acme.member.get(path).await.status, 200);
    assert_eq!(acme.owner.delete(&member).await.status, 200);
    acme.world.clock.advance(almost);
    assert_eq!(acme.member.get(path).await.status, 200);
    acme.world.clock.advance(Duration::from_millis(1));
    acme.member.get(path).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn members_create_no_repositories_and_change_nothing_of_the_account() {
    let acme = Closed::start().await;
    let (team, user) = (id(&acme.team).to_owned(), acme.owner.user_id.clone().unwrap());
    let admin = acme.world.member(&acme.owner, Role::Admin).await;
    acme.repository("app", "public").await;
    let new_repository = json!({"name": "new", "clone_url": acme.source.url()});
    let calls = [
        (Method::POST, "/v1/repositories".to_owned(), new_repository),
        (Method::POST, "/v1/teams".to_owned(), json!({"name": "new"})),
        (Method::PATCH, format!("/v1/teams/{team}"), json!({"description": "new"})),
        (Method::PUT, format!("/v1/teams/{team}/members/{user}"), json!({})),
        (Method::PUT, format!("/v1/teams/{team}/repositories/app"), json!({"permission": "admin"})),
        (Method::DELETE, format!("/v1/teams/{team}/repositories/app"), json!({})),
        (Method::DELETE, format!("/v1/teams/{team}/members/{user}"), json!({})),
        (Method::DELETE, format!("/v1/teams/{team}"), json!({})),
        (Method::PUT, format!("/v1/members/{}", acme.member.user_id.as_ref().unwrap()), json!({"role": "admin"})),
        (Method::DELETE, format!("/v1/members/{}", acme.member.user_id.as_ref().unwrap()), json!({})),
        (Method::POST, "/v1/invitations".to_owned(), json!({"email": "new@example.com"})),
        (Method::GET, "/v1/invitations".to_owned(), json!({})),
    ];
    for (method, path, body) in &calls {
        let request = acme.member.request(method.clone(), path).json(body);
        let refused = acme.member.send(request).await;
        refused.refused(403, "insufficient_permission");
        assert_eq!(
            refused.body["error"]["message"], "The request requires the role 'admin' in the account",
            "{method} {path}"
        );
    }
    for (method, path, body) in &calls {
        let answer = admin.send(admin.request(method.clone(), path).json(body)).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
    }
}
