use std::net::TcpListener;

use git::{CloneUrl, InvalidCloneUrl, RemoteError};
use shared::hosts::Hosts;

use crate::origin::Origin;
use crate::remote;
use crate::server::{Answer, Server};

#[tokio::test]
async fn public_https_refuses_local_hosts_by_any_name() {
    for text in ["https://127.0.0.1/app", "https://[::1]/app", "https://169.254.169.254/latest"] {
        assert_eq!(CloneUrl::parse(text, Hosts::PublicHttps), Err(InvalidCloneUrl::NotPublic), "{text}");
    }
    for text in ["http://github.com/a/b", "ssh://git@github.com/a/b", "file:///srv/app.git", "/srv/app.git"] {
        assert_eq!(CloneUrl::parse(text, Hosts::PublicHttps), Err(InvalidCloneUrl::NotHttps), "{text}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["localhost", "2130706433", "127.1", "0x7f.1"] {
        let url = CloneUrl::parse(&format!("https://{host}:{port}/app"), Hosts::PublicHttps).unwrap();
        let error = remote(&url).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
        assert!(listener.accept().is_err(), "{host} was connected to");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_to_where_the_repository_is() {
    let origin = Origin::new();
    origin.commit();
    let server = Server::answering(origin.root(), |request| match request.path.strip_prefix("/old/") {
        Some(rest) => Answer::Redirect("301 Moved", format!("/older/{rest}?{}", request.query)),
        None => match request.path.strip_prefix("/older/") {
            Some(rest) => Answer::Redirect(
                "301 Moved",
                format!("http://{}/app/.git/{rest}?{}", request.headers["host"], request.query),
            ),
            None => Answer::Git(request.path.clone()),
        },
    });
    let refs = remote(&server.url("/old")).list_refs().await.unwrap();
    assert_eq!(refs.refs.len(), 1);
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().map(|request| (request.method.as_str(), request.path.as_str())).collect();
    let expected = [
        ("GET", "/old/info/refs"),
        ("GET", "/older/info/refs"),
        ("GET", "/app/.git/info/refs"),
        ("POST", "/app/.git/git-upload-pack"),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_refused() {
    let origin = Origin::new();
    let tail = "info/refs?service=git-upload-pack";
    // 167772161 is 10.0.0.1 and 2852039166 is 169.254.169.254, which only the resolver sees.
    for host in ["10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "167772161", "2852039166", "0xa9fea9fe"] {
        let server = Server::answering(origin.root(), move |_| {
            Answer::Redirect("301 Moved", format!("http://{host}/app/{tail}"))
        });
        let error = remote(&server.url("/app")).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused() {
    let origin = Origin::new();
    origin.commit();
    let tail = "info/refs?service=git-upload-pack";
    let path = origin.path().join(".git");
    let path = path.to_str().unwrap();
    for location in
        [format!("file://{path}/{tail}"), "/login".to_owned(), String::new(), format!("ftp://127.0.0.1/{tail}")]
    {
        let server = Server::answering(origin.root(), move |_| Answer::Redirect("301 Moved", location.clone()));
        let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::Redirect(_)), "{error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn redirects_have_an_end() {
    let origin = Origin::new();
    let server = Server::answering(origin.root(), |request| {
        Answer::Redirect("301 Moved", format!("/again{}?{}", request.path, request.query))
    });
    let error = remote(&server.url("/app")).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::Redirect(_)), "{error:?}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_post_is_sent_again_to_where_its_host_redirects_it() {
    let origin = Origin::new();
    let sha = origin.commit();
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Server::answering(origin.root(), move |request| {
            match (request.method.as_str(), request.path.strip_prefix("/new")) {
                ("GET", _) => Answer::Git(request.path.clone()),
                (_, Some(path)) => Answer::Git(path.to_owned()),
                (_, None) => Answer::Redirect(status, format!("/new{}", request.path)),
            }
        });
        let refs = remote(&server.url("/app/.git")).list_refs().await.unwrap();
        assert_eq!(refs.head, Some(sha), "{status}");
        let requests = server.requests();
        assert_eq!((requests.len(), &requests[1].body, &requests[2].path[..4]), (3, &requests[2].body, "/new"));
    }
}

#[tokio::test]
async fn no_other_origin_gets_a_post() {
    let origin = Origin::new();
    origin.commit();
    let elsewhere = Server::new(origin.root());
    let other = elsewhere.url("/app/.git/git-upload-pack").to_string();
    let file = format!("file://{}", origin.path().display());
    for (status, location) in [
        ("307 Temporary Redirect", other.clone()),
        ("308 Permanent Redirect", other.replace("127.0.0.1", "localhost")),
        ("307 Temporary Redirect", other.replace("http://", "https://")),
        ("307 Temporary Redirect", "http://169.254.169.254/latest".to_owned()),
        ("307 Temporary Redirect", file),
    ] {
        let target = location.clone();
        let server = Server::answering(origin.root(), move |request| match request.method.as_str() {
            "GET" => Answer::Git(request.path.clone()),
            _ => Answer::Redirect(status, target.clone()),
        });
        let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::Redirect(_)), "{location}: {error:?}");
        assert_eq!(server.requests().len(), 2, "{location}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_post_is_not_made_a_get_and_its_redirects_have_an_end() {
    let origin = Origin::new();
    origin.commit();
    for (status, requests) in [("301 Moved", 2), ("302 Found", 2), ("303 See Other", 2), ("307 Temporary Redirect", 7)]
    {
        let server = Server::answering(origin.root(), move |request| match request.method.as_str() {
            "GET" => Answer::Git(request.path.clone()),
            _ => Answer::Redirect(status, "/app/.git/git-upload-pack".to_owned()),
        });
        remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
        assert_eq!(server.requests().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = CloneUrl::parse(&format!("http://127.0.0.1:{port}/app"), Hosts::AlsoLocal).unwrap();
    let error = remote(&url).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
    assert_eq!(error.to_string(), "the repository's server could not be reached");
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let origin = Origin::new();
    let server = Server::new(origin.root());
    let url = server.url("/app/.git").to_string().replace("http://", "https://");
    let error = remote(&CloneUrl::parse(&url, Hosts::AlsoLocal).unwrap()).list_refs().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable(_) | RemoteError::Cut(_)), "{error:?}");
}
