//! Servers that speak protocol version 0 or 1, as Azure Repos does, and any that does not hand on `Git-Protocol`.

use git::{CommitSha, DefaultBranch, Remote, RemoteError, Revision};

use crate::origin::Origin;
use crate::server::{Answer, Server};
use crate::{LIMITS, at, remote};

/// The ways in which a server's git is told which protocol to speak.
const VERSIONS: [&str; 2] = ["", "version=1"];

fn old(origin: &Origin, protocol: &'static str) -> (Server, Remote) {
    let server = Server::answering(origin.root(), move |request| Answer::OldGit(request.path.clone(), protocol));
    let remote = remote(&server.url("/app/.git"));
    (server, remote)
}

async fn resolve(remote: &Remote, name: &str) -> (Option<String>, CommitSha, String) {
    let (found, texts) = remote.resolve(&Revision::parse(name).unwrap()).await.unwrap().unwrap();
    (found.name, found.sha, texts.unwrap().subject.to_string())
}

#[tokio::test]
async fn an_old_server_lists_and_resolves_like_a_new_one() {
    let origin = Origin::new();
    let first = origin.commit();
    origin.git(&["tag", "--annotate", "--message=x", "v1"]);
    origin.git(&["update-ref", "refs/pull/7/head", "HEAD"]);
    let second = origin.commit();
    origin.git(&["branch", "v2"]);
    let new = remote(&Server::new(origin.root()).url("/app/.git")).list_refs().await.unwrap();
    let tag = origin.sha("refs/tags/v1");
    for protocol in VERSIONS {
        let (server, remote) = old(&origin, protocol);
        assert_eq!(remote.list_refs().await.unwrap(), new, "{protocol:?}");
        assert_eq!(server.requests().len(), 1, "the refs come with the greeting");
        for (text, name, sha) in [
            ("HEAD", Some("refs/heads/main"), second),
            ("v1", Some("refs/tags/v1"), first),
            ("v2", Some("refs/heads/v2"), second),
            ("pull/7/head", Some("refs/pull/7/head"), first),
            (&second.to_string(), None, second),
            (&tag.to_string(), None, first),
        ] {
            let expected = (name.map(str::to_owned), sha, "change".to_owned());
            assert_eq!(resolve(&remote, text).await, expected, "{protocol:?} {text}");
        }
        assert_eq!(remote.resolve(&Revision::parse("absent").unwrap()).await.unwrap(), None, "{protocol:?}");
        assert_eq!(remote.default_branch(None).await.unwrap(), DefaultBranch::Named("main".to_owned()));
    }
}

#[tokio::test]
async fn an_old_server_gives_a_commit_without_its_history() {
    let origin = Origin::new();
    origin.write("old", "old");
    let first = origin.commit();
    origin.write("README", "hello");
    let second = origin.commit();
    let dropped = origin.git(&["commit-tree", "-m", "dropped", "HEAD^{tree}"]);
    let fetch = async |remote: &Remote, sha| {
        let folder = tempfile::tempdir().unwrap();
        remote.fetch_commit(&at(sha), folder.path(), LIMITS).await?;
        Ok::<_, RemoteError>(std::fs::read_to_string(folder.path().join("README")).unwrap())
    };
    for protocol in VERSIONS {
        let (server, remote) = old(&origin, protocol);
        assert_eq!(fetch(&remote, second).await.unwrap(), "hello", "{protocol:?}");
        let asked = server.requests().pop().unwrap();
        assert!(String::from_utf8_lossy(&asked.body).contains("deepen 1"), "{asked:?}");

        // git gives any commit that a branch or tag reaches.
        assert!(remote.find_commit(first).await.unwrap().is_some(), "{protocol:?}");
        for absent in ["0123456789abcdef0123456789abcdef01234567", &dropped] {
            let absent = absent.parse().unwrap();
            assert_eq!(remote.find_commit(absent).await.unwrap(), None, "{protocol:?} {absent}");
            let error = fetch(&remote, absent).await.unwrap_err();
            assert!(matches!(error, RemoteError::NoSuchCommit), "{protocol:?} {absent}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_old_server_of_an_empty_repository() {
    let origin = Origin::new();
    for protocol in VERSIONS {
        let (_server, remote) = old(&origin, protocol);
        let error = remote.resolve(&Revision::parse("main").unwrap()).await.unwrap_err();
        assert!(matches!(error, RemoteError::NoCommits), "{protocol:?}: {error:?}");
        // These versions do not tell where HEAD points to.
        for (wanted, name) in [(None, "main"), (Some("main"), "main"), (Some("trunk"), "trunk")] {
            let named = remote.default_branch(wanted.map(str::to_owned)).await.unwrap();
            assert_eq!(named, DefaultBranch::Named(name.to_owned()), "{protocol:?} {wanted:?}");
        }
    }
}

#[tokio::test]
async fn a_look_up_reads_only_the_start_of_a_large_commit() {
    let origin = Origin::new();
    // No server compresses this to less than the limit of a look-up.
    let mut noise = vec![0u8; 20 * 1024 * 1024];
    let mut state = 1u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *byte = (state >> 56) as u8;
    }
    origin.write("noise", &noise);
    let sha = origin.commit();
    for protocol in VERSIONS {
        let (server, remote) = old(&origin, protocol);
        assert_eq!(resolve(&remote, "main").await.1, sha, "{protocol:?}");
        let asked = server.requests().pop().unwrap();
        assert!(!String::from_utf8_lossy(&asked.body).contains("filter"), "{asked:?}");
    }
}
