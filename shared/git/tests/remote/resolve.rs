use git::{CommitSha, DefaultBranch, Reach, Remote, RemoteError, Resolved, Revision};
use shared::model::CommitTexts;

use crate::origin::Origin;
use crate::server::{Answer, Server};
use crate::{everywhere, remote};

async fn try_resolve(remote: &Remote, name: &str) -> Result<Option<(Resolved, Option<CommitTexts>)>, RemoteError> {
    remote.resolve(&Revision::parse(name).unwrap()).await
}

/// Returns the full name and the commit of a revision that exists.
async fn resolve(remote: &Remote, name: &str) -> (Option<String>, CommitSha) {
    let (found, texts) = try_resolve(remote, name).await.unwrap().unwrap_or_else(|| panic!("{name} is missing"));
    assert!(texts.is_some(), "{name}");
    (found.name, found.sha)
}

/// Writes tags of a commit as git would pack them, many at once.
fn tag_often(origin: &Origin, sha: CommitSha, count: usize) {
    let tags: String = (0..count).map(|n| format!("{sha} refs/tags/{n:06}\n")).collect();
    let packed = origin.path().join(".git/packed-refs");
    std::fs::write(packed, format!("# pack-refs with: peeled fully-peeled sorted \n{tags}")).unwrap();
}

#[tokio::test]
async fn a_ref_resolves_with_the_texts_of_its_commit_over_one_connection() {
    let origin = Origin::new();
    origin.git(&[
        "commit",
        "--quiet",
        "--allow-empty",
        "--author=Ada \u{202e}Lovelace <ada@x>",
        "--message=Fix\nthe build\n\nBody",
    ]);
    let tip = origin.sha("HEAD");
    origin.git(&["tag", "--annotate", "--message=x", "v1.0"]);
    origin.git(&["branch", "tree", "main"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for name in ["main", "v1.0", "refs/tags/v1.0"] {
            let (found, texts) = remote(&url).resolve(&Revision::parse(name).unwrap()).await.unwrap().unwrap();
            let texts = texts.unwrap();
            assert_eq!(found.sha, tip, "{url} {name}");
            assert_eq!((&*texts.subject, &*texts.author), ("Fix the build", "Ada \u{fffd}Lovelace"), "{url} {name}");
        }
        assert_eq!(remote(&url).resolve(&Revision::parse("absent").unwrap()).await.unwrap(), None, "{url}");
        assert_eq!(remote(&url).find_commit(tip).await.unwrap().unwrap().subject, "Fix the build", "{url}");
    }
}

#[tokio::test]
async fn a_revision_is_what_git_makes_of_it() {
    let origin = Origin::new();
    let first = origin.commit();
    origin.git(&["tag", "v1"]);
    origin.git(&["update-ref", "refs/pull/7/head", "HEAD"]);
    origin.git(&["update-ref", "refs/heads/HEAD", "HEAD"]);
    let second = origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v2"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let remote = remote(&url);
        for (text, name, sha) in [
            ("HEAD", "refs/heads/main", second),
            ("@", "refs/heads/main", second),
            ("heads/main", "refs/heads/main", second),
            ("tags/v1", "refs/tags/v1", first),
            ("tags/v2", "refs/tags/v2", second),
            ("refs/pull/7/head", "refs/pull/7/head", first),
            ("pull/7/head", "refs/pull/7/head", first),
            ("refs/heads/HEAD", "refs/heads/HEAD", first),
        ] {
            assert_eq!(resolve(&remote, text).await, (Some(name.to_owned()), sha), "{url} {text}");
        }
        for text in ["refs/pull/8/head", "7/head", "heads/v1", "tags/main"] {
            assert_eq!(try_resolve(&remote, text).await.unwrap(), None, "{url} {text}");
        }
    }
    origin.git(&["checkout", "--quiet", "--detach", "v1"]);
    for url in everywhere(&origin, &server) {
        assert_eq!(resolve(&remote(&url), "HEAD").await, (Some("HEAD".to_owned()), first), "{url}");
    }
}

#[tokio::test]
async fn the_sha_of_an_annotated_tag_is_peeled() {
    let origin = Origin::new();
    let sha = origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v1"]);
    origin.git(&["tag", "--annotate", "--message=x", "v1-again", "v1"]);
    origin.git(&["tag", "--annotate", "--message=x", "tree", "HEAD^{tree}"]);
    let [tag, again, of_tree] = ["v1", "v1-again", "tree"].map(|tag| origin.sha(&format!("refs/tags/{tag}")));
    origin.git(&["tag", "-d", "v1-again"]);
    for filter in ["false", "true"] {
        origin.git(&["config", "uploadpack.allowFilter", filter]);
        let server = Server::new(origin.root());
        for url in everywhere(&origin, &server) {
            let remote = remote(&url);
            for tag in [tag, again] {
                assert_eq!(resolve(&remote, &tag.to_string()).await, (None, sha), "{url} {filter}");
                assert_eq!(remote.find_commit(tag).await.unwrap(), None, "{url} {filter}");
            }
            assert_eq!(try_resolve(&remote, &of_tree.to_string()).await.unwrap(), None, "{url} {filter}");
            let reach = remote.reach(tag, git::LOOKUP_TIME, |_| true).await.unwrap();
            assert_eq!(reach, Reach::On("refs/tags/v1".to_owned()), "{url}");
        }
    }
}

#[tokio::test]
async fn a_tag_of_a_file_or_folder_names_no_commit() {
    let origin = Origin::new();
    origin.write("file", "text");
    origin.commit();
    origin.git(&["tag", "file", "HEAD:file"]);
    origin.git(&["tag", "--annotate", "--message=x", "folder", "HEAD^{tree}"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for name in ["file", "folder"] {
            let error = try_resolve(&remote(&url), name).await.unwrap_err();
            let message = format!("'refs/tags/{name}' names no commit, but a file or a folder");
            assert_eq!(error.to_string(), message, "{url}");
        }
    }
}

#[tokio::test]
async fn a_look_up_asks_for_few_of_many_refs() {
    let origin = Origin::new();
    let sha = origin.commit();
    tag_often(&origin, sha, 50_001);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let remote = remote(&url);
        assert_eq!(resolve(&remote, "main").await, (Some("refs/heads/main".to_owned()), sha), "{url}");
        assert_eq!(resolve(&remote, "050000").await, (Some("refs/tags/050000".to_owned()), sha), "{url}");
        assert_eq!(remote.default_branch(None).await.unwrap(), DefaultBranch::Named("main".to_owned()), "{url}");
        let reach = remote.reach(sha, git::LOOKUP_TIME, |_| true).await.unwrap();
        assert_eq!(reach, Reach::On("refs/heads/main".to_owned()), "{url}");
        let listed = remote.list_refs_with(vec!["refs/tags/00000".to_owned()], 10).await.unwrap();
        assert_eq!(listed.refs.len(), 10, "{url}");
        remote.list_refs_with(vec!["refs/tags/0000".to_owned()], 10).await.unwrap_err();
    }
    let asked: Vec<_> = server.requests().into_iter().filter(|request| request.method == "POST").collect();
    let lists = asked.iter().map(|request| String::from_utf8_lossy(&request.body));
    assert!(!lists.clone().any(|body| body.contains("ref-prefix refs/tags/\n")), "{:?}", lists.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_ignores_the_prefix_resolves_the_same() {
    let origin = Origin::new();
    let sha = origin.commit();
    origin.git(&["branch", "main-2"]);
    let list = |extra: &str| {
        let lines = format!("{sha} HEAD symref-target:refs/heads/main\n{extra}{sha} refs/heads/main-2\n");
        let lines: String = lines.lines().map(|line| format!("{:04x}{line}\n", line.len() + 5)).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n\r\n{lines}0000")
    };
    for (extra, exists) in [(format!("{sha} refs/heads/main\n"), true), (String::new(), false)] {
        let list = list(&extra);
        let server = Server::answering(origin.root(), move |request| {
            match String::from_utf8_lossy(&request.body).contains("command=ls-refs") {
                true => Answer::Raw(list.clone().into_bytes()),
                false => Answer::Git(request.path.clone()),
            }
        });
        let remote = remote(&server.url("/app/.git"));
        assert_eq!(try_resolve(&remote, "main").await.unwrap().is_some(), exists);
        assert_eq!(remote.list_refs_with(vec!["refs/heads/main-".to_owned()], 9).await.unwrap().refs.len(), 1);
    }
}

#[tokio::test]
async fn an_empty_repository_says_so_and_has_any_default_branch() {
    let origin = Origin::new();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for name in ["main", "HEAD", "v1", "refs/tags/v1"] {
            let error = try_resolve(&remote(&url), name).await.unwrap_err();
            assert_eq!(error.to_string(), "the repository has no commit yet; push one first", "{url} {name}");
        }
        for (wanted, name) in [(None, "main"), (Some("trunk"), "trunk")] {
            let found = remote(&url).default_branch(wanted.map(str::to_owned)).await.unwrap();
            assert_eq!(found, DefaultBranch::Named(name.to_owned()), "{url}");
        }
    }
    origin.commit();
    origin.git(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    for url in everywhere(&origin, &server) {
        assert_eq!(try_resolve(&remote(&url), "HEAD").await.unwrap(), None, "{url}");
        for (wanted, found) in [
            (None, DefaultBranch::Missing("gone".to_owned())),
            (Some("other"), DefaultBranch::Missing("other".to_owned())),
            (Some("main"), DefaultBranch::Named("main".to_owned())),
        ] {
            assert_eq!(remote(&url).default_branch(wanted.map(str::to_owned)).await.unwrap(), found, "{url}");
        }
    }
    origin.git(&["checkout", "--quiet", "--detach", "main"]);
    for url in everywhere(&origin, &server) {
        assert_eq!(remote(&url).default_branch(None).await.unwrap(), DefaultBranch::Unnamed, "{url}");
    }
}
