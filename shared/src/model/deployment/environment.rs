//! Environments.

use serde::{Deserialize, Serialize};

/// The environment of a deployment. In `preview`, each ref has its own queue and its own live deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    #[default]
    Preview,
    Staging,
    Production,
}

impl Environment {
    pub const ALL: [Environment; 3] = [Self::Preview, Self::Staging, Self::Production];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

/// The treatment of queued deployments when a newer one is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Concurrency {
    /// They run one after the other, in the order of their numbers.
    Queue,
    /// The newer one takes their place.
    Supersede,
}

impl Concurrency {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Supersede => "supersede",
        }
    }
}
