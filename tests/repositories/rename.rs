//! New names of repositories, and their former ones.

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::json;
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World};

/// Sends a request without a body, and does not follow a redirect. Returns the status, `Location` and the body's text.
async fn unfollowed(actor: &Actor, method: Method, path: &str) -> (u16, Option<String>, String) {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = client.execute(actor.request(method, path).build().unwrap()).await.unwrap();
    let location = answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location, answer.text().await.unwrap())
}

async fn rename(owner: &Actor, from: &str, to: &str) -> Answer {
    owner.patch(&format!("/v1/repositories/{from}"), json!({"name": to})).await
}

#[tokio::test]
async fn reads_of_a_former_name_are_redirected_and_other_requests_name_the_new_one() {
    let world = World::start_without_queue().await;
    let (owner, _source) = world.app().await;
    let renamed = rename(&owner, "app", "Site").await;
    assert_eq!((renamed.status, &renamed.body["full_name"]), (200, &json!("acme/Site")));
    let id = renamed.body["id"].as_str().unwrap();
    for name in [id, "Site", "site", "acme%2Fsite"] {
        assert_eq!(owner.get(&format!("/v1/repositories/{name}")).await.body, renamed.body, "{name}");
    }
    assert_eq!(owner.get("/v1/repositories?sort=name").await.column("name"), ["Site"]);

    for (path, location) in [
        ("/v1/repositories/app", format!("/v1/repositories/{id}")),
        ("/v1/repositories/APP", format!("/v1/repositories/{id}")),
        ("/v1/repositories/acme%2Fapp", format!("/v1/repositories/{id}")),
        ("/v1/repositories/acme/app/deployments?per_page=5", format!("/v1/repositories/{id}/deployments?per_page=5")),
        ("/v1/repositories/app/environments/staging", format!("/v1/repositories/{id}/environments/staging")),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let (status, found, _) = unfollowed(&owner, method.clone(), path).await;
            assert_eq!((status, found.as_ref()), (301, Some(&location)), "{method} {path}");
        }
        let followed = owner.get(path).await;
        assert_eq!((followed.status, &followed.body), (200, &owner.get(&location).await.body), "{path}");
    }
    let (_, _, body) = unfollowed(&owner, Method::GET, "/v1/repositories/app").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["code"], "moved_permanently");

    let message = format!("The repository was renamed to 'acme/Site'; use that name, or its ID {id}");
    for refused in [
        owner.patch("/v1/repositories/app", json!({"fetch_depth": 2})).await,
        owner.delete("/v1/repositories/app").await,
        owner.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await,
        owner.post("/v1/repositories/acme%2Fapp/deployments", json!({"ref": "main"})).await,
    ] {
        assert_eq!(refused.refused(404, "not_found").body["error"]["message"], message);
    }
    // Whoever can't see the repository learns nothing.
    world.set_base_permission(&owner, "none").await;
    let member = world.member(&owner, Role::Member).await;
    let (status, location, body) = unfollowed(&member, Method::GET, "/v1/repositories/app").await;
    assert_eq!((status, location, body.contains("Site")), (404, None, false));
}

#[tokio::test]
async fn a_former_name_is_free_for_another_repository() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    rename(&owner, "app", "old").await;
    let new = owner.repository("App", &source).await;
    assert_eq!(owner.get("/v1/repositories/app").await.body, new);
    // The first repository can't have its name back, and keeps the one that it has.
    let refused = rename(&owner, "old", "app").await;
    let message = "The account already has a repository named 'app'";
    assert_eq!(refused.refused(409, "name_taken").body["error"]["message"], message);
    assert_eq!(owner.get("/v1/repositories/old").await.body["name"], "old");
    // Its former name is the other's now, and stays so when it is deleted.
    assert_eq!(owner.delete("/v1/repositories/old").await.status, 200);
    assert_eq!(owner.get("/v1/repositories/app").await.body, new);
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_repository_can_have_its_name_back_and_another_case_of_it() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    for (from, to) in [("app", "b"), ("b", "c"), ("c", "APP"), ("app", "App")] {
        let renamed = rename(&owner, from, to).await;
        assert_eq!((renamed.status, &renamed.body["name"]), (200, &json!(to)), "{renamed:?}");
        assert_eq!(owner.get(&format!("/v1/repositories/{to}")).await.body, renamed.body);
    }
    for (name, status) in [("app", 200), ("b", 301), ("c", 301)] {
        assert_eq!(unfollowed(&owner, Method::GET, &format!("/v1/repositories/{name}")).await.0, status, "{name}");
    }
    // A redirect ends with the repository that it leads to.
    assert_eq!(owner.delete("/v1/repositories/app").await.status, 200);
    for name in ["app", "b", "c"] {
        owner.get(&format!("/v1/repositories/{name}")).await.refused(404, "not_found");
        owner.repository(name, &source).await;
    }
}

#[tokio::test]
async fn a_members_list_has_the_new_name_in_its_place() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    owner.repository("middle", &source).await;
    world.set_base_permission(&owner, "none").await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("web").await;
    owner.add_to_team(&team, &member).await;
    for name in ["app", "middle"] {
        owner.grant(&team, name, "read").await;
    }
    let listed = async || member.get("/v1/repositories?sort=name").await.column("name");
    assert_eq!(listed().await, ["app", "middle"]);
    rename(&owner, "app", "zebra").await;
    assert_eq!(listed().await, ["middle", "zebra"]);
    let of_team = owner.get(&format!("/v1/teams/{}/repositories", team["id"].as_str().unwrap())).await;
    let names: Vec<_> =
        of_team.body["data"].as_array().unwrap().iter().map(|row| row["repository"]["name"].clone()).collect();
    assert!(names.contains(&json!("zebra")) && !names.contains(&json!("app")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_renames_to_one_name_at_the_same_time_one_gets_it() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    for n in 0..6 {
        owner.repository(&format!("app-{n}"), &source).await;
    }
    let mut renames = tokio::task::JoinSet::new();
    for n in 0..12 {
        // Six repositories want two names, and each of them wants both.
        let (owner, to) = (owner.clone(), if (n / 6 + n) % 2 == 0 { "Prize" } else { "second" });
        let id = owner.get(&format!("/v1/repositories/app-{}", n % 6)).await.body["id"].as_str().unwrap().to_owned();
        renames.spawn(async move { (id.clone(), to, rename(&owner, &id, to).await) });
    }
    for (id, to, answer) in renames.join_all().await {
        assert!([200, 409].contains(&answer.status), "{answer:?}");
        assert!(answer.status == 409 || (answer.body["id"] == id.as_str() && answer.body["name"] == to), "{answer:?}");
    }
    let names = owner.get("/v1/repositories?sort=name").await.column("name");
    assert_eq!(names.len(), 6);
    for name in &names {
        // The claim of each name belongs to the repository that has it.
        let found = owner.get(&format!("/v1/repositories/{name}")).await;
        assert_eq!((found.status, &found.body["name"]), (200, &json!(name)));
        let refused = owner.post("/v1/repositories", json!({"name": name, "clone_url": source.url()})).await;
        refused.refused(409, "name_taken");
    }
    assert!(names.iter().any(|name| ["Prize", "second"].contains(&name.as_str())), "{names:?}");
}
