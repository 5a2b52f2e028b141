use axum::http::{HeaderName, HeaderValue};
use shared::model::ChangedPaths::{self, Known, Unknown};
use shared::model::HookProvider::{self, Bitbucket, Deploy, Gitea, Github, Gitlab};
use shared::model::PushContext;

use super::*;

/// The head of each sample that pushes something.
const HEAD: &str = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c";
/// The commit before each of them.
const BEFORE: &str = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/hooks/payloads/", $name, ".json"))
    };
}

fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
    let header =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    headers.iter().map(header).collect()
}

/// Returns the changes that a delivery tells of, without their contexts.
fn pushes(provider: HookProvider, event: (&'static str, &str), body: &str) -> Vec<Push> {
    let received = read(provider, &headers(&[event]), body.as_bytes()).unwrap();
    assert_eq!(received.skipped, None);
    received.pushes.into_iter().map(|push| Push { context: PushContext::default(), ..push }).collect()
}

fn push(provider: HookProvider, event: (&'static str, &str), body: &str) -> Push {
    let [push] = &pushes(provider, event, body)[..] else { panic!("one push") };
    push.clone()
}

fn skipped(provider: HookProvider, event: (&'static str, &str), body: &str) -> String {
    let received = read(provider, &headers(&[event]), body.as_bytes()).unwrap();
    assert_eq!(received.pushes, []);
    received.skipped.unwrap()
}

fn known(paths: &[&str]) -> ChangedPaths {
    Known(paths.iter().map(|path| (*path).to_owned()).collect())
}

fn unknown(reason: &str) -> ChangedPaths {
    Unknown(reason.to_owned())
}

fn of(ref_name: &str, sha: Option<&str>, paths: ChangedPaths) -> Push {
    Push {
        ref_name: ref_name.to_owned(),
        sha: sha.map(str::to_owned),
        skips: false,
        paths,
        context: PushContext::default(),
    }
}

const PUSHED: [&str; 3] = ["README.md", "apps/web/src/page.ts", "docs/old.md"];

#[test]
fn github_tells_of_pushes_tags_deletions_and_pings() {
    let github = |body| push(Github, ("x-github-event", "push"), body);
    assert_eq!(github(sample!("github-push")), of("refs/heads/main", Some(HEAD), known(&PUSHED)));
    let no_commits = unknown("The push lists no commits");
    assert_eq!(github(sample!("github-tag")), of("refs/tags/v1.2.0", Some(HEAD), no_commits.clone()));
    assert_eq!(github(sample!("github-deletion")), of("refs/heads/feature/x", None, no_commits));
    assert_eq!(github(sample!("github-forced")), of("refs/heads/main", Some(HEAD), unknown("The push was forced")));
    assert!(skipped(Github, ("x-github-event", "ping"), sample!("github-ping")).contains("has tested the hook"));
    assert!(skipped(Github, ("x-github-event", "issues"), "{}").contains("'issues'"));
}

#[test]
fn gitlab_tells_of_pushes_tags_and_deletions() {
    let gitlab = |body| push(Gitlab, ("x-gitlab-event", "Push Hook"), body);
    assert_eq!(gitlab(sample!("gitlab-push")), of("refs/heads/main", Some(HEAD), known(&PUSHED)));
    let no_commits = unknown("The push lists no commits");
    // The commit of an annotated tag, and not the tag itself.
    assert_eq!(gitlab(sample!("gitlab-tag")), of("refs/tags/v1.2.0", Some(HEAD), no_commits.clone()));
    assert_eq!(gitlab(sample!("gitlab-deletion")), of("refs/heads/feature/x", None, no_commits));
    let many = sample!("gitlab-push").replace("\"total_commits_count\": 2", "\"total_commits_count\": 21");
    assert_eq!(gitlab(&many).paths, unknown("The push does not list all of its commits"));
    let of_the_instance = sample!("gitlab-push").replace("\"object_kind\": \"push\",", "");
    assert_eq!(gitlab(&of_the_instance).ref_name, "refs/heads/main");
    assert!(skipped(Gitlab, ("x-gitlab-event", "Note Hook"), r#"{"object_kind": "note"}"#).contains("'note'"));
}

#[test]
fn gitea_tells_of_pushes_and_of_deletions_by_another_event() {
    let gitea = push(Gitea, ("x-gitea-event", "push"), sample!("gitea-push"));
    assert_eq!(gitea, of("refs/heads/main", Some(HEAD), known(&["README.md", "apps/web/src/page.ts"])));
    let many = sample!("gitea-push").replace("\"total_commits\": 2", "\"total_commits\": 6");
    let many = push(Gitea, ("x-forgejo-event", "push"), &many);
    assert_eq!(many.paths, unknown("The push does not list all of its commits"));
    let deleted = push(Gitea, ("x-gitea-event", "delete"), sample!("gitea-deletion"));
    assert_eq!(deleted, of("refs/heads/feature/x", None, unknown("The ref was deleted")));
}

#[test]
fn bitbucket_tells_of_several_refs_at_once_and_of_no_paths() {
    let paths = unknown("Bitbucket does not tell which paths a push changed");
    assert_eq!(
        pushes(Bitbucket, ("x-event-key", "repo:push"), sample!("bitbucket-push")),
        [
            of("refs/heads/main", Some(HEAD), paths.clone()),
            of("refs/tags/v1.2.0", Some(HEAD), paths.clone()),
            of("refs/heads/feature/x", None, paths.clone()),
        ]
    );
    let server = push(Bitbucket, ("x-event-key", "repo:refs_changed"), sample!("bitbucket-server-push"));
    assert_eq!(server, of("refs/heads/main", Some(HEAD), paths));
    assert!(skipped(Bitbucket, ("x-event-key", "diagnostics:ping"), r#"{"test": true}"#).contains("tested"));
    assert!(skipped(Bitbucket, ("x-event-key", "repo:push"), r#"{"push": {"changes": []}}"#).contains("no branch"));
}

#[test]
fn each_host_tells_the_commit_before_and_the_account() {
    for (provider, event, body, account) in [
        (Github, ("x-github-event", "push"), sample!("github-push"), "21031067"),
        (Gitlab, ("x-gitlab-event", "Push Hook"), sample!("gitlab-push"), "4"),
        (Gitea, ("x-gitea-event", "push"), sample!("gitea-push"), "1"),
        (
            Bitbucket,
            ("x-event-key", "repo:push"),
            sample!("bitbucket-push"),
            "557058:9f2c0a4e-6d3b-4f0e-9d0c-2a9d6f2f7a11",
        ),
        (Bitbucket, ("x-event-key", "repo:refs_changed"), sample!("bitbucket-server-push"), "1"),
    ] {
        let received = read(provider, &headers(&[event]), body.as_bytes()).unwrap();
        let expected = PushContext { before: Some(BEFORE.to_owned()), account: Some(account.to_owned()) };
        assert_eq!(received.pushes[0].context, expected, "{provider:?}");
    }
    let created = sample!("github-push").replace(BEFORE, &"0".repeat(40));
    let received = read(Github, &headers(&[("x-github-event", "push")]), created.as_bytes()).unwrap();
    assert_eq!(received.pushes[0].context.before, None, "a new branch");
    assert_eq!(PushContext::new(Some("$(id)".to_owned()), Some("a b".to_owned())), PushContext::default());
}

#[test]
fn the_head_commit_asks_to_be_skipped() {
    for (provider, event, body) in [
        (Github, ("x-github-event", "push"), sample!("github-push")),
        (Gitlab, ("x-gitlab-event", "Push Hook"), sample!("gitlab-push")),
        (Gitea, ("x-gitea-event", "push"), sample!("gitea-push")),
        (Bitbucket, ("x-event-key", "repo:refs_changed"), sample!("bitbucket-server-push")),
    ] {
        assert!(!pushes(provider, event, body)[0].skips);
        let head = body.replace("Describe the page", "Describe the page [skip deploy]");
        assert!(pushes(provider, event, &head)[0].skips, "{provider:?}");
        let earlier = body.replace("Add the page", "Add the page [skip deploy]");
        assert!(!pushes(provider, event, &earlier)[0].skips, "{provider:?}");
    }
}

#[test]
fn paths_of_more_commits_than_github_lists_are_unknown() {
    let commit = serde_json::json!({"id": HEAD, "message": "x", "added": ["a"], "removed": [], "modified": []});
    let push_of = |commits: usize| {
        let body =
            serde_json::json!({"ref": "refs/heads/main", "after": HEAD, "commits": vec![commit.clone(); commits]});
        push(Github, ("x-github-event", "push"), &body.to_string()).paths
    };
    assert_eq!(push_of(2047), known(&["a"]));
    assert_eq!(push_of(2048), unknown("The push does not list all of its commits"));
}

#[test]
fn a_form_has_the_json_in_its_field() {
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", sample!("github-push")).finish();
    let headers = headers(&[("x-github-event", "push"), ("content-type", "application/x-www-form-urlencoded")]);
    assert_eq!(read(Github, &headers, body.as_bytes()).unwrap().pushes[0].ref_name, "refs/heads/main");
}

#[test]
fn the_senders_own_id_names_the_delivery() {
    let id = |provider, sent: &[(&'static str, &str)]| {
        let event = match provider {
            Github => ("x-github-event", "ping"),
            Gitlab => ("x-gitlab-event", "Note Hook"),
            Gitea => ("x-gitea-event", "issues"),
            _ => ("x-event-key", "pullrequest:created"),
        };
        let sent = headers(&[&[event], sent].concat());
        read(provider, &sent, br#"{"object_kind": "note"}"#).unwrap().sent_as
    };
    assert_eq!(id(Github, &[("x-github-delivery", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Gitlab, &[("x-gitlab-event-uuid", "b"), ("idempotency-key", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Gitlab, &[("idempotency-key", "b"), ("webhook-id", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Gitea, &[("x-gitea-delivery", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Bitbucket, &[("x-request-uuid", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Deploy, &[("idempotency-key", "a")]).as_deref(), Some("a"));
    assert_eq!(id(Deploy, &[]), None);
    assert_eq!(id(Github, &[("x-github-delivery", &"a".repeat(256))]), None, "longer than an ID");
}

#[test]
fn what_is_no_event_of_the_host_is_refused_or_skipped() {
    for body in ["", "[]", "{}", "not JSON", r#"{"ref": 7, "after": "x"}"#] {
        let refused = read(Github, &headers(&[("x-github-event", "push")]), body.as_bytes()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidJson, "{body}");
    }
    assert!(skipped(Github, ("x-gitlab-event", "Push Hook"), "{}").contains("does not name its event"));
    for name in [
        "main",
        "refs/notes/commits",
        "refs/heads/",
        "refs/heads/a\\u202eb",
        &format!("refs/heads/{}", "x".repeat(512)),
    ] {
        let body = format!(r#"{{"ref": "{name}", "after": "{HEAD}"}}"#);
        assert!(skipped(Github, ("x-github-event", "push"), &body).contains("valid name"), "{name}");
    }
    let changes: Vec<_> = (0..21)
        .map(|at| serde_json::json!({"new": {"type": "tag", "name": format!("v{at}"), "target": {"hash": HEAD}}, "old": null}))
        .collect();
    let body = serde_json::json!({"push": {"changes": changes}}).to_string();
    assert!(skipped(Bitbucket, ("x-event-key", "repo:push"), &body).contains("more than 20"));
}
