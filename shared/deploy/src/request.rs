//! The body of a creation and of its preflight.

use git::Revision;
use serde::{Deserialize, Deserializer, de};
use shared::access::AuthorizedRepository;
use shared::body::OverrideBody;
use shared::extract::{LARGEST, Whole};
use shared::id::DeploymentId;
use shared::model::{Environment, Fences, Repository};
use shared::{Error, Result};

use crate::variables::Variables;

/// The deployment to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDeployment)]
pub struct DeploymentRequest {
    /// A branch, a tag, a full commit SHA, `HEAD` for the default branch, or any other ref by its full name, with or without
    /// `refs/`: `heads/main`, `refs/pull/7/head`. A branch takes precedence over a tag of the same name, and a tag over other refs.
    /// The SHA of an annotated tag stands for the tag's commit. All characters can be seen.
    #[serde(deserialize_with = "valid_ref")]
    #[schema(examples("main"))]
    pub r#ref: String,
    /// The environment to deploy to. Of a pattern, such as `review-*`, the member that is named after the ref.
    #[serde(default)]
    #[schema(default = "preview")]
    pub environment: Environment,
    /// Variables for the build, which override those of the buildspec.
    #[serde(default)]
    pub variables: Variables,
    /// The deployment that must be live in the environment (in preview: for this ref). If another one is live, the
    /// request is refused.
    #[schema(examples("deploy_k3vyq2w7x5m4n6pa"))]
    pub expected_current: Option<DeploymentId>,
    /// A number that the client increases with each deployment to the environment (in preview: of this ref). If it is
    /// not higher than the last one, the request is refused.
    #[schema(value_type = Option<u64>, minimum = 0, examples(42))]
    pub sequence: Option<Whole<u64, 0, LARGEST>>,
    /// Lets the deployment through a freeze, the wait timer, and the rules about refs and required environments. Needs the permission
    /// `admin` on the repository and the scope `repositories:write`. Approvals are needed all the same.
    pub r#override: Option<OverrideBody>,
}

/// Reads a text that can be the name of a ref.
fn valid_ref<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Revision::parse(&text).map_err(de::Error::custom)?;
    Ok(text)
}

impl DeploymentRequest {
    /// Explains the refusal of a body without `ref`: names the repository's default branch.
    pub fn explain(refusal: Error, repository: &Repository) -> Error {
        let explanation = format!("is required; the repository's default branch is '{}'", repository.default_branch);
        refusal.explain_missing("ref", &explanation)
    }

    /// # Errors
    /// Fails if `ref` can't be the name of a ref.
    pub fn revision(&self) -> Result<Revision> {
        Revision::parse(&self.r#ref).map_err(|error| Error::invalid("ref", error.to_string()))
    }

    /// Puts the environment that is named after the ref in the place of a pattern.
    pub fn in_environment_of_ref(self) -> Self {
        Self { environment: self.environment.of_ref(&self.r#ref), ..self }
    }

    /// # Errors
    /// Fails if the request overrides rules and the caller may not change them.
    pub fn check_override(&self, repository: &AuthorizedRepository) -> Result<()> {
        self.r#override.as_ref().map_or(Ok(()), |_| repository.tenant().check_override(repository))
    }

    /// Returns the conditions on the state of the lane.
    pub fn fences(&self) -> Fences {
        Fences { expected_current: self.expected_current.clone(), sequence: self.sequence.map(Whole::get) }
    }
}
