//! Environments.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// An environment, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(Name);

/// The environment of a deployment. In `preview`, each ref has its own queue and its own live deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Name {
    Preview,
    Staging,
    Production,
}

impl PartialSchema for Environment {
    fn schema() -> RefOr<Schema> {
        Name::schema()
    }
}

impl ToSchema for Environment {
    fn name() -> Cow<'static, str> {
        "Environment".into()
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::PREVIEW
    }
}

impl Environment {
    /// Each ref has its own lane. Newer deployments supersede queued ones unless the settings say otherwise.
    pub const PREVIEW: Self = Self(Name::Preview);
    /// All deployments share one lane.
    pub const STAGING: Self = Self(Name::Staging);
    /// All deployments share one lane.
    pub const PRODUCTION: Self = Self(Name::Production);
    /// The environments that each repository has, in the order of promotion.
    pub const BUILT_IN: [Environment; 3] = [Self::PREVIEW, Self::STAGING, Self::PRODUCTION];

    /// Returns the environment's name in paths, bodies and keys.
    pub const fn as_str(&self) -> &str {
        match &self.0 {
            Name::Preview => "preview",
            Name::Staging => "staging",
            Name::Production => "production",
        }
    }

    /// Returns whether each ref has its own lane, with its own queue and its own live deployment.
    pub const fn has_lane_per_ref(&self) -> bool {
        matches!(self.0, Name::Preview)
    }

    /// Returns the treatment of queued deployments unless the settings say otherwise.
    pub const fn default_concurrency(&self) -> Concurrency {
        match self.has_lane_per_ref() {
            true => Concurrency::Supersede,
            false => Concurrency::Queue,
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
