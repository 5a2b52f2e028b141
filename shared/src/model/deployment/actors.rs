//! The names of the people and programs that act on a deployment.
//!
//! A deployment's row has them as they were when the actors acted. So a reader needs no other read for them, and they stay true
//! when a member leaves.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::id::UserId;
use crate::model::{ActorKind, Author};

/// The names of users and programs, by the IDs that stand for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Actors(BTreeMap<UserId, ActorName>);

impl Actors {
    /// Returns whether nobody has acted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(UserId, ActorName)> for Actors {
    fn from_iter<I: IntoIterator<Item = (UserId, ActorName)>>(actors: I) -> Self {
        Self(actors.into_iter().collect())
    }
}

impl IntoIterator for Actors {
    type Item = (UserId, ActorName);
    type IntoIter = std::collections::btree_map::IntoIter<UserId, ActorName>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Deref for Actors {
    type Target = BTreeMap<UserId, ActorName>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Actors {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

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
