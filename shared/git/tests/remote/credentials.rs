use git::{Credential, Remote};

use crate::origin::Origin;
use crate::server::{Answer, Server};

fn basic(request: &crate::server::Request) -> bool {
    // "robot:secret"
    request.headers.get("authorization").is_some_and(|value| value == "Basic cm9ib3Q6c2VjcmV0")
}

fn signed_in(server: &Server, path: &str) -> Remote {
    let host = server.host().parse().unwrap();
    Remote::new(server.url(path), Some(Credential::new(host, "robot", "secret")))
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
