//! The place of a repository, with the connection that opens it.

use shared::id::{AccountId, ConnectionId};
use shared::model::{Deployment, Repository};

/// The place of a repository, with the connection that opens it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The account that the repository and the connection belong to.
    pub account: &'a AccountId,
    /// The repository's clone URL.
    pub clone_url: &'a str,
    /// The repository's connection, if it needs one.
    pub connection: Option<&'a ConnectionId>,
}

impl<'a> From<&'a Repository> for Source<'a> {
    fn from(repository: &'a Repository) -> Self {
        Self {
            account: &repository.account_id,
            clone_url: &repository.clone_url,
            connection: repository.connection_id.as_ref(),
        }
    }
}

/// A deployment keeps the place and the connection of its creation.
impl<'a> From<&'a Deployment> for Source<'a> {
    fn from(deployment: &'a Deployment) -> Self {
        Self {
            account: &deployment.account_id,
            clone_url: &deployment.clone_url,
            connection: deployment.connection_id.as_ref(),
        }
    }
}
