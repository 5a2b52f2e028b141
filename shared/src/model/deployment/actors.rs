//! The names of the people and programs that act on a deployment.
//!
//! A deployment's row has them as they were when the actors acted. So a reader needs no other read for them, and they stay true
//! when a member leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::id::UserId;
use crate::model::{ActorKind, Author};

/// The actors of deployments, by the ids that stand for them.
pub type Actors = BTreeMap<UserId, ActorName>;

/// The name of a user or a program at the time of its last action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ActorName {
    /// The kind of the actor. Null for an action from before the API kept kinds.
    #[serde(default, rename = "type")]
    #[schema(required)]
    pub kind: Option<ActorKind>,
    /// The user's email address, or the name of the application, the trust or the hook, for people to read.
    #[schema(examples("ada@acme.example"))]
    pub name: String,
    /// The user's email address. Null for a program.
    #[serde(default)]
    #[schema(required, examples("ada@acme.example"))]
    pub email: Option<String>,
}

impl Deployment {
    /// Returns whether a hook created the deployment.
    pub fn is_of_a_hook(&self) -> bool {
        self.actors.get(&self.created_by).is_some_and(|actor| actor.kind == Some(ActorKind::Hook))
    }

    /// Returns the deployment with the name of an author of a change.
    pub(super) fn naming(&self, author: &Author) -> Self {
        let mut named = self.clone();
        named.actors.insert(author.user_id().clone(), author.name());
        named
    }
}
