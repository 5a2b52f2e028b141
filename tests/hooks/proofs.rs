//! Proofs of a hook's secret, valid ones and others.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tests::read_file;

use super::{Acme, ZEROS, hmac_of, new_hook, path_of, post, push};

fn sample(name: &str) -> String {
    read_file(&format!("tests/hooks/payloads/{name}.json"))
}

#[tokio::test]
async fn each_host_proves_the_secret_in_its_own_way() {
    let acme = Acme::start().await;
    for (provider, event, name) in [
        ("github", ("x-github-event", "push"), "github-push"),
        ("gitlab", ("x-gitlab-event", "Push Hook"), "gitlab-push"),
        ("gitea", ("x-gitea-event", "push"), "gitea-push"),
        ("bitbucket", ("x-event-key", "repo:push"), "bitbucket-push"),
    ] {
        let (hook, secret) = new_hook(&acme.owner, json!({"provider": provider})).await;
        let (url, body) = (hook["url"].as_str().unwrap(), sample(name));
        let digits = hmac_of(secret.as_bytes(), body.as_bytes());
        let prefixed = format!("sha256={digits}");
        let at = acme.world.clock.now().as_seconds().to_string();
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = [format!("m.{at}.").as_bytes(), body.as_bytes()].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        let standard = format!("v1,{}", BASE64_STANDARD.encode(tag));
        let proofs: &[&[(&str, &str)]] = match provider {
            "github" => &[&[("x-hub-signature-256", &prefixed)]],
            "gitea" => &[&[("x-hub-signature-256", &prefixed)], &[("x-gitea-signature", &digits)]],
            "bitbucket" => &[&[("x-hub-signature", &prefixed)]],
            _ => &[
                &[("x-gitlab-token", &secret)],
                &[("webhook-id", "m"), ("webhook-timestamp", &at), ("webhook-signature", &standard)],
            ],
        };
        for proof in proofs {
            let accepted = post(&acme.world, url, &[&[event][..], *proof].concat(), body.clone()).await;
            assert_eq!(
                (accepted.status, &accepted.body["ref"]),
                (202, &json!("refs/heads/main")),
                "{provider} {proof:?}"
            );
            let forged = body.replace("Ada", "Eve");
            let is_signed = proof[0].0 != "x-gitlab-token";
            let answer = post(&acme.world, url, &[&[event][..], *proof].concat(), forged).await;
            assert_eq!(answer.status == 404, is_signed, "{provider} {proof:?}: {answer:?}");
        }
        post(&acme.world, url, &[event], body).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_secret_and_a_hook_that_does_not_exist_are_answered_alike_and_leave_nothing() {
    let acme = Acme::start().await;
    let (other, other_secret) = new_hook(&acme.owner, json!({"provider": "github"})).await;
    let rival = acme.world.owner("rival").await;
    rival.repository("app", &acme.source).await;
    let (rivals, rivals_secret) = new_hook(&rival, json!({"provider": "github"})).await;
    let body = push("refs/heads/main", &acme.head().await, json!([])).to_string();
    let base = acme.world.stack.url();
    let url = |hook: &Value| format!("{base}/v1/hooks/{}", hook["id"].as_str().unwrap());
    let signed = |secret: &str| format!("sha256={}", hmac_of(secret.as_bytes(), body.as_bytes()));
    let right = signed(&acme.secret);
    for (what, url, signature) in [
        ("no signature", url(&acme.hook), String::new()),
        ("another hook's secret", url(&acme.hook), signed(&other_secret)),
        ("another account's secret", url(&acme.hook), signed(&rivals_secret)),
        ("another hook", url(&other), right.clone()),
        ("another account's hook", url(&rivals), right.clone()),
        ("no hook", format!("{base}/v1/hooks/hook_aaaaaaaaaaaaaaaa"), right.clone()),
        ("no ID of a hook", format!("{base}/v1/hooks/app"), right.clone()),
        ("another key", format!("{}?key=whsec_", url(&acme.hook)), String::new()),
    ] {
        let headers = [("x-github-event", "push"), ("x-hub-signature-256", signature.as_str())];
        let refused = post(&acme.world, &url, &headers, body.clone()).await;
        refused.refused(404, "not_found");
        assert_eq!(refused.body["error"]["message"], receive_hook::REFUSED, "{what}");
    }
    for (owner, hook) in [(&acme.owner, &acme.hook), (&acme.owner, &other), (&rival, &rivals)] {
        let deliveries = owner.get(&format!("{}/deliveries", path_of(hook))).await;
        assert_eq!(deliveries.body["data"], json!([]), "{deliveries:?}");
    }
    assert_eq!(acme.send("push", "1", &serde_json::from_str(&body).unwrap()).await.status, 202);
}

#[tokio::test]
async fn a_replay_of_a_signed_push_deploys_nothing_again() {
    let acme = Acme::start().await;
    let old = acme.head().await;
    let body = push("refs/heads/main", &old, json!([]));
    acme.push_of("1", &body).await;
    let new = acme.source.commit(&[("file", "2")]);
    acme.push("2", "refs/heads/main", &new).await;
    // Whoever has seen a delivery can send it again with another ID, because GitHub signs the body alone.
    let replayed = acme.push_of("3", &body).await;
    assert_eq!((&replayed["outcome"], &replayed["sha"]), (&json!("already_deployed"), &json!(new)));
    assert_eq!(acme.deployments().await.len(), 2);
}

#[tokio::test]
async fn a_body_may_have_a_mebibyte() {
    let acme = Acme::start().await;
    let body_of = |bytes: usize| {
        let mut body = json!({"ref": "refs/heads/other", "after": ZEROS, "deleted": true, "commits": [], "filler": ""});
        let filler = bytes - body.to_string().len();
        body["filler"] = json!("x".repeat(filler));
        body
    };
    let accepted = acme.send("push", "1", &body_of(1024 * 1024)).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let refused = acme.send("push", "2", &body_of(1024 * 1024 + 1)).await;
    refused.refused(413, "body_too_large");
    assert_eq!(refused.body["error"]["message"], "The body is larger than 1024 KiB");
}

#[tokio::test]
async fn wrong_secrets_count_against_their_source_and_right_ones_do_not() {
    let acme = Acme::start().await;
    let ping = json!({"zen": "x"});
    let wrong = async || post(&acme.world, acme.url(), &[("x-github-event", "ping")], ping.to_string()).await;
    // The hook is known before, and deliveries with its secret go on.
    assert_eq!(acme.send("ping", "first", &ping).await.status, 202);
    for _ in 0..20 {
        wrong().await.refused(404, "not_found");
    }
    let refused = wrong().await;
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    for id in 0..30 {
        assert_eq!(acme.send("ping", &id.to_string(), &ping).await.status, 202);
    }
    // A hook that the function does not know is not looked up for a source that is refused.
    let unknown = format!("{}/v1/hooks/hook_aaaaaaaaaaaaaaaa", acme.world.stack.url());
    let refused = post(&acme.world, &unknown, &[], String::new()).await;
    refused.refused(429, "rate_limited");
    acme.world.clock.advance(Duration::from_secs(60));
    wrong().await.refused(404, "not_found");
}

#[tokio::test]
async fn deliveries_to_a_hook_are_bounded_and_leave_the_plan_alone() {
    let acme = Acme::start().await;
    let (other, secret) = new_hook(&acme.owner, json!({"provider": "deploy"})).await;
    let before = acme.owner.get("/v1/rate_limit").await.body;
    let ping = json!({"zen": "x"});
    for id in 0..100 {
        assert_eq!(acme.send("ping", &id.to_string(), &ping).await.status, 202, "{id}");
    }
    acme.send("ping", "100", &ping).await.refused(429, "rate_limited");
    let url = other["url"].as_str().unwrap();
    assert!(url.contains(&form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>()), "{url}");
    assert_eq!(post(&acme.world, url, &[], String::new()).await.status, 202, "another hook has its own");
    acme.world.clock.advance(Duration::from_secs(2));
    let after = acme.owner.get("/v1/rate_limit").await.body;
    assert_eq!((&before["limit"], before["remaining"].is_u64()), (&after["limit"], true), "{before} {after}");
    assert_eq!(before["remaining"], after["remaining"]);
}
