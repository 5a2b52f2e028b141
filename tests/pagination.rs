use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::copies::multiply;
use tests::{Actor, Answer, GitRepository, World, cost_of, embedded};

/// Creates an account whose repositories have these names, each created a minute after the previous one.
async fn account_with(world: &World, slug: &str, names: &[&str]) -> (Actor, GitRepository) {
    let (owner, source) = (world.owner(slug).await, GitRepository::new(&[]));
    for name in names {
        owner.repository(name, &source).await;
        world.clock.advance(Duration::from_secs(60));
    }
    (owner, source)
}

/// Returns the numbers on a page.
fn numbers(page: &Answer) -> Vec<u64> {
    page.body["data"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_list_has_its_sorts_in_both_directions() {
    let world = World::start().await;
    let (owner, _) = account_with(&world, "acme", &["beta", "Alpha", "gamma", "alpha-2"]).await;
    let by_age = ["alpha-2", "gamma", "Alpha", "beta"];
    let by_name = ["Alpha", "alpha-2", "beta", "gamma"];
    for (query, expected, turned) in [
        ("", by_age, false),
        ("?sort=created", by_age, false),
        ("?direction=desc", by_age, false),
        ("?direction=asc", by_age, true),
        ("?sort=created&direction=asc", by_age, true),
        ("?sort=updated", by_age, false),
        ("?sort=updated&direction=asc", by_age, true),
        ("?sort=name", by_name, false),
        ("?sort=name&direction=asc", by_name, false),
        ("?direction=desc&sort=name", by_name, true),
    ] {
        let mut expected = expected.to_vec();
        if turned {
            expected.reverse();
        }
        let page = owner.get(&format!("/v1/repositories{query}")).await;
        assert_eq!(page.column("name"), expected, "{query}");
        assert_eq!(page.body["meta"], json!({"total": 4, "page": 1, "per_page": 10}));
    }
}

#[tokio::test]
async fn a_parameter_out_of_range_is_named() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    for (query, field) in [
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("per_page=-1", "per_page"),
        ("per_page=", "per_page"),
        ("per_page=ten", "per_page"),
        ("per_page=1e1", "per_page"),
        ("per_page=4294967297", "per_page"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.5", "page"),
        ("page=18446744073709551617", "page"),
        ("sort=size", "sort"),
        ("sort=Name", "sort"),
        ("direction=up", "direction"),
    ] {
        let refused = owner.get(&format!("/v1/repositories?{query}")).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{query}: {refused:?}");
        assert_eq!(refused.body["error"]["details"].as_array().unwrap().len(), 1);
    }
    for (query, per_page) in [
        ("per_page=1", 1),
        ("per_page=100", 100),
        ("page=1001", 10),
        ("page=1002", 10),
        ("page=1000000000&per_page=100", 100),
    ] {
        let page = owner.get(&format!("/v1/repositories?{query}")).await;
        assert_eq!((page.status, &page.body["meta"]["per_page"]), (200, &json!(per_page)), "{query}");
    }
}

#[tokio::test]
async fn links_walk_a_list_in_both_ways() {
    let world = World::start().await;
    let (owner, _) = account_with(&world, "acme", &["a", "b", "c", "d", "e", "f", "g"]).await;
    let rows = ["a", "b", "c", "d", "e", "f", "g"];
    for query in ["sort=name", "sort=name&direction=desc", "sort=created&direction=asc", "sort=updated", ""] {
        let mut rows = rows.to_vec();
        if ["sort=name&direction=desc", "sort=updated", ""].contains(&query) {
            rows.reverse();
        }
        // 7 rows: with a partial last page, in full pages, on one full page, and on one partial page.
        for per_page in [1, 2, 3, 7, 10] {
            let path = format!("/v1/repositories?per_page={per_page}&{query}");
            let expected: Vec<&[&str]> = rows.chunks(per_page).collect();
            let pages = owner.walk(&path, "next").await;
            assert_eq!(pages.len(), expected.len(), "{path}");
            let last = expected.len();
            for (page, (number, rows)) in pages.iter().zip((1..).zip(&expected)) {
                assert_eq!(page.column("name"), *rows, "{path}, page {number}");
                assert_eq!(page.body["meta"], json!({"total": 7, "page": number, "per_page": per_page}));
                assert_eq!(page.link("prev").is_some(), number > 1, "{path}, page {number}");
                assert_eq!(page.link("next").is_some(), number < last, "{path}, page {number}");
                for (relation, target) in [("first", 1), ("last", last)] {
                    let target_page = owner.get(&page.link(relation).unwrap()).await;
                    assert_eq!(target_page.body, pages[target - 1].body, "{path}, {relation} of page {number}");
                    assert_eq!(target_page.link("next").is_some(), target < last);
                    assert_eq!(target_page.link("prev").is_some(), target > 1);
                }
                // A page requested by number has the same rows.
                let jumped = owner.get(&format!("{path}&page={number}")).await;
                assert_eq!((&jumped.body, jumped.status), (&page.body, 200));
            }
            let end = pages.last().unwrap().link("last").unwrap();
            let mut back = owner.walk(&end, "prev").await;
            back.reverse();
            let bodies = |pages: &[Answer]| pages.iter().map(|page| page.body.clone()).collect::<Vec<_>>();
            assert_eq!(bodies(&back), bodies(&pages), "{path}");
        }
    }
}

#[tokio::test]
async fn an_empty_list_has_one_page() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let page = owner.get("/v1/repositories").await;
    assert_eq!(page.body, json!({"data": [], "meta": {"total": 0, "page": 1, "per_page": 10}}));
    assert_eq!((page.link("prev"), page.link("next")), (None, None));
    for relation in ["first", "last"] {
        assert_eq!(owner.get(&page.link(relation).unwrap()).await.body, page.body, "{relation}");
    }
}

#[tokio::test]
async fn rows_that_others_insert_neither_hide_nor_repeat_a_row() {
    let world = World::start().await;
    let existing = ["b1", "b2", "b3", "b4", "b5", "b6", "b7"];
    let (owner, source) = account_with(&world, "acme", &existing).await;
    for (round, query) in ["sort=name", "sort=name&direction=desc", "direction=asc", ""].iter().enumerate() {
        let mut seen = Vec::new();
        let mut next = Some(format!("/v1/repositories?per_page=2&{query}"));
        let mut step = 0;
        while let Some(path) = next {
            let page = owner.get(&path).await;
            seen.extend(page.column("name"));
            next = page.link("next");
            // By name, one sorts first, one last, and one in the middle.
            for place in ["a", "z", "b3-"] {
                if step < 3 {
                    owner.repository(&format!("{place}new-{round}-{step}"), &source).await;
                    world.clock.advance(Duration::from_secs(1));
                }
            }
            step += 1;
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{query}: a row came twice: {seen:?}");
        let mut old: Vec<&str> = seen.iter().map(String::as_str).filter(|name| existing.contains(name)).collect();
        if query.ends_with("desc") || query.is_empty() {
            old.reverse();
        }
        assert_eq!(old, existing, "{query}: {seen:?}");
    }
    let page = owner.get("/v1/repositories").await;
    assert_eq!(page.body["meta"]["total"], 7 + 4 * 9, "the total counts every one");
}

#[tokio::test]
async fn a_page_keeps_its_rows_while_others_insert_before_it() {
    let world = World::start().await;
    let (owner, source) = account_with(&world, "acme", &["a", "b", "c", "d", "e"]).await;
    let first = owner.get("/v1/repositories?per_page=2").await;
    let second = owner.get(&first.link("next").unwrap()).await;
    assert_eq!(second.column("name"), ["c", "b"]);
    owner.repository("f", &source).await;
    assert_eq!(owner.get(&first.link("next").unwrap()).await.column("name"), ["c", "b"]);
    // The previous page is unchanged too, and now has a page before it.
    let back = owner.get(&second.link("prev").unwrap()).await;
    assert_eq!(back.column("name"), ["e", "d"]);
    assert_eq!(owner.get(&back.link("prev").unwrap()).await.column("name"), ["f"]);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_and_order_only() {
    let world = World::start().await;
    let (owner, source) = account_with(&world, "acme", &["a", "b", "c"]).await;
    let (stranger, _) = account_with(&world, "globex", &["b", "x"]).await;
    for _ in 0..3 {
        owner.deploy("a", json!({"ref": "main"})).await;
    }
    drop(source);
    let cursor_of = |page: &Answer| page.link("next").unwrap().split("cursor=").nth(1).unwrap().to_owned();
    let by_name = cursor_of(&owner.get("/v1/repositories?per_page=1&sort=name").await);
    let by_age = cursor_of(&owner.get("/v1/repositories?per_page=1").await);
    let of_deployments = cursor_of(&owner.get("/v1/repositories/a/deployments?per_page=1").await);
    let forged = |start: Value| {
        let cursor = json!({"v": 1, "list": "repositories", "sort": "created", "asc": false, "start": start});
        BASE64_URL_SAFE_NO_PAD.encode(cursor.to_string())
    };
    for query in [
        format!("cursor={by_name}"),
        format!("sort=updated&cursor={by_age}"),
        format!("sort=name&direction=desc&cursor={by_name}"),
        format!("direction=asc&cursor={by_age}"),
        format!("cursor={of_deployments}"),
        format!("cursor={}x", by_age),
        "cursor=%00".to_owned(),
        format!("cursor={}", "A".repeat(512)),
        format!("cursor={}", forged(json!({"after": ""}))),
        format!("cursor={}", forged(json!({"skipping": 4_000_000_000_u64}))),
    ] {
        owner.get(&format!("/v1/repositories?{query}")).await.refused(400, "invalid_cursor");
    }
    for query in ["cursor=".to_owned(), format!("cursor={}", "A".repeat(513))] {
        owner.get(&format!("/v1/repositories?{query}")).await.refused(400, "invalid_request");
    }
    let query = format!("per_page=1&sort=name&cursor={by_name}");
    owner.get(&format!("/v1/repositories/a/deployments?cursor={by_age}")).await.refused(400, "invalid_cursor");

    // A cursor is only a position, so another account's cursor leads into the caller's own list.
    assert_eq!(owner.get(&format!("/v1/repositories?{query}")).await.column("name"), ["b"]);
    let own = stranger.get(&format!("/v1/repositories?{query}")).await;
    assert_eq!((own.column("full_name"), &own.body["meta"]["total"]), (vec!["globex/b".to_owned()], &json!(2)));
}

#[tokio::test]
async fn a_page_beyond_the_end_is_empty_and_leads_back_to_the_last() {
    let world = World::start().await;
    let (owner, _) = account_with(&world, "acme", &["a", "b", "c"]).await;
    for page in [3, 5000] {
        let beyond = owner.get(&format!("/v1/repositories?sort=name&per_page=2&page={page}")).await;
        assert_eq!(beyond.body, json!({"data": [], "meta": {"total": 3, "page": page, "per_page": 2}}));
        assert_eq!(beyond.link("next"), None);
        for relation in ["prev", "last"] {
            let last = owner.get(&beyond.link(relation).unwrap()).await;
            assert_eq!((last.column("name"), &last.body["meta"]["page"]), (vec!["c".to_owned()], &json!(2)));
        }
    }
}

#[tokio::test]
async fn deployments_are_filtered_with_exact_totals() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let source = GitRepository::with_commands(&["test $DEPLOYMENT_ENVIRONMENT != production"]);
    let repository = owner.repository("app", &source).await;
    let environments = ["preview", "production", "preview", "staging", "preview", "production", "preview"];
    for environment in environments {
        // They run one after the other, because in preview a newer deployment supersedes queued ones.
        owner.ended(&owner.deploy("app", json!({"ref": "main", "environment": environment})).await).await;
    }
    for (filter, expected) in [
        ("", &[7, 6, 5, 4, 3, 2, 1][..]),
        ("environment=preview", &[7, 5, 3, 1]),
        ("environment=staging", &[4]),
        ("status=succeeded", &[7, 5, 4, 3, 1]),
        ("status=failed", &[6, 2]),
        ("status=queued", &[]),
        ("environment=production&status=failed", &[6, 2]),
        ("environment=production&status=succeeded", &[]),
        ("status=succeeded&environment=preview", &[7, 5, 3, 1]),
    ] {
        for (direction, turned) in [("", false), ("&direction=desc", false), ("&direction=asc", true)] {
            let mut expected = expected.to_vec();
            if turned {
                expected.reverse();
            }
            let path = format!("/v1/repositories/app/deployments?per_page=2&{filter}{direction}");
            let pages = owner.walk(&path, "next").await;
            let found: Vec<u64> = pages.iter().flat_map(numbers).collect();
            assert_eq!(found, expected, "{path}");
            for page in &pages {
                assert_eq!(page.body["meta"]["total"], expected.len(), "{path}");
                let link = page.link("first").unwrap();
                let id = repository["id"].as_str().unwrap();
                assert!(link.contains(&format!("/v1/repositories/{id}/deployments?")), "{link}");
                assert!(filter.split('&').all(|part| link.contains(part)), "{link} lost {filter}");
            }
            let last = owner.get(&pages[0].link("last").unwrap()).await;
            assert_eq!(last.body, pages.last().unwrap().body, "{path}");
        }
    }
    for (query, field) in [
        ("sort=name", "sort"),
        ("sort=updated", "sort"),
        ("environment=Moon", "environment"),
        ("status=done", "status"),
        ("per_page=101&status=failed", "per_page"),
    ] {
        let refused = owner.get(&format!("/v1/repositories/app/deployments?{query}")).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.body["error"]["details"][0]["field"], field, "{refused:?}");
    }
}

#[tokio::test]
async fn a_failure_that_quotes_a_long_command_leaves_the_row_short() {
    let world = World::start().await;
    let owner = world.owner("acme").await;
    let command = format!("exit 3 # {}", "é".repeat(20_000));
    let source = GitRepository::with_commands(&[&format!("'{command}'")]);
    owner.repository("long", &source).await;
    owner.ended(&owner.deploy("long", json!({"ref": "main"})).await).await;
    let page = owner.get("/v1/repositories/long/deployments").await;
    let failure = &page.body["data"][0]["failure"];
    assert_eq!(failure["code"], "command_failed", "{page:?}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.starts_with("Command 'exit 3 # ééé") && message.ends_with("é…"), "{message}");
    assert!((990..=1000).contains(&message.len()), "{}", message.len());
}

#[tokio::test]
async fn every_page_along_link_costs_the_same_however_far_it_is() {
    let world = World::start_with(embedded).await;
    let owner = world.owner("acme").await;
    let source = GitRepository::new(&[]);
    let model = owner.repository("app-000000", &source).await;
    multiply(&world, &model, 12_000).await;
    // The copies equal repositories that were created one by one.
    assert_eq!(owner.get("/v1/repositories/app-010321").await.body["name"], "app-010321");
    let again = json!({"name": "APP-011999", "clone_url": source.url()});
    owner.post("/v1/repositories", again).await.refused(409, "name_taken");

    let cost = |answer: &Answer| {
        let id = answer.header("x-request-id");
        let line = world.log().into_iter().rev().find(|line| line["request_id"] == id).unwrap();
        cost_of(&line)
    };
    owner.get("/v1/repositories").await;
    let first = owner.get("/v1/repositories").await;
    let mut page = first.clone();
    let mut seen = BTreeSet::new();
    for number in 1..=1000 {
        assert_eq!(page.body["meta"], json!({"total": 12_000, "page": number, "per_page": 10}));
        seen.extend(page.column("id"));
        if number < 1000 {
            page = owner.get(&page.link("next").unwrap()).await;
        }
    }
    assert_eq!(seen.len(), 10_000);
    let by_name = owner.get("/v1/repositories?sort=name").await;
    let last = owner.get(&first.link("last").unwrap()).await;
    let before_last = owner.get(&last.link("prev").unwrap()).await;
    assert_eq!(last.body["meta"]["page"], 1200);
    // One write counts the request, one query reads ten rows and the next, one read gives the total.
    for page in [&first, &page, &last, &before_last, &by_name] {
        assert_eq!(cost(page), (3, 3.0), "{}", page.body["meta"]);
    }

    let jump = owner.get("/v1/repositories?page=1000").await;
    assert_eq!(jump.body, page.body);
    let furthest = owner.get("/v1/repositories?page=101&per_page=100").await;
    assert_eq!(furthest.body["data"].as_array().unwrap().len(), 100);
    for (page, skipped) in [(&jump, 9990.0), (&furthest, 10_000.0)] {
        let (calls, units) = cost(page);
        let bytes = (units - 3.0) / 0.5 * 4096.0;
        let per_row = bytes / skipped;
        assert!((400.0..600.0).contains(&per_row), "{per_row} bytes a row: {units} units");
        assert_eq!(calls, 3 + (bytes / 1_048_576.0).ceil() as u64, "one query per megabyte");
    }
}
