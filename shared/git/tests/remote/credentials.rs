use std::sync::{Arc, OnceLock};

use git::{Credential, Remote, RemoteError};

use crate::origin::Origin;
use crate::server::{Answer, Server};

fn basic(request: &crate::server::Request) -> bool {
    // "robot:secret"
    request.headers.get("authorization").is_some_and(|value| value == "Basic cm9ib3Q6c2VjcmV0")
}

fn signed_in(server: &Server, path: &str) -> Remote {
    let host = server.host().parse().unwrap();
    Remote::new(server.url(path), Some(Credential::new(host, "robot", "secret", "the connection X")))
}

#[tokio::test]
async fn every_request_to_the_host_has_the_credential() {
    let origin = Origin::new();
    let sha = origin.commit();
    let server = Server::answering(origin.root(), |request| match basic(request) {
        true => Answer::Git(request.path.clone()),
        false => Answer::Status("401 Unauthorized"),
    });
    let remote = signed_in(&server, "/app/.git");
    assert_eq!(remote.list_refs().await.unwrap().refs.len(), 1);
    assert!(remote.find_commit(sha).await.unwrap().is_some());
    assert!(server.requests().iter().all(basic));
}

#[tokio::test]
async fn a_redirect_to_another_host_or_port_does_not_get_the_credential() {
    let origin = Origin::new();
    origin.commit();
    let elsewhere = Server::new(origin.root());
    let target = elsewhere.host();
    let server = Server::answering(origin.root(), move |request| {
        Answer::Redirect("301 Moved", format!("http://{target}/app/.git/info/refs?{}", request.query))
    });
    signed_in(&server, "/app/.git").list_refs().await.unwrap();
    assert!(server.requests().iter().all(basic));
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn a_refusal_names_the_source_of_the_credential_and_is_not_answered_with_it_again() {
    let origin = Origin::new();
    origin.commit();
    let refused = "the repository's server refused the credential of the connection X; it may have expired, or may not read \
                   the repository";
    let not_visible = "the repository does not exist, or the connection X may not read it";
    for (status, message) in [("401 Unauthorized", refused), ("403 Forbidden", refused), ("404 Not Found", not_visible)]
    {
        let server = Server::answering(origin.root(), move |_| Answer::Status(status));
        let error = signed_in(&server, "/app/.git").list_refs().await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_challenge_of_another_realm_or_scheme_gets_nothing() {
    let origin = Origin::new();
    origin.commit();
    for challenge in ["Basic realm=\"another\"", "Digest realm=\"a\", nonce=\"b\"", "Negotiate", "Bearer"] {
        // The credential is for another port of this machine.
        let server = Server::answering(origin.root(), move |_| Answer::Challenge(challenge));
        let credential = Credential::new("127.0.0.1:1".parse().unwrap(), "robot", "secret", "the connection X");
        let error = Remote::new(server.url("/app/.git"), Some(credential)).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::NotARepository), "{error:?}");
        assert!(server.requests().iter().all(|request| !request.headers.contains_key("authorization")), "{challenge}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_to_the_same_host_by_another_name_gets_nothing() {
    let origin = Origin::new();
    origin.commit();
    let server = Server::answering(origin.root(), |request| match request.headers["host"].starts_with("127.0.0.1") {
        true => {
            let port = request.headers["host"].rsplit_once(':').unwrap().1;
            Answer::Redirect("301 Moved", format!("http://localhost:{port}/app/.git/info/refs?{}", request.query))
        }
        false => Answer::Git(request.path.clone()),
    });
    signed_in(&server, "/app/.git").list_refs().await.unwrap();
    let sent = server.requests().into_iter().filter(|request| request.headers.contains_key("authorization"));
    assert!(sent.into_iter().all(|request| request.headers["host"].starts_with("127.0.0.1")));
}

#[tokio::test]
async fn a_redirect_that_comes_back_gets_nothing() {
    let origin = Origin::new();
    origin.commit();
    let host = Arc::new(OnceLock::<String>::new());
    let back = Arc::clone(&host);
    let elsewhere = Server::answering(origin.root(), move |request| {
        Answer::Redirect("301 Moved", format!("http://{}/app/.git/info/refs?{}", back.get().unwrap(), request.query))
    });
    let target = elsewhere.host();
    let server = Server::answering(origin.root(), move |request| match request.path.strip_prefix("/moved/") {
        Some(rest) => Answer::Redirect("301 Moved", format!("http://{target}/away/{rest}?{}", request.query)),
        None => Answer::Git(request.path.clone()),
    });
    host.set(server.host()).unwrap();
    signed_in(&server, "/moved").list_refs().await.unwrap();
    let requests = server.requests();
    let has_it: Vec<_> = requests.iter().map(|request| (request.path.as_str(), basic(request))).collect();
    let expected = [("/moved/info/refs", true), ("/app/.git/info/refs", false), ("/app/.git/git-upload-pack", false)];
    assert_eq!(has_it, expected);
    assert!(elsewhere.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}
