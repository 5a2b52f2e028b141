//! The branches and tags of repositories.

use serde_json::{Value, json};
use tests::World;

#[tokio::test]
async fn branches_and_tags_are_those_of_the_git_host_now() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let first = source.git(&["rev-parse", "HEAD"]);
    for branch in ["release/1", "release/2", "a"] {
        source.git(&["branch", branch]);
    }
    source.git(&["tag", "v1"]);
    source.git(&["tag", "--annotate", "--message=x", "v2"]);
    source.git(&["update-ref", "refs/pull/7/head", "HEAD"]);
    let second = source.commit(&[("more", "")]);
    let list = async |query: &str| {
        let listed = owner.get(&format!("/v1/repositories/app/refs{query}")).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        listed
    };
    let listed = list("").await;
    let names = [
        "refs/heads/a",
        "refs/heads/main",
        "refs/heads/release/1",
        "refs/heads/release/2",
        "refs/tags/v1",
        "refs/tags/v2",
    ];
    assert_eq!(listed.column("full_name"), names);
    assert_eq!(listed.body["meta"], json!({"total": 6, "page": 1, "per_page": 10}));
    assert_eq!(
        listed.body["data"][1],
        json!({"name": "main", "full_name": "refs/heads/main", "type": "branch", "sha": second})
    );
    assert_eq!(
        listed.body["data"][5],
        json!({"name": "v2", "full_name": "refs/tags/v2", "type": "tag", "sha": first}),
        "an annotated tag has its commit"
    );
    for (query, names) in [
        ("?type=branch", vec!["a", "main", "release/1", "release/2"]),
        ("?type=tag", vec!["v1", "v2"]),
        ("?prefix=release/", vec!["release/1", "release/2"]),
        ("?prefix=v&type=tag&direction=desc", vec!["v2", "v1"]),
        ("?prefix=refs/heads/", vec![]),
        ("?type=tag&prefix=m", vec![]),
    ] {
        assert_eq!(list(query).await.column("name"), names, "{query}");
    }
    let pages = owner.walk("/v1/repositories/app/refs?per_page=2&prefix=release/&type=branch", "next").await;
    assert_eq!(pages.len(), 1);
    let pages = owner.walk("/v1/repositories/app/refs?per_page=4", "next").await;
    assert_eq!(pages.iter().map(|page| page.column("name").len()).collect::<Vec<_>>(), [4, 2]);

    // The answer is validated like any other, and a push changes it.
    let etag = listed.header("etag").to_owned();
    assert_eq!(owner.get_unless("/v1/repositories/app/refs", &etag).await.status, 304);
    source.git(&["branch", "b"]);
    assert_eq!(owner.get_unless("/v1/repositories/app/refs", &etag).await.body["meta"]["total"], 7);

    for query in ["?type=pull", "?prefix=", "?sort=created", "?ref=main"] {
        owner.get(&format!("/v1/repositories/app/refs{query}")).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn names_of_any_length_can_be_walked() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let mut expected = vec!["main".to_owned()];
    for end in ['x', 'y', 'z'] {
        let name = format!("{}/{}{end}", "é\"".repeat(40), "n".repeat(100));
        source.git(&["branch", &name]);
        expected.push(name);
    }
    let pages = owner.walk("/v1/repositories/app/refs?per_page=1", "next").await;
    let mut names: Vec<_> = pages.iter().flat_map(|page| page.column("name")).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let back = owner.walk(&pages[3].link("first").unwrap(), "next").await;
    assert_eq!(back.len(), 4);
}

#[tokio::test]
async fn a_git_host_that_can_not_be_read_is_told() {
    let world = World::start().await;
    let (owner, source) = world.app().await;
    let url = source.url();
    drop(source);
    let refused = owner.get("/v1/repositories/app/refs").await;
    refused.refused(400, "invalid_clone_url");
    let message: &Value = &refused.body["error"]["message"];
    assert!(message.as_str().unwrap().starts_with(&format!("Can't read {url}: ")), "{message}");
}
