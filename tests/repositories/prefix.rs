//! The list of repositories by the start of their names.

use serde_json::json;
use shared::model::Role;
use tests::{GitRepository, World};

#[tokio::test]
async fn repositories_are_found_by_the_start_of_their_names() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    for name in ["web-b", "Web-a", "api", "we", "web", "web.c", "wec"] {
        owner.repository(name, &source).await;
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let found = async |query: &str| owner.get(&format!("/v1/repositories?{query}")).await;
    for (query, names) in [
        ("name=web&sort=name", vec!["web", "Web-a", "web-b", "web.c"]),
        ("name=WEB&sort=name&direction=desc", vec!["web.c", "web-b", "Web-a", "web"]),
        ("name=web", vec!["web.c", "web", "Web-a", "web-b"]),
        ("name=web&sort=updated", vec!["web.c", "web", "Web-a", "web-b"]),
        ("name=web-&sort=created&direction=asc", vec!["web-b", "Web-a"]),
        ("name=api", vec!["api"]),
        ("name=apis", vec![]),
        ("name=.", vec![]),
        ("name=z", vec![]),
    ] {
        let listed = found(query).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        assert_eq!(listed.column("name"), names, "{query}");
        assert_eq!(listed.body["meta"]["total"], names.len(), "{query}");
    }
    for sort in ["name", "created", "updated"] {
        let pages = owner.walk(&format!("/v1/repositories?name=we&per_page=2&sort={sort}"), "next").await;
        let names: Vec<_> = pages.iter().flat_map(|page| page.column("name")).collect();
        let whole = found(&format!("name=we&sort={sort}")).await.column("name");
        assert_eq!((names, pages.len()), (whole, 3), "{sort}");
        assert!(pages.iter().all(|page| page.body["meta"]["total"] == 6));
    }
    for (query, code) in
        [("name=", "invalid_request"), ("name=a%20b", "invalid_request"), ("name=a/b", "invalid_request")]
    {
        found(query).await.refused(400, code);
    }
    // A cursor of one list is none of the other.
    let next = |link: Option<String>| link.unwrap().split_once("cursor=").unwrap().1.to_owned();
    let cursor = next(found("per_page=1&sort=name").await.link("next"));
    found(&format!("name=we&per_page=1&sort=name&cursor={cursor}")).await.refused(400, "invalid_cursor");
    let cursor = next(found("name=we&per_page=1&sort=name").await.link("next"));
    found(&format!("per_page=1&sort=name&cursor={cursor}")).await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn a_member_finds_only_what_they_see() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    for name in ["web-secret", "web-team", "api-team"] {
        owner.repository(name, &source).await;
    }
    let public = json!({"name": "web-public", "clone_url": source.url(), "visibility": "public"});
    assert_eq!(owner.post("/v1/repositories", public).await.status, 201);
    world.set_base_permission(&owner, "none").await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("web").await;
    owner.add_to_team(&team, &member).await;
    for name in ["web-team", "api-team"] {
        owner.grant(&team, name, "read").await;
    }
    let found = member.get("/v1/repositories?name=web&sort=name").await;
    assert_eq!(found.column("name"), ["web-public", "web-team"]);
    assert_eq!(found.body["meta"]["total"], 2);
}
