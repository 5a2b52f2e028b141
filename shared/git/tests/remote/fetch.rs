use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use git::{CloneUrl, CommitSha, FetchLimits, RemoteError};

use crate::origin::Origin;
use crate::server::{Answer, Server};
use crate::{LIMITS, at, everywhere, remote};

const RESULT: &str = "application/x-git-upload-pack-result";

/// Returns each path with its content: a file's text (with `x` in front if it is executable), a link's target, or a
/// folder. Leaves the `.git` out.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).unwrap();
            let shown = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                collect(root, &path, found);
                "folder".to_owned()
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                format!("{}{}", if executable { "x " } else { "" }, fs::read_to_string(&path).unwrap())
            };
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), shown);
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

async fn fetch(url: &CloneUrl, sha: CommitSha, limits: FetchLimits) -> Result<BTreeMap<String, String>, RemoteError> {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("new/source");
    remote(url).fetch_commit(&at(sha), &into, limits).await?;
    Ok(contents(&into))
}

fn tree(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(path, shown)| (path.to_string(), shown.to_string())).collect()
}

#[tokio::test]
async fn writes_the_files_of_any_commit_of_the_repository() {
    let origin = Origin::new();
    origin.write("old", "old");
    let first = origin.commit();
    fs::remove_file(origin.path().join("old")).unwrap();
    origin.write("README", "hello\n");
    origin.write("bin/run", "#!/bin/sh\n");
    fs::set_permissions(origin.path().join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    origin.write("a/b/c/d", "deep");
    origin.write("empty", "");
    symlink("../README", origin.path().join("a/link")).unwrap();
    symlink("b/c", origin.path().join("a/folder")).unwrap();
    symlink("nowhere", origin.path().join("dangling")).unwrap();
    let second = origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v1.0"]);
    origin.write("dropped", "dropped");
    let dropped = origin.commit();
    origin.git(&["reset", "--quiet", "--hard", "HEAD~"]);
    let server = Server::new(origin.root());

    for url in everywhere(&origin, &server) {
        assert_eq!(fetch(&url, first, LIMITS).await.unwrap(), tree(&[("old", "old")]), "{url}");
        let expected = tree(&[
            ("README", "hello\n"),
            ("a", "folder"),
            ("a/b", "folder"),
            ("a/b/c", "folder"),
            ("a/b/c/d", "deep"),
            ("a/folder", "-> b/c"),
            ("a/link", "-> ../README"),
            ("bin", "folder"),
            ("bin/run", "x #!/bin/sh\n"),
            ("dangling", "-> nowhere"),
            ("empty", ""),
        ]);
        assert_eq!(origin.sha("v1.0^{commit}"), second);
        assert_eq!(fetch(&url, second, LIMITS).await.unwrap(), expected, "{url}");
        assert_eq!(fetch(&url, dropped, LIMITS).await.unwrap()["dropped"], "dropped", "{url}");
    }
}

#[tokio::test]
async fn a_pack_with_deltas_is_unpacked() {
    let origin = Origin::new();
    let text: String = (0..5000).map(|n| format!("line {n}\n")).collect();
    origin.write("a", &text);
    origin.write("b", format!("{text}more\n"));
    let sha = origin.commit();
    origin.git(&["repack", "-a", "-d", "-f", "--quiet"]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let found = fetch(&url, sha, LIMITS).await.unwrap();
        assert_eq!(found, tree(&[("a", &text), ("b", &format!("{text}more\n"))]), "{url}");
    }
}

#[tokio::test]
async fn what_is_no_commit_of_the_repository_is_told() {
    let origin = Origin::new();
    origin.write("a", "a");
    origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v1.0"]);
    let absent = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        for sha in [absent, origin.sha("HEAD^{tree}"), origin.sha("HEAD:a"), origin.sha("refs/tags/v1.0")] {
            let error = fetch(&url, sha, LIMITS).await.unwrap_err();
            assert!(matches!(error, RemoteError::NoSuchCommit), "{url} {sha}: {error:?}");
        }
    }
}

#[tokio::test]
async fn attributes_count_and_the_repositorys_own_filters_do_not_run() {
    let origin = Origin::new();
    origin.write(".gitattributes", "*.txt text eol=crlf\n*.dat filter=mark\n");
    origin.write("a.txt", "one\ntwo\n");
    origin.write("b.dat", "plain");
    let sha = origin.commit();
    let ran = origin.root().join("ran");
    origin.git(&["config", "filter.mark.smudge", &format!("touch {} && cat", ran.display())]);
    let hook = origin.path().join(".git/hooks/post-checkout");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let found = fetch(&url, sha, LIMITS).await.unwrap();
        assert_eq!(found["a.txt"], "one\r\ntwo\r\n", "{url}");
        assert_eq!(found["b.dat"], "plain", "{url}");
        assert!(!ran.exists(), "{url}");
    }
}

#[tokio::test]
async fn a_tree_that_no_git_would_make_is_refused_by_its_path() {
    let origin = Origin::new();
    let outside = tempfile::tempdir().unwrap();
    let blob = origin.blob("content");
    let link = origin.blob(outside.path().to_str().unwrap());
    let inner = origin.tree(&[format!("100644 blob {blob}\tfile")]);
    let config = origin.tree(&[format!("100644 blob {blob}\tconfig")]);
    let nested = origin.tree(&[format!("040000 tree {config}\t.git")]);
    let trees = [
        (".git", vec![format!("040000 tree {inner}\t.git")]),
        (".GIT", vec![format!("040000 tree {inner}\t.GIT")]),
        (".gIt", vec![format!("100644 blob {blob}\t.gIt")]),
        ("git~1", vec![format!("040000 tree {inner}\tgit~1")]),
        (".git ", vec![format!("040000 tree {inner}\t.git ")]),
        (".g\u{200c}it", vec![format!("040000 tree {inner}\t.g\u{200c}it")]),
        ("sub/.git", vec![format!("040000 tree {nested}\tsub")]),
        ("..", vec![format!("040000 tree {inner}\t..")]),
        (".", vec![format!("040000 tree {inner}\t.")]),
        ("a", vec![format!("120000 blob {link}\ta"), format!("040000 tree {inner}\ta")]),
        ("a", vec![format!("100644 blob {blob}\ta"), format!("040000 tree {inner}\ta")]),
        (".gitmodules", vec![format!("120000 blob {link}\t.gitmodules")]),
        (".GitModules", vec![format!("120000 blob {link}\t.GitModules")]),
    ];
    for (path, lines) in trees {
        let sha = origin.commit_tree(&lines);
        let server = Server::new(origin.root());
        for url in everywhere(&origin, &server) {
            let error = fetch(&url, sha, LIMITS).await.unwrap_err();
            assert!(matches!(&error, RemoteError::UnsafePath(at) if at == path), "{lines:?} {url}: {error:?}");
            assert_eq!(contents(outside.path()), tree(&[]), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn each_limit_is_told() {
    let origin = Origin::new();
    origin.write("zeros", vec![0; 2_000_000]);
    let sha = origin.commit();
    let server = Server::new(origin.root());
    let small = FetchLimits { tree_bytes: 1_999_999, ..LIMITS };
    for url in everywhere(&origin, &server) {
        let error = fetch(&url, sha, small).await.unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge("bytes of files", 1_999_999)), "{url}: {error:?}");
        fetch(&url, sha, FetchLimits { tree_bytes: 2_000_100, ..LIMITS }).await.unwrap();
        let error = fetch(&url, sha, FetchLimits { files: 0, ..LIMITS }).await.unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge("files and folders", 0)), "{url}: {error:?}");
        fetch(&url, sha, FetchLimits { files: 1, ..LIMITS }).await.unwrap();
    }

    let noise: Vec<u8> = (0u32..100_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    origin.write("noise", noise);
    let sha = origin.commit();
    let url = server.url("/app/.git");
    let error = fetch(&url, sha, FetchLimits { pack_bytes: 100_000, ..LIMITS }).await.unwrap_err();
    assert_eq!(error.to_string(), "the repository is too large: it may have at most 100000 compressed bytes");
}

#[tokio::test]
async fn a_tree_bomb_is_refused_before_it_unfolds() {
    let origin = Origin::new();
    let blob = origin.blob("boom");
    let mut bomb = origin.tree(&(0..10).map(|n| format!("100644 blob {blob}\tf{n}")).collect::<Vec<_>>());
    for _ in 0..9 {
        bomb = origin.tree(&(0..10).map(|n| format!("040000 tree {bomb}\td{n}")).collect::<Vec<_>>());
    }
    let sha = origin.commit_tree(&[format!("040000 tree {bomb}\tbomb")]);
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let error = fetch(&url, sha, LIMITS).await.unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge("files and folders", 1000)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    let origin = Origin::new();
    let sha = origin.commit();
    let limits = FetchLimits { time: Duration::from_millis(500), ..LIMITS };
    for (silent, has_started) in [("GET", false), ("POST", false), ("POST", true)] {
        let server = Server::answering(origin.root(), move |request| match &request.method {
            method if method != silent => Answer::Git(request.path.clone()),
            _ if has_started => Answer::Endless(RESULT, "000dpackfile\n".to_owned(), String::new()),
            _ => Answer::Silence,
        });
        // The server never goes on.
        let error = fetch(&server.url("/app/.git"), sha, limits).await.unwrap_err();
        assert!(matches!(error, RemoteError::TimedOut), "{silent}: {error:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_is_late_is_an_error_and_over() {
    let origin = Origin::new();
    for n in 0..500 {
        origin.write(&n.to_string(), "x");
    }
    let sha = origin.commit();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let folder = tempfile::tempdir().unwrap();
        let limits = FetchLimits { time: Duration::ZERO, ..LIMITS };
        let error = remote(&url).fetch_commit(&at(sha), folder.path(), limits).await.unwrap_err();
        assert!(matches!(error, RemoteError::TimedOut), "{url}: {error:?}");
        let left = contents(folder.path()).len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(contents(folder.path()).len(), left, "{url}");
        assert!(left < 500, "{url}");
    }
}

#[tokio::test]
async fn a_pack_that_does_not_end_is_cut() {
    let origin = Origin::new();
    let sha = origin.commit();
    let server = Server::answering(origin.root(), |request| match request.method.as_str() {
        "GET" => Answer::Git(request.path.clone()),
        _ => Answer::Endless(RESULT, "000dpackfile\n".to_owned(), "0009\x02wait".to_owned()),
    });
    let error = fetch(&server.url("/app/.git"), sha, LIMITS).await.unwrap_err();
    assert!(matches!(error, RemoteError::TooLarge("compressed bytes", 10_000_000)), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_not_written_over() {
    let origin = Origin::new();
    origin.write("a", "new");
    let sha = origin.commit();
    let server = Server::new(origin.root());
    for url in everywhere(&origin, &server) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "mine").unwrap();
        remote(&url).fetch_commit(&at(sha), folder.path(), LIMITS).await.unwrap_err();
        assert_eq!(contents(folder.path()), tree(&[("a", "mine")]), "{url}");
    }
}
