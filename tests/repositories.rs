//! Repositories.

mod deletion;
mod prefix;
mod refs;
mod rename;
mod settings;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use shared::model::Role;
use shared::settings::CLONE_HOSTS;
use tests::{Answer, GitRepository, World};

#[tokio::test]
async fn a_repository_is_created_and_found_under_all_its_names() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[("README", "")]);
    let created = owner.post("/v1/repositories", json!({"name": "Frontend-App", "clone_url": source.url()})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.body["id"].as_str().unwrap();
    assert!(id.strip_prefix("repo_").is_some_and(|id| id.len() == 16), "{id}");
    let expected = json!({
        "id": id, "name": "Frontend-App", "full_name": "acme/Frontend-App", "visibility": "private",
        "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z", "default_branch": "main",
        "clone_url": source.url(), "connection_id": null, "permission": "admin",
        "root_folder": "", "buildspec_path": "buildspec.yml", "fetch_depth": 1, "cache": true,
        "image": null, "compute_type": null, "privileged": false,
        "deploy_rules": [],
    });
    assert_eq!(created.body, expected);
    let location = created.header("location");
    assert_eq!(location, format!("{}/v1/repositories/{id}", world.stack.url()));

    world.clock.advance(Duration::from_secs(3600));
    for path in [
        location,
        "/v1/repositories/Frontend-App",
        "/v1/repositories/frontend-app",
        "/v1/repositories/FRONTEND-APP",
        "/v1/repositories/acme%2FFrontend-App",
        "/v1/repositories/acme%2ffrontend-app",
        "/v1/repositories/acme%252Ffrontend-app",
        "/v1/repositories/ACME%2Ffrontend-app",
        "/v1/repositories/acme/frontend-app",
    ] {
        let found = owner.get(path).await;
        assert_eq!((found.status, &found.body), (200, &expected), "{path}");
    }
    let listed = owner.get("/v1/repositories").await;
    assert_eq!(listed.body, json!({"data": [expected], "meta": {"total": 1, "page": 1, "per_page": 10}}));
}

#[tokio::test]
async fn visibility_and_default_branch_can_be_chosen() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    for branch in ["feature/x", "refs/heads/odd"] {
        source.git(&["update-ref", &format!("refs/heads/{branch}"), "HEAD"]);
    }
    source.git(&["tag", "v1"]);
    for (name, chosen, visibility, default_branch) in [
        ("a", json!({"visibility": "public"}), "public", "main"),
        ("b", json!({"visibility": "private", "default_branch": "feature/x"}), "private", "feature/x"),
        ("c", json!({"default_branch": null}), "private", "main"),
        ("d", json!({"default_branch": "refs/heads/odd"}), "private", "refs/heads/odd"),
    ] {
        let mut body = chosen.clone();
        body["name"] = name.into();
        body["clone_url"] = source.url().into();
        let created = owner.post("/v1/repositories", body).await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.body["visibility"], visibility, "{chosen}");
        assert_eq!(created.body["default_branch"], default_branch, "{chosen}");
    }
    // The default is the branch that the remote's HEAD names.
    source.git(&["checkout", "--quiet", "-b", "trunk"]);
    assert_eq!(owner.repository("e", &source).await["default_branch"], "trunk");

    for (branch, code, message) in [
        ("missing", "invalid_ref", "Branch 'missing' not found"),
        ("v1", "invalid_ref", "Branch 'v1' not found"),
        ("HEAD", "invalid_ref", "Branch 'HEAD' not found"),
        ("refs/heads/main", "invalid_ref", "Branch 'refs/heads/main' not found"),
        ("", "invalid_request", "default_branch must be a valid name of a branch or tag"),
        ("a..b", "invalid_request", "default_branch must be a valid name of a branch or tag"),
        (&"a".repeat(250), "invalid_request", "default_branch must be at most 255 bytes long"),
    ] {
        let body = json!({"name": "f", "clone_url": source.url(), "default_branch": branch});
        let refused = owner.post("/v1/repositories", body).await;
        assert_eq!(refused.refused(400, code).body["error"]["message"], message, "{branch}");
    }
    owner.get("/v1/repositories/f").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_remote_without_a_default_branch_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let detached = GitRepository::new(&[]);
    detached.git(&["checkout", "--quiet", "--detach"]);
    let elsewhere = GitRepository::new(&[]);
    elsewhere.git(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    for (source, code, message) in [
        (&detached, "invalid_clone_url", "The repository has no default branch; set default_branch"),
        (&elsewhere, "invalid_ref", "Branch 'gone' not found"),
    ] {
        let refused = owner.post("/v1/repositories", json!({"name": "app", "clone_url": source.url()})).await;
        assert_eq!(refused.refused(400, code).body["error"]["message"], message);
    }
    // With a detached HEAD a named branch is enough.
    let named = json!({"name": "app", "clone_url": detached.url(), "default_branch": "main"});
    assert_eq!(owner.post("/v1/repositories", named).await.body["default_branch"], "main");
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 1);
}

#[tokio::test]
async fn a_clone_url_that_is_no_repository_is_refused() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    let web_server = format!("{}/acme/app.git", world.stack.url());
    let not_there = "The repository does not exist, or is private and needs a connection (connection_id)";
    let not_https = "clone_url must be an https:// URL of a repository";
    let not_public = "clone_url must name a host on the public internet";
    let credentials = "clone_url must not contain a user name or password";
    let query = "clone_url must not contain a query or a fragment";
    for (clone_url, message) in [
        ("/no/such/path", not_there),
        (&folder, not_there),
        (&web_server, not_there),
        ("", not_https),
        ("acme/app", not_https),
        ("ssh://git@github.com/acme/app.git", not_https),
        ("git@github.com:acme/app.git", not_https),
        ("git://github.com/acme/app.git", not_https),
        ("ext::sh -c touch% /tmp/owned", not_https),
        ("--upload-pack=touch /tmp/owned", not_https),
        ("https://token@github.com/acme/app.git", credentials),
        ("https://user:hunter2@github.com/acme/app.git", credentials),
        ("https://github.com/acme/app.git?ref=main", query),
        ("https://github.com/acme/app.git#main", query),
        ("https://github.com", "clone_url must be a valid URL of a repository"),
        ("https://10.0.0.1/acme/app.git", not_public),
        (&format!("https://github.com/{}", "a".repeat(2048)), "clone_url must be at most 2048 bytes long"),
    ] {
        let refused = owner.post("/v1/repositories", json!({"name": "app", "clone_url": clone_url})).await;
        refused.refused(400, "invalid_clone_url");
        assert_eq!(refused.body["error"]["message"], message, "{clone_url:.100}");
        assert_eq!(refused.body["error"]["details"][0]["field"], "clone_url", "{clone_url:.100}");
        assert!(!refused.body.to_string().contains("hunter2"));
    }
    // No name in DNS has a label of 64 bytes, so every resolver says so, also one without a network.
    let nowhere = format!("https://{}.example.com/acme/app.git", "g".repeat(64));
    let refused = owner.post("/v1/repositories", json!({"name": "app", "clone_url": nowhere})).await;
    refused.refused(400, "invalid_clone_url");
    assert_eq!(refused.body["error"]["message"], "The repository's host does not exist");
    let details = json!([{"field": "clone_url", "message": "the repository's host does not exist"}]);
    assert_eq!(refused.body["error"]["details"], details);

    let unreachable = json!({"name": "app", "clone_url": "http://127.0.0.1:1/acme/app.git"});
    let refused = owner.post("/v1/repositories", unreachable).await;
    refused.refused(503, "remote_unavailable");
    assert_eq!(refused.body["error"]["message"], "The repository's server could not be reached");
    assert_eq!(world.line_of(&refused)["server_errors"], 0, "a git host that is down stops no rollout");
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn only_public_hosts_are_cloned_from_outside_of_the_local_stack() {
    let world = World::start_with(|options| options.overrides.push((CLONE_HOSTS, "public".to_owned()))).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let not_https = "clone_url must be an https:// URL of a repository";
    let not_public = "clone_url must name a host on the public internet";
    let port = world.stack.url().rsplit_once(':').unwrap().1.to_owned();
    for (clone_url, message) in [
        (source.url(), not_https),
        (format!("file://{}", source.url()), not_https),
        (format!("{}/app.git", world.stack.url()), not_https),
        ("http://github.com/acme/app.git".to_owned(), not_https),
        (format!("https://127.0.0.1:{port}/app.git"), not_public),
        ("https://127.1.2.3/app.git".to_owned(), not_public),
        ("https://[::1]/app.git".to_owned(), not_public),
        ("https://0.0.0.0/app.git".to_owned(), not_public),
        ("https://10.1.2.3/app.git".to_owned(), not_public),
        ("https://172.16.0.1/app.git".to_owned(), not_public),
        ("https://192.168.1.1:8443/app.git".to_owned(), not_public),
        ("https://169.254.169.254/latest/meta-data".to_owned(), not_public),
        ("https://100.64.0.1/app.git".to_owned(), not_public),
        ("https://[fd00::1]/app.git".to_owned(), not_public),
        ("https://[fe80::1]/app.git".to_owned(), not_public),
        ("https://[::ffff:10.0.0.1]/app.git".to_owned(), not_public),
        // The resolver checks a host's name before any connection.
        (format!("https://localhost:{port}/app.git"), "The repository's host does not have a public address"),
        ("https://2130706433/app.git".to_owned(), "The repository's host does not have a public address"),
    ] {
        let refused = owner.post("/v1/repositories", json!({"name": "app", "clone_url": clone_url})).await;
        refused.refused(400, "invalid_clone_url");
        assert_eq!(refused.body["error"]["message"], message, "{clone_url}");
    }
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 0);
}

#[tokio::test]
async fn a_name_is_one_that_a_path_can_have() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let longest = "n".repeat(100);
    let good = ["a", "7", "-", "_", "a.b", "a..", "A-b_c.9", "repo", "repository_1", "deploy_x", &longest];
    for name in good {
        let created = owner.post("/v1/repositories", json!({"name": name, "clone_url": source.url()})).await;
        assert_eq!((created.status, &created.body["name"]), (201, &json!(name)), "{created:?}");
        let found = owner.get(&format!("/v1/repositories/{name}")).await;
        assert_eq!((found.status, &found.body), (200, &created.body), "{name}");
    }
    let too_long = "n".repeat(101);
    for name in [
        "",
        ".",
        "..",
        ".git",
        "a b",
        " a",
        "a/b",
        "acme/app",
        "a%2Fb",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a@b",
        "a\u{0}",
        "a\n",
        "café",
        "🚀",
        "repo_",
        "repo_x",
        "REPO_x",
        "repo_k3vyq2w7x5m4n6pa",
        &too_long,
    ] {
        let refused = owner.post("/v1/repositories", json!({"name": name, "clone_url": source.url()})).await;
        refused.refused(400, "invalid_request");
        let details = &refused.body["error"]["details"];
        assert_eq!(details[0]["field"], "name", "{name:?}: {refused:?}");
        assert!(details[0]["message"].as_str().unwrap().starts_with("must be 1 to 100 characters"), "{details}");
    }
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], good.len());
}

#[tokio::test]
async fn a_name_can_be_taken_once_in_an_account() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let source = GitRepository::new(&[]);
    let first = owner.repository("Frontend", &source).await;
    world.clock.advance(Duration::from_secs(60));
    for name in ["Frontend", "frontend", "FRONTEND"] {
        let body = json!({"name": name, "clone_url": source.url(), "visibility": "public"});
        let refused = owner.post("/v1/repositories", body).await;
        refused.refused(409, "name_taken");
        let message = format!("The account already has a repository named '{name}'");
        assert_eq!(refused.body["error"]["message"], message);
    }
    assert_eq!(owner.get("/v1/repositories").await.body["data"], json!([first]));
    // A name that only starts with another is a different name, and so is the same name in another account.
    owner.repository("frontend-", &source).await;
    owner.repository("frontend.app", &source).await;
    let theirs = stranger.repository("frontend", &source).await;
    assert_eq!(theirs["full_name"], "globex/frontend");
    assert_eq!(owner.get("/v1/repositories/frontend").await.body, first);
    assert_eq!(owner.get("/v1/repositories").await.body["meta"]["total"], 3);
    assert_eq!(stranger.get("/v1/repositories").await.body["meta"]["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_creations_at_the_same_time_one_gets_the_name_and_the_total_is_exact() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let mut creations = tokio::task::JoinSet::new();
    for n in 0..24 {
        // Three rivals for each of eight names, in different cases.
        let name = [format!("app-{}", n / 3), format!("App-{}", n / 3), format!("APP-{}", n / 3)][n % 3].clone();
        let (owner, clone_url) = (owner.clone(), source.url());
        creations
            .spawn(async move { owner.post("/v1/repositories", json!({"name": name, "clone_url": clone_url})).await });
    }
    let answers: Vec<Answer> = creations.join_all().await;
    let (created, refused): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((created.len(), refused.len()), (8, 16));
    for answer in &refused {
        answer.refused(409, "name_taken");
    }
    let page = owner.get("/v1/repositories?per_page=100&sort=name").await;
    let winners: HashMap<&str, &Value> =
        created.iter().map(|answer| (answer.body["name"].as_str().unwrap(), &answer.body)).collect();
    assert_eq!(page.body["meta"]["total"], 8);
    assert_eq!(page.body["data"].as_array().unwrap().len(), 8);
    for row in page.body["data"].as_array().unwrap() {
        assert_eq!(row, winners[row["name"].as_str().unwrap()]);
        let found = owner.get(&format!("/v1/repositories/{}", row["name"].as_str().unwrap().to_lowercase())).await;
        assert_eq!(&found.body, row);
    }
}

/// Starts a proxy of DynamoDB whose first transactions conflict with another one. The embedded DynamoDB has no such
/// conflicts.
fn contended(dynamodb: &str, meetings: u32) -> String {
    const CANCELED: &str = "{\"__type\": \"com.amazonaws.dynamodb.v20120810#TransactionCanceledException\", \
        \"Message\": \"Transaction cancelled\", \"CancellationReasons\": [{\"Code\": \"None\"}, {\"Code\": \"None\"}, \
        {\"Code\": \"TransactionConflict\", \"Message\": \"Transaction is ongoing for the item\"}, {\"Code\": \"None\"}]}";
    let upstream = dynamodb.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut meetings = meetings;
        for client in listener.incoming() {
            let mut client = BufReader::new(client.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while client.read_line(&mut head).unwrap() > 2 {
                let line = head.lines().last().unwrap();
                length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
            }
            let mut body = vec![0; length];
            client.read_exact(&mut body).unwrap();
            if head.contains("TransactWriteItems") && meetings > 0 {
                meetings -= 1;
                let head =
                    format!("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: {}", CANCELED.len());
                write!(client.get_mut(), "{head}\r\n\r\n{CANCELED}").unwrap();
            } else {
                let mut server = TcpStream::connect(&upstream).unwrap();
                let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                server.write_all(&[head.as_bytes(), &body].concat()).unwrap();
                std::io::copy(&mut server, client.get_mut()).unwrap();
            }
        }
    });
    endpoint
}

#[tokio::test]
async fn a_creation_gives_way_to_another_and_then_goes_through() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let mut settings = world.stack.environment().settings.clone();
    let dynamodb = settings.require("AWS_ENDPOINT_URL_DYNAMODB").unwrap().to_owned();
    settings.set("AWS_ENDPOINT_URL_DYNAMODB", contended(&dynamodb, 3));
    let gateway = world.gateway(settings).await;

    let path = format!("{}/v1/repositories", gateway.endpoint());
    let created = owner.post(&path, json!({"name": "app", "clone_url": source.url()})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.header("x-request-id");
    let line = world.log().into_iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(
        line["dynamodb_calls"],
        2 + 2 + 4,
        "the token, what it stands for, the rate limit, the caller's current rows, and four transactions"
    );
    let listed = owner.get("/v1/repositories").await;
    assert_eq!(listed.body["data"], json!([created.body]));
    assert_eq!(listed.body["meta"]["total"], 1);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_ones_own_look_the_same() {
    let world = World::start().await;
    let (owner, stranger) = (world.owner("acme").await, world.owner("globex").await);
    let source = GitRepository::new(&[]);
    let theirs = stranger.repository("secret", &source).await;
    owner.repository("app", &source).await;
    let their_id = theirs["id"].as_str().unwrap();
    for name in [
        their_id,
        "secret",
        "globex%2Fsecret",
        "globex%2Fapp",
        "nobody%2Fapp",
        "%252Fapp",
        "acme%252F",
        "acme%252Fapp%2Fx",
        "acme%252Fapp%252F",
        &format!("acme%2F{their_id}"),
        "ap",
        "app2",
        "app%23repo_",
        "repo_aaaaaaaaaaaaaaaa",
        "repo_",
        &their_id.to_uppercase(),
        "a%20b",
        ".app",
        &"a".repeat(101),
    ] {
        for path in [format!("/v1/repositories/{name}"), format!("/v1/repositories/{name}/deployments")] {
            let refused = owner.get(&path).await;
            let message = refused.refused(404, "not_found").body["error"]["message"].clone();
            assert_eq!(message, "Repository not found", "{path}");
        }
        let path = format!("/v1/repositories/{name}/deployments");
        owner.post(&path, json!({"ref": "main"})).await.refused(404, "not_found");
    }
    for name in ["%2Fapp", "acme%2F", "acme%2Fapp%2F", "acme%2Fapp%2Fx"] {
        for path in [format!("/v1/repositories/{name}"), format!("/v1/repositories/{name}/deployments")] {
            owner.get(&path).await.refused(404, "not_found");
        }
    }
    assert_eq!(stranger.get("/v1/repositories/globex%2Fsecret").await.body, theirs);
    assert_eq!(stranger.get("/v1/repositories/secret/deployments").await.body["meta"]["total"], 0);
    world.anonymous().get("/v1/repositories/secret").await.refused(401, "missing_token");
}

#[tokio::test]
async fn a_deployment_updates_its_repository() {
    let world = World::start_without_queue().await;
    let (owner, source) = world.app().await;
    world.clock.advance(Duration::from_secs(60));
    owner.repository("site", &source).await;
    world.set_base_permission(&owner, "none").await;
    let member = world.member(&owner, Role::Member).await;
    let team = owner.team("web").await;
    owner.add_to_team(&team, &member).await;
    for name in ["app", "site"] {
        owner.grant(&team, name, "deploy").await;
    }
    let updated = async |expected: [&str; 2]| {
        for caller in [&owner, &member] {
            let list = caller.get("/v1/repositories?sort=updated").await;
            assert_eq!(list.column("name"), expected, "{list:?}");
        }
    };
    updated(["site", "app"]).await;
    member.deploy("app", json!({"ref": "main"})).await;
    updated(["app", "site"]).await;
    let [app, site] = ["app", "site"].map(|name| format!("/v1/repositories/{name}"));
    assert_eq!(owner.get(&app).await.body["updated_at"], "2026-01-01T12:01:30Z");
    assert_eq!(owner.get(&site).await.body["updated_at"], "2026-01-01T12:01:00Z");
    assert_eq!(owner.get(&app).await.body["created_at"], "2026-01-01T12:00:00Z");
}
