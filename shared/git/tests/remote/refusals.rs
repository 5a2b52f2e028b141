//! Servers that answer with something else than was asked for, each of which is told apart.

use git::{Credential, Remote, RemoteError, Revision};

use crate::origin::{Origin, isolated_git};
use crate::server::{Answer, Server};
use crate::{LIMITS, at, remote};

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";

fn ok(content_type: &str, body: impl AsRef<[u8]>) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n");
    Answer::Raw([head.as_bytes(), body.as_ref()].concat())
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// Returns the message of a server that answers the first request for refs like this.
async fn greeted(content_type: &'static str, body: impl AsRef<[u8]>) -> String {
    let (origin, body) = (Origin::new(), body.as_ref().to_vec());
    let server = Server::answering(origin.root(), move |_| ok(content_type, &body));
    remote(&server.url("/app")).list_refs().await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_page_for_people_is_told() {
    let page = "the URL leads to a web page and not to a git repository; it may be a page to sign in";
    assert_eq!(greeted("text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>").await, page);
    assert_eq!(greeted("text/plain", "\n <html>").await, page);
    let origin = Origin::new();
    let head = "HTTP/1.1 203 Non-Authoritative Information\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(origin.root(), move |_| Answer::Raw(head.into()));
    assert_eq!(remote(&server.url("/app")).list_refs().await.unwrap_err().to_string(), page);
    let server = Server::answering(origin.root(), |request| match request.method.as_str() {
        "GET" => Answer::Git(request.path.clone()),
        _ => ok("text/html", "<html>"),
    });
    assert_eq!(remote(&server.url("/app/.git")).list_refs().await.unwrap_err().to_string(), page);
}

#[tokio::test]
async fn dumb_http_is_told() {
    let origin = Origin::new();
    origin.commit();
    origin.git(&["update-server-info"]);
    let files = std::fs::read(origin.path().join(".git/info/refs")).unwrap();
    let dumb = "the repository's server offers only files (dumb HTTP); it must support git's smart HTTP";
    for content_type in ["text/plain", "application/octet-stream"] {
        assert_eq!(greeted(content_type, &files).await, dumb);
    }
    assert_eq!(greeted("text/plain", format!("{}\trefs/heads/main\n", "0a".repeat(32))).await, dumb);
    assert_eq!(greeted("text/plain", "hello").await, "the repository's server sent an invalid response");
}

#[tokio::test]
async fn a_repository_of_another_hash_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let status = isolated_git().args(arguments).current_dir(folder.path()).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet", "--object-format=sha256", "app"]);
    let sha256 = "the repository uses SHA-256; only repositories that use SHA-1 are supported";
    for is_empty in [true, false] {
        if !is_empty {
            git(&["-C", "app", "commit", "--quiet", "--allow-empty", "--message=change"]);
        }
        for protocol in ["version=2", "", "version=1"] {
            let server =
                Server::answering(folder.path(), move |request| Answer::OldGit(request.path.clone(), protocol));
            let error = remote(&server.url("/app/.git")).list_refs().await.unwrap_err();
            assert_eq!(error.to_string(), sha256, "{protocol:?} {is_empty}");
        }
    }
    assert_eq!(
        greeted(ADVERTISEMENT, [&line("version 2\n"), &line("object-format=md5\n"), "0000"].concat()).await,
        "the repository uses an unknown hash; only repositories that use SHA-1 are supported"
    );
}

#[tokio::test]
async fn an_error_of_the_server_is_passed_on_in_its_own_words() {
    let denied = line("ERR access denied:\r\n \x1b[31m/app\x07 is \u{202e}private\n");
    let announced = format!("{}0000{denied}", line("# service=git-upload-pack\n"));
    let passed_on = "the repository's server says: access denied: [31m/app is \u{fffd}private";
    assert_eq!(greeted(ADVERTISEMENT, &denied).await, passed_on);
    assert_eq!(greeted(ADVERTISEMENT, announced).await, passed_on);
    let long = greeted(ADVERTISEMENT, line(&format!("ERR {}", "x".repeat(5000)))).await;
    assert!(long.len() < 300 && long.ends_with("xxx…"), "{long}");

    let origin = Origin::new();
    let sha = origin.commit();
    let server = Server::answering(origin.root(), move |request| match request.method.as_str() {
        "GET" => Answer::Git(request.path.clone()),
        _ => ok(RESULT, &denied),
    });
    let remote = remote(&server.url("/app/.git"));
    assert_eq!(remote.list_refs().await.unwrap_err().to_string(), passed_on);
    assert_eq!(remote.find_commit(sha).await.unwrap_err().to_string(), passed_on);
}

#[tokio::test]
async fn an_error_in_the_third_side_band_is_passed_on() {
    let origin = Origin::new();
    let sha = origin.commit();
    let bands = [
        &line("packfile\n"),
        &line("\x02Enumerating objects: 3\n"),
        &line("\x03aborting due to possible repository corruption\non the remote side.\n"),
        "0000",
    ];
    let body = bands.concat();
    let server = Server::answering(origin.root(), move |request| match request.method.as_str() {
        "GET" => Answer::Git(request.path.clone()),
        _ => ok(RESULT, &body),
    });
    let (remote, folder) = (remote(&server.url("/app/.git")), tempfile::tempdir().unwrap());
    let passed_on = "the repository's server says: aborting due to possible repository corruption on the remote side.";
    assert_eq!(remote.fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err().to_string(), passed_on);
    assert_eq!(remote.find_commit(sha).await.unwrap_err().to_string(), passed_on);
}

#[tokio::test]
async fn an_error_that_repeats_the_credential_is_redacted() {
    let origin = Origin::new();
    let server = Server::answering(origin.root(), |request| {
        let sent = &request.headers["authorization"];
        ok(ADVERTISEMENT, line(&format!("ERR no access with {sent}, which is robot:s3cret")))
    });
    let credential = Credential::new(server.host().parse().unwrap(), "robot", "s3cret", "the connection X");
    let error = Remote::new(server.url("/app"), Some(credential)).list_refs().await.unwrap_err();
    assert_eq!(error.to_string(), "the repository's server says: no access with Basic ***, which is robot:***");
}

#[tokio::test]
async fn a_missing_commit_is_told_in_the_words_of_each_server() {
    let origin = Origin::new();
    let sha = origin.commit();
    for words in [format!("upload-pack: not our ref {sha}"), format!("want {sha} not valid")] {
        let body = line(&format!("ERR {words}"));
        let server = Server::answering(origin.root(), move |request| match request.method.as_str() {
            "GET" => Answer::Git(request.path.clone()),
            _ => ok(RESULT, &body),
        });
        assert_eq!(remote(&server.url("/app/.git")).find_commit(sha).await.unwrap(), None, "{words}");
    }
}

#[tokio::test]
async fn a_server_that_can_put_everything_into_side_bands_is_read() {
    let origin = Origin::new();
    let sha = origin.commit();
    origin.git(&["config", "uploadpack.allowSidebandAll", "true"]);
    let server = Server::new(origin.root());
    let found = remote(&server.url("/app/.git")).resolve(&Revision::parse("main").unwrap()).await.unwrap();
    let (found, texts) = found.unwrap();
    assert_eq!((found.sha, &*texts.unwrap().subject), (sha, "change"));
}

#[tokio::test]
async fn what_breaks_the_parser_is_an_invalid_response() {
    for body in
        ["", "0000", "zzzz", "0005x", &line("version 3\n"), &line("\0"), &line("a b\0symref=HEAD:refs/heads/x\n")]
    {
        let origin = Origin::new();
        let server = {
            let body = body.to_owned();
            Server::answering(origin.root(), move |_| ok(ADVERTISEMENT, &body))
        };
        let error = remote(&server.url("/app")).list_refs().await.unwrap_err();
        assert!(matches!(error, RemoteError::Protocol(_) | RemoteError::Cut(_)), "{body:?}: {error:?}");
    }
}
