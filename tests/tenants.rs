//! Calls by one account with the ids of another.

use local::functions::routes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tests::estate::{Estate, Parameters, ids_of, request};
use tests::{Answer, GitRepository, World};

/// Every way to name a repository, each with a name that no repository has.
const REPOSITORY: [(&str, &str); 3] =
    [("repo_id", "repo_aaaaaaaaaaaaaaaa"), ("repo_name", "nobodys-app"), ("full_name", "nobody%2Fnobodys-app")];

/// Returns a refusal without its request id, and with the names of its headers.
fn comparable(answer: &Answer) -> (u16, String, Vec<String>) {
    let mut body = answer.body.clone();
    body["error"].as_object_mut().unwrap().remove("request_id");
    let mut headers: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
    headers.sort();
    (answer.status, body.to_string(), headers)
}

#[tokio::test]
async fn an_id_of_another_account_is_answered_like_an_id_that_nothing_has() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let victim = Estate::new(&world, "victim", &source).await;
    let rival = Estate::new(&world, "rival", &source).await;
    let before = victim.items(&world).await;
    let mut tried = 0;
    for route in routes() {
        let route = route.key();
        let [in_path, in_body] = ids_of(&route);
        let ids = [in_path.clone(), in_body].concat();
        // Each id is the rival's or the victim's, and at least one is the victim's.
        for choice in 1..1 << ids.len() {
            let is_victims = |at: usize| choice >> at & 1 == 1;
            let chosen: Vec<_> = (0..ids.len()).filter(|at| is_victims(*at)).map(|at| ids[at]).collect();
            let ways =
                if chosen.iter().any(|(name, _)| *name == "repo_id") { &REPOSITORY[..] } else { &REPOSITORY[..1] };
            for (way, nobodys_name) in ways {
                let (mut foreign, mut missing) = (rival.parameters.clone(), rival.parameters.clone());
                for (name, nobodys) in &chosen {
                    let (from, nobodys) = if *name == "repo_id" { (way, nobodys_name) } else { (name, nobodys) };
                    foreign.insert(name, victim.parameters[from].clone());
                    missing.insert(name, (*nobodys).to_owned());
                }
                let call =
                    async |parameters: &Parameters| rival.owner.send(request(&rival.owner, &route, parameters)).await;
                let (refused, expected) = (call(&foreign).await, call(&missing).await);
                if (0..in_path.len()).any(is_victims) {
                    refused.refused(404, "not_found");
                } else {
                    refused.refused(400, "invalid_request");
                }
                let (mut refused, expected) = (comparable(&refused), comparable(&expected));
                // A refusal may repeat what it was sent.
                for (name, _) in &chosen {
                    refused.1 = refused.1.replace(&foreign[name], &missing[name]);
                }
                assert_eq!(refused, expected, "{route}: the caller can tell the two apart");
                tried += 1;
            }
        }
        assert_eq!(victim.items(&world).await, before, "{route} changes nothing");
    }
    assert!(tried > 40, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_of_calls_returns_or_changes_data_of_another_account() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let victim = Estate::new(&world, "victim", &source).await;
    let rival = Estate::new(&world, "rival", &source).await;
    victim.owner.repository("victims-other", &source).await;
    rival.owner.repository("rivals-other", &source).await;
    let cursor = async |estate: &Estate| {
        let page = estate.owner.get("/v1/repositories?per_page=1").await;
        page.link("next").unwrap().split("cursor=").nth(1).unwrap().to_owned()
    };
    let (mut own, mut foreign) = (rival.parameters.clone(), victim.parameters.clone());
    own.insert("cursor", cursor(&rival).await);
    foreign.insert("cursor", cursor(&victim).await);
    let mut routes: Vec<_> = routes().map(|route| route.key()).collect();
    routes.push("GET /v1/repositories?cursor={cursor}&per_page=1&page=2".to_owned());
    routes.push("GET /v1/repositories/{full_name}".to_owned());
    let before = victim.items(&world).await;
    assert!(before.len() > 15, "{}", before.len());

    // Each parameter is the caller's own or the victim's.
    let call = (0..routes.len(), proptest::collection::vec(any::<bool>(), own.len()));
    let calls = proptest::collection::vec(call, 1..30);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let outcome = runner.run(&calls, |calls| {
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                for (route, victims) in calls {
                    let route = &routes[route];
                    let mut parameters = own.clone();
                    let victims: Vec<_> =
                        own.keys().zip(victims).filter(|(_, victims)| *victims).map(|(name, _)| *name).collect();
                    for name in &victims {
                        parameters.insert(name, foreign[name].clone());
                    }
                    // The caller knows neither the secrets of the invitation and the hook nor the owner's token, and has no token of
                    // the other's jobs.
                    for secret in ["secret", "hook_key", "token", "subject_token"] {
                        parameters.insert(secret, own[secret].clone());
                    }
                    let named = ids_of(route).concat();
                    let sent: Vec<_> = named.iter().map(|(name, _)| &parameters[name]).collect();
                    let answer = rival.owner.send(request(&rival.owner, route, &parameters)).await;
                    let text = answer.body.to_string();
                    for secret in victim.secrets() {
                        // A refusal may repeat what it was sent.
                        let repeated = answer.status >= 400 && sent.iter().any(|sent| *sent == secret);
                        prop_assert!(repeated || !text.contains(secret), "{route} {sent:?}: {answer:?}");
                    }
                    if named.iter().any(|(name, _)| victims.contains(name)) {
                        prop_assert!(answer.status >= 400, "{route} {sent:?}: {answer:?}");
                    }
                }
                prop_assert_eq!(victim.items(&world).await, before.clone());
                Ok(())
            })
        })
    });
    outcome.unwrap();
}
