//! The person who approves the demo's deployments to production.

use std::path::Path;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::InitError;

use super::secret_file::SecretFile;
use super::{Api, text};

const FILE: SecretFile = SecretFile("demo-reviewer.json");
const EMAIL: &str = "grace@example.com";
const TEAM: &str = "reviewers";

/// A member of the demo's account, alone in a team that reviews. Only the data folder has the token: the table has its hash.
#[derive(Debug, Deserialize, Serialize)]
pub struct Reviewer {
    token: String,
    team_id: String,
}

impl Reviewer {
    /// Returns the reviewer, whom it invites to the account unless the data folder has their token.
    ///
    /// # Errors
    /// Fails if the API refuses, or the file can't be read or written.
    pub async fn ensure(owner: &Api, data: &Path) -> Result<Self, InitError> {
        if let Some(reviewer) = FILE.load(data)? {
            return Ok(reviewer);
        }
        let failed = |error: InitError| format!("{EMAIL} can't become a reviewer: {error}; start with --fresh");
        let reviewer = Self::create(owner).await.map_err(failed)?;
        FILE.save(data, &reviewer)?;
        Ok(reviewer)
    }

    async fn create(owner: &Api) -> Result<Self, InitError> {
        let team = owner.create("/v1/teams", json!({"name": TEAM, "description": "Approves deployments"})).await?;
        let invitation = json!({"email": EMAIL, "role": "member", "teams": [team["id"]]});
        let invited = owner.create("/v1/invitations", invitation).await?;
        let path = format!("/v1/invitations/{}/accept", text(&invited["invitation"]["id"]));
        let accepted = owner.change(Method::POST, &path, json!({"secret": invited["secret"]})).await?;
        Ok(Self { token: text(&accepted["token"]).to_owned(), team_id: text(&team["id"]).to_owned() })
    }

    /// Lets the reviewer's team decide what is deployed to production. Returns the rule in words.
    pub(super) async fn protect(&self, owner: &Api, repository: &str) -> Result<String, InitError> {
        let grant = format!("/v1/teams/{}/repositories/{repository}", self.team_id);
        owner.change(Method::PUT, &grant, json!({"permission": "deploy"})).await?;
        let environment = format!("/v1/repositories/{repository}/environments/production");
        let rules = json!({"required_approvals": 1, "reviewers": {"users": [], "teams": [self.team_id]}});
        owner.change(Method::PATCH, &environment, rules).await?;
        Ok(format!("A deployment to production needs an approval by the team {TEAM}"))
    }

    /// Approves a deployment. Returns who did.
    pub(super) async fn approve(&self, owner: &Api, deployment: &Value) -> Result<&'static str, InitError> {
        let path = format!("/v1/deployments/{}/approve", text(&deployment["id"]));
        let approval = json!({"sha": deployment["sha"], "approval_digest": deployment["approval_digest"]});
        owner.with_token(&self.token).change(Method::POST, &path, approval).await?;
        Ok(EMAIL)
    }
}
