//! Fetches from repositories that git itself serves.

mod origin;
mod server;

mod attempts;
mod credentials;
mod fetch;
mod hosts;
mod old_protocol;
mod refs;
mod refusals;
mod resolve;

use git::{CloneUrl, Remote};
use shared::hosts::Hosts;

use origin::Origin;
use server::Server;

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
