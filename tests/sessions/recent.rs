//! Endpoints that need a recent sign-in.

use std::collections::BTreeSet;
use std::time::Duration;

use local::functions::routes;
use reqwest::Method;
use shared::access::Access;
use shared::route::SignInAge;
use tests::estate::{Estate, request};
use tests::{GitRepository, World};

use super::minutes;

/// The endpoints that make something which outlives the session and gives rights. This list is a second opinion beside the
/// routes, and is written by hand on purpose.
const NEEDS_RECENT_SIGN_IN: [&str; 7] = [
    "PATCH /v1/tokens/{token_id}",
    "POST /v1/applications",
    "POST /v1/invitations",
    "POST /v1/tokens",
    "POST /v1/tokens/{token_id}/rotate",
    "POST /v1/trusts",
    "PUT /v1/members/{user_id}",
];

#[test]
fn exactly_what_gives_rights_that_last_needs_a_recent_sign_in() {
    let needs: BTreeSet<_> =
        routes().filter(|route| route.sign_in == SignInAge::Recent).map(|route| route.key()).collect();
    assert_eq!(needs, NEEDS_RECENT_SIGN_IN.map(str::to_owned).into());
}

#[tokio::test]
async fn an_old_sign_in_is_asked_for_again_where_it_matters_and_a_token_never_is() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    let (session, _) = world.session(&estate.owner).await;
    let unknown = |path: &str| format!("{path}?unknown=1");
    let path = |key: &str| if key.starts_with('$') { "/v1/nothing".to_owned() } else { estate.path(key) };
    let routes: Vec<_> = routes().filter(|route| route.access != Access::Public).collect();
    for (age, is_old) in [(minutes(15) - Duration::from_millis(1), false), (Duration::from_millis(1), true)] {
        world.clock.advance(age);
        for route in &routes {
            let key = route.key();
            let asks = is_old && NEEDS_RECENT_SIGN_IN.contains(&key.as_str());
            // The request does nothing, because its parameter is refused after the sign-in was checked.
            for (caller, asks) in [(&session, asks), (&estate.owner, false)] {
                let answer = caller.send(caller.request(route.method.clone(), &unknown(&path(&key)))).await;
                match asks {
                    true => drop(answer.refused(403, "sign_in_again")),
                    false => assert_ne!(answer.body["error"]["code"], "sign_in_again", "{key}"),
                }
            }
        }
    }
    let before = estate.items(&world).await;
    for key in NEEDS_RECENT_SIGN_IN {
        let answer = session.send(request(&session, key, &estate.parameters)).await;
        answer.refused(403, "sign_in_again");
        assert!(!answer.headers.contains_key("www-authenticate"), "no other scope helps: {answer:?}");
    }
    assert_eq!(estate.items(&world).await.len(), before.len(), "nothing was made");

    // A new sign-in is enough.
    let (again, _) = world.session(&estate.owner).await;
    for key in ["POST /v1/tokens", "POST /v1/invitations", "PUT /v1/members/{user_id}"] {
        let answer = again.send(request(&again, key, &estate.parameters)).await;
        assert!([200, 201].contains(&answer.status), "{key}: {answer:?}");
    }
    assert_eq!(session.send(session.request(Method::GET, "/v1/tokens")).await.status, 200);
}
