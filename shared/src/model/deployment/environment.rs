//! Environments.

use serde::{Deserialize, Serialize};

/// The environment of a deployment. In `preview`, each ref has its own queue and its own live deployment.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Each ref has its own lane. Newer deployments supersede queued ones unless the settings say otherwise.
    #[default]
    Preview,
    /// All deployments share one lane.
    Staging,
    /// All deployments share one lane.
    Production,
}

impl Environment {
    /// Every environment, in the order of promotion.
    pub const ALL: [Environment; 3] = [Self::Preview, Self::Staging, Self::Production];

    /// Returns the environment's name in paths, bodies and keys.
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
    /// Returns the name in bodies and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Supersede => "supersede",
        }
    }
}
