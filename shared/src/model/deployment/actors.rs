//! The names of the people and applications that act on a deployment.
//!
//! A deployment's row has them as they were when the actors acted. So a reader needs no other read for them, and they stay true
//! when a member leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::id::UserId;
use crate::model::Author;

/// The actors of deployments, by the ids that stand for them.
pub type Actors = BTreeMap<UserId, ActorName>;

/// The name of a user or an application at the time of its last action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActorName {
    /// The user's email address or the application's name, for people to read.
    #[schema(examples("ada@acme.example"))]
    pub name: String,
    /// The user's email address. Null for an application.
    #[serde(default)]
    #[schema(required, examples("ada@acme.example"))]
    pub email: Option<String>,
}

impl Deployment {
    /// Returns the deployment with the name of an author of a change.
    pub(super) fn naming(&self, author: &Author) -> Self {
        let mut named = self.clone();
        named.actors.insert(author.user_id().clone(), author.name());
        named
    }
}
