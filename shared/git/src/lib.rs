//! Read access to remote git repositories: list their branches and tags, and fetch one commit's files.
//!
//! Neither the address of a repository nor its server can be trusted: both come from a user. [`Hosts`](shared::hosts::Hosts) says which
//! hosts are allowed. It is checked for every [`CloneUrl`], and for every connection once its host's name is
//! resolved. Each operation has limits on time and size. A [`Credential`] is sent to its own host only. No configuration,
//! credential, hook or filter of the machine is used.

mod allowance;
mod api;
mod breaker;
mod checkout;
mod clone_url;
mod commit;
mod credential;
mod dot_git;
mod error;
mod file_time;
mod http;
mod lfs;
mod limits;
mod local;
mod look_ups;
mod objects;
mod patience;
mod reach;
mod refs;
mod remote;
mod retry;
mod revision;
mod root_folder;
mod sentence;
mod session;
mod source;
mod submodules;
mod upload_pack;

pub use api::{capitalized, default_branch, invalid_field, not_found, refused, unreadable_field};
pub use breaker::Breakers;
pub use clone_url::{CloneUrl, InvalidCloneUrl};
pub use credential::Credential;
pub use error::RemoteError;
pub use limits::{
    FetchLimits, LOOKUP_TIME, MAX_LFS_OBJECTS, MAX_LOOKUP_BYTES, MAX_REFS, MAX_SUBMODULE_DEPTH, MAX_SUBMODULES,
    MAX_TIPS,
};
pub use look_ups::{LookUps, Question};
pub use patience::Patience;
pub use reach::Reach;
pub use refs::{DefaultBranch, RemoteRef, RemoteRefs, Resolved};
pub use remote::Remote;
pub use retry::{Passing, Retries};
pub use revision::{CommitSha, InvalidCommitSha, InvalidRevision, Revision};
pub use root_folder::make_root;
pub use source::Fetched;
