//! Fetches from repositories that git itself serves.

mod origin;
mod server;

mod attempts;
mod credentials;
mod dot_git;
mod fetch;
mod hosts;
mod lfs;
mod old_protocol;
mod reach;
mod refs;
mod refusals;
mod resolve;
mod submodules;
mod trees;

use std::time::Duration;

use git::{CloneUrl, CommitSha, FetchLimits, Remote, Resolved};
use shared::hosts::Hosts;

use origin::Origin;
use server::Server;

const LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(30),
    pack_bytes: 10_000_000,
    tree_bytes: 10_000_000,
    files: 1000,
    depth: 1,
};

/// Returns the URLs of one repository by every transport.
fn everywhere(origin: &Origin, server: &Server) -> [CloneUrl; 3] {
    let path = origin.path();
    let path = path.to_str().unwrap();
    [
        CloneUrl::parse(path, Hosts::AlsoLocal).unwrap(),
        CloneUrl::parse(&format!("file://{path}"), Hosts::AlsoLocal).unwrap(),
        server.url("/app/.git"),
    ]
}

/// Returns a repository that asks for no credential.
fn remote(url: &CloneUrl) -> Remote {
    Remote::new(url.clone(), None)
}

/// Returns a commit that no branch or tag named.
fn at(sha: CommitSha) -> Resolved {
    Resolved { name: None, sha }
}
