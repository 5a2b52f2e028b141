//! The deployments of a whole account.

use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, Answer, GitRepository, World, approval};

const LIST: &str = "/v1/deployments";

/// Creates repositories, whose deployments stay queued.
async fn repositories(owner: &Actor, source: &GitRepository, names: &[&str]) {
    for name in names {
        owner.repository(name, source).await;
    }
}

async fn deploy(world: &World, actor: &Actor, repository: &str, environment: &str) -> Value {
    world.clock.advance(std::time::Duration::from_millis(1));
    actor.deploy(repository, json!({"ref": "main", "environment": environment})).await
}

fn ids(deployments: &[&Value]) -> Vec<String> {
    deployments.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

async fn get(actor: &Actor, query: &str) -> Answer {
    let page = actor.get(&format!("{LIST}?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    page
}

#[tokio::test]
async fn the_deployments_of_all_repositories_are_listed_newest_first() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    assert_eq!(
        owner.get(LIST).await.body,
        json!({"data": [], "actors": {}, "meta": {"total": 0, "page": 1, "per_page": 10}})
    );
    repositories(&owner, &source, &["app", "site"]).await;
    let first = deploy(&world, &owner, "app", "staging").await;
    let second = deploy(&world, &owner, "site", "production").await;
    let third = deploy(&world, &owner, "app", "production").await;
    world.lose_a_runner(&owner, &second).await;
    assert_eq!(owner.act(&first, "cancel", json!({})).await.status, 200);

    let list = get(&owner, "").await;
    assert_eq!(list.column("id"), ids(&[&third, &second, &first]));
    assert_eq!(list.column("status"), ["queued", "in_progress", "canceled"]);
    assert_eq!(list.body["meta"]["total"], 3);
    let site = owner.get("/v1/repositories/site").await.body;
    let reference = json!({"id": site["id"], "name": "site", "full_name": "acme/site"});
    assert_eq!(list.body["data"][1]["repository"], reference);
    let mut in_repository = owner.get("/v1/repositories/site/deployments").await.body["data"][0].clone();
    in_repository["repository"] = reference;
    assert_eq!(list.body["data"][1], in_repository, "the same item, and its repository");
    let ascending = get(&owner, "direction=asc").await;
    assert_eq!(ascending.column("id"), ids(&[&first, &second, &third]));
}

#[tokio::test]
async fn filters_narrow_the_list_together() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let ann = world.member(&owner, Role::Admin).await;
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["app", "site"]).await;
    let staging = deploy(&world, &owner, "app", "staging").await;
    let by_ann = deploy(&world, &ann, "app", "production").await;
    let site = deploy(&world, &owner, "site", "production").await;
    source.commit(&[("README", "2")]);
    let newer = deploy(&world, &owner, "site", "production").await;
    assert_eq!(owner.act(&staging, "cancel", json!({})).await.status, 200);
    let (me, sha) = (owner.user_id.as_ref().unwrap(), site["sha"].as_str().unwrap());
    let app = owner.get("/v1/repositories/app").await.body["id"].as_str().unwrap().to_owned();
    for (query, expected, total) in [
        ("status=queued".to_owned(), vec![&newer, &site, &by_ann], json!(3)),
        ("status=failed".to_owned(), vec![], json!(0)),
        ("environment=staging".to_owned(), vec![&staging], json!(1)),
        ("environment=production&status=queued".to_owned(), vec![&newer, &site, &by_ann], json!(3)),
        ("repository=app".to_owned(), vec![&by_ann, &staging], json!(2)),
        (format!("repository={app}&status=canceled"), vec![&staging], json!(1)),
        ("repository=acme%2Fsite&environment=staging".to_owned(), vec![], json!(0)),
        (format!("sha={sha}"), vec![&site, &by_ann, &staging], json!(3)),
        (format!("repository=app&sha={sha}&environment=production"), vec![&by_ann], json!(1)),
        ("ref=main".to_owned(), vec![&newer, &site, &by_ann, &staging], json!(4)),
        ("ref=refs%2Fheads%2Fmain&status=canceled".to_owned(), vec![&staging], json!(1)),
        ("ref=other".to_owned(), vec![], json!(0)),
        ("created_by=me".to_owned(), vec![&newer, &site, &staging], json!(3)),
        (format!("created_by={me}&environment=production"), vec![&newer, &site], json!(2)),
        ("awaiting=me".to_owned(), vec![], json!(0)),
    ] {
        let page = get(&owner, &query).await;
        assert_eq!((page.column("id"), &page.body["meta"]["total"]), (ids(&expected), &total), "{query}");
        // A link keeps the filters.
        let again = owner.get(&page.link("first").unwrap()).await;
        assert_eq!(again.body, page.body, "{query}");
    }
    for (query, field) in [
        ("repository=a%20b", "repository"),
        ("environment=Moon", "environment"),
        ("status=x", "status"),
        ("ref=", "ref"),
        ("sha=main", "sha"),
        ("created_by=you", "created_by"),
        ("awaiting=you", "awaiting"),
        ("sort=name", "sort"),
        ("statuz=failed", "statuz"),
    ] {
        let refused = owner.get(&format!("{LIST}?{query}")).await;
        let field_of = refused.refused(400, "invalid_request").body["error"]["details"][0]["field"].clone();
        assert_eq!(field_of, field, "{query}");
    }
    owner.get(&format!("{LIST}?repository=nope")).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_awaits_me_is_what_i_may_approve_and_have_not_approved() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let (ann, ben) = (world.member(&owner, Role::Admin).await, world.member(&owner, Role::Member).await);
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["app", "site"]).await;
    owner.set("app", "production", json!({"required_approvals": 2})).await;
    let waiting = deploy(&world, &owner, "app", "production").await;
    let by_ann = deploy(&world, &ann, "app", "production").await;
    deploy(&world, &owner, "app", "staging").await;
    deploy(&world, &owner, "site", "production").await;
    let awaiting = async |actor: &Actor| get(actor, "awaiting=me").await.column("id");
    assert_eq!(awaiting(&owner).await, ids(&[&by_ann]));
    assert_eq!(awaiting(&ann).await, ids(&[&waiting]));
    assert_eq!(awaiting(&ben).await, Vec::<String>::new(), "who may only read approves nothing");
    let team = owner.team("Deployers").await;
    owner.add_to_team(&team, &ben).await;
    owner.grant(&team, "app", "deploy").await;
    world.callers_are_forgotten();
    assert_eq!(awaiting(&ben).await, ids(&[&by_ann, &waiting]));
    assert_eq!(get(&ben, "awaiting=me&status=in_progress").await.body["meta"]["total"], 0);
    assert_eq!(ben.act(&waiting, "approve", approval(&waiting)).await.status, 200);
    assert_eq!(awaiting(&ben).await, ids(&[&by_ann]), "approved by this person");
    assert_eq!(awaiting(&ann).await, ids(&[&waiting]));
    assert_eq!(ann.act(&waiting, "approve", approval(&waiting)).await.status, 200);
    assert_eq!(awaiting(&ann).await, Vec::<String>::new(), "it has all approvals");
}

#[tokio::test]
async fn pages_are_full_drift_free_and_cost_the_same_deep_into_the_list() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["app", "site"]).await;
    let mut all = Vec::new();
    for number in 0..23 {
        let created = deploy(&world, &owner, ["app", "site"][number % 2], "staging").await;
        if number % 3 == 0 {
            assert_eq!(owner.act(&created, "cancel", json!({})).await.status, 200);
        }
        all.insert(0, created["id"].as_str().unwrap().to_owned());
    }
    let start = get(&owner, "per_page=5").await;
    let late = deploy(&world, &owner, "site", "staging").await;
    let mut walked = start.column("id");
    let pages = owner.walk(&start.link("next").unwrap(), "next").await;
    let costs: Vec<_> = pages[..3].iter().map(|page| world.cost(page).1).collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    walked.extend(pages.iter().flat_map(|page| page.column("id")));
    assert_eq!(walked, all, "a new deployment neither skips nor repeats one");
    assert!(pages[..3].iter().all(|page| page.column("id").len() == 5));
    assert_eq!(pages.last().unwrap().body["meta"], json!({"total": 24, "page": 5, "per_page": 5}));

    all.insert(0, late["id"].as_str().unwrap().to_owned());
    let third = get(&owner, "per_page=5&page=3").await;
    assert_eq!(third.column("id"), all[10..15]);
    assert_eq!(owner.get(&third.link("prev").unwrap()).await.column("id"), all[5..10]);
    let last = owner.get(&third.link("last").unwrap()).await;
    assert_eq!((last.column("id"), last.body["meta"]["page"].clone()), (all[20..].to_vec(), json!(5)));
    assert_eq!(owner.get(&last.link("prev").unwrap()).await.column("id"), all[15..20]);
    assert_eq!(get(&owner, "per_page=5&page=9").await.column("id"), Vec::<String>::new());
    let of_app = get(&owner, "per_page=5&repository=app").await;
    let wrong_list = of_app.link("next").unwrap().replace("repository=app&", "");
    owner.get(&wrong_list).await.refused(400, "invalid_cursor");
}

/// A member without a base permission sees the deployments of public repositories and of their teams' ones.
#[tokio::test]
async fn nobody_sees_a_deployment_of_a_repository_that_they_cannot_see() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let ben = world.member(&owner, Role::Member).await;
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["hidden", "granted"]).await;
    let public = json!({"name": "public", "clone_url": source.url(), "visibility": "public"});
    assert_eq!(owner.post("/v1/repositories", public).await.status, 201);
    let mut visible = Vec::new();
    for _ in 0..4 {
        for (repository, is_visible) in [("hidden", false), ("granted", true), ("hidden", false), ("public", true)] {
            let created = deploy(&world, &owner, repository, "staging").await;
            if is_visible {
                visible.insert(0, created["id"].as_str().unwrap().to_owned());
            }
        }
    }
    world.set_base_permission(&owner, "none").await;
    let team = owner.team("Platform").await;
    owner.add_to_team(&team, &ben).await;
    owner.grant(&team, "granted", "read").await;
    world.callers_are_forgotten();
    let first = get(&ben, "per_page=3").await;
    assert_eq!(first.body["meta"]["total"], 8, "the total counts what the caller sees");
    let pages = ben.walk(&format!("{LIST}?per_page=3"), "next").await;
    assert_eq!(pages.iter().map(|page| page.column("id").len()).collect::<Vec<_>>(), [3, 3, 2], "no page is short");
    assert_eq!(pages.iter().flat_map(|page| page.column("id")).collect::<Vec<_>>(), visible);
    for query in ["status=queued", "environment=staging", "ref=main", "created_by=user_aaaaaaaaaaaaaaaa", "awaiting=me"]
    {
        let shown = get(&ben, query).await.body.to_string();
        assert!(!shown.contains("acme/hidden"), "{query}: {shown}");
    }
    ben.get(&format!("{LIST}?repository=hidden")).await.refused(404, "not_found");
    assert_eq!(get(&ben, "repository=granted").await.body["meta"]["total"], 4);
    let stranger = world.owner("globex").await;
    assert_eq!(get(&stranger, "").await.body["meta"]["total"], 0);

    let removed = owner.delete(&format!("/v1/teams/{}/repositories/granted", team["id"].as_str().unwrap())).await;
    assert_eq!(removed.status, 200);
    assert_eq!(get(&ben, "").await.body["meta"]["total"], 4, "at once");
}

/// The names are those of the time of the action.
#[tokio::test]
async fn everybody_who_acts_on_a_deployment_comes_with_a_name() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let ann = world.member(&owner, Role::Admin).await;
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["app"]).await;
    owner.set("app", "production", json!({"required_approvals": 1})).await;
    let created = deploy(&world, &owner, "app", "production").await;
    let email = async |actor: &Actor| actor.get("/v1/user").await.body["user"]["email"].clone();
    let name = |email: &Value| json!({"type": "user", "name": email, "email": email});
    let (by_owner, by_ann) = (name(&email(&owner).await), name(&email(&ann).await));
    let [owner_id, ann_id] = [&owner, &ann].map(|actor| actor.user_id.as_ref().unwrap().to_string());
    assert_eq!(created["actors"], json!({&owner_id: by_owner}));
    let approved = ann.act(&created, "approve", approval(&created)).await;
    let both = json!({&owner_id: by_owner, &ann_id: by_ann});
    assert_eq!(approved.body["actors"], both);
    let removed = owner.delete(&format!("/v1/members/{ann_id}")).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(owner.deployment(&created).await["actors"], both, "a name outlives its member");
    for path in [LIST, "/v1/repositories/app/deployments"] {
        let list = owner.get(path).await.body;
        assert_eq!((&list["actors"], &list["data"][0]["actors"]), (&both, &Value::Null), "{path}");
    }
    let events = format!("/v1/deployments/{}/events", created["id"].as_str().unwrap());
    assert_eq!(owner.get(&events).await.body["actors"], both);
    assert_eq!(owner.get(&format!("{events}?limit=1")).await.body["actors"], json!({&owner_id: by_owner}));
    let canceled = owner.act(&created, "cancel", json!({})).await;
    assert_eq!((canceled.status, &canceled.body["actors"]), (200, &both));
}

#[tokio::test]
async fn a_total_that_no_counter_has_is_null_unless_the_first_page_has_all() {
    let world = World::start_without_queue().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    repositories(&owner, &source, &["app"]).await;
    for _ in 0..3 {
        deploy(&world, &owner, "app", "preview").await;
    }
    let counted = get(&owner, "repository=app&per_page=2").await;
    assert_eq!((&counted.body["meta"]["total"], counted.link("last").is_some()), (&json!(3), true));
    let author = counted.body["data"][0]["created_by"].as_str().unwrap().to_owned();
    let sha = counted.body["data"][0]["sha"].as_str().unwrap().to_owned();
    for filter in ["ref=main".to_owned(), format!("sha={sha}"), format!("created_by={author}")] {
        let first = get(&owner, &format!("{filter}&per_page=2")).await;
        assert_eq!((&first.body["meta"]["total"], first.link("last")), (&Value::Null, None), "{filter}");
        let rest = owner.get(&first.link("next").unwrap()).await;
        assert_eq!((rest.column("id").len(), &rest.body["meta"]["total"]), (1, &Value::Null), "{filter}");
        let whole = get(&owner, &filter).await;
        assert_eq!((&whole.body["meta"]["total"], whole.link("next")), (&json!(3), None), "{filter}");
    }
}
