//! The tokens of GitHub Apps
//! (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>).

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::{Time, Timestamp};
use ureq::http::StatusCode;

use crate::api::{Api, ApiError, Authorization};
use crate::key::AppKey;

/// The longest life of a token of an installation.
const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);

/// A GitHub App that authenticates itself.
#[derive(Debug)]
pub struct GithubApp<'a> {
    /// The API of the app's host.
    pub api: &'a Api,
    /// The app's ID.
    pub app_id: u64,
    /// The app's private key.
    pub key: &'a AppKey,
    /// The current time.
    pub now: Timestamp,
}

/// A token with which an installation reads repositories or reports statuses.
#[derive(Clone, Debug)]
pub struct InstallationToken {
    /// The token.
    pub token: SecretString,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
}

/// The reason why a token could not be made. The message is meant for API clients.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum AppError {
    #[error("the API of the GitHub App's host {0}")]
    Api(#[from] ApiError),
    #[error("the GitHub App's host does not accept its ID with its private key")]
    Refused(#[source] ApiError),
    #[error("the GitHub App is not installed for {0}")]
    NotInstalled(String),
    #[error("the GitHub App has no installation {0}, or the installation may not read the contents of repositories")]
    NoInstallation(u64),
    #[error("the GitHub App has no installation {0}, or the installation may not write commit statuses")]
    MayNotReport(u64),
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct NewToken {
    token: SecretString,
    expires_at: Time,
}

#[derive(Deserialize)]
struct About {
    slug: String,
}

impl GithubApp<'_> {
    fn authorization(&self) -> Authorization {
        Authorization::Bearer(self.key.sign(self.app_id, self.now))
    }

    /// Returns the name by which GitHub knows the app.
    ///
    /// # Errors
    /// Fails if the host does not accept the app's key.
    pub fn slug(&self) -> Result<String, AppError> {
        let about = self.api.get::<About>("/app", &self.authorization()).map_err(refused)?;
        Ok(about.body.slug)
    }

    /// Returns the installation that may read a repository. A repository that was renamed is found by its owner.
    ///
    /// # Errors
    /// Fails if the app is not installed for the repository and its owner.
    pub fn installation(&self, owner: &str, repository: &str) -> Result<u64, AppError> {
        let paths = [
            format!("/repos/{owner}/{repository}/installation"),
            format!("/orgs/{owner}/installation"),
            format!("/users/{owner}/installation"),
        ];
        for path in paths {
            match self.api.get::<Installation>(&path, &self.authorization()) {
                Ok(found) => return Ok(found.body.id),
                Err(ApiError::Status(status)) if status == StatusCode::NOT_FOUND || status.is_redirection() => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(AppError::NotInstalled(format!("{owner}/{repository}")))
    }

    /// Makes a token that may only read the contents of the installation's repositories.
    ///
    /// # Errors
    /// Fails if the app has no such installation, or the installation lacks the permission.
    pub fn token(&self, installation: u64) -> Result<InstallationToken, AppError> {
        self.token_for(installation, json!({"contents": "read", "metadata": "read"}), AppError::NoInstallation)
    }

    /// Makes a token that may only report the statuses of commits.
    ///
    /// # Errors
    /// Fails if the app has no such installation, or the installation lacks the permission.
    pub fn status_token(&self, installation: u64) -> Result<InstallationToken, AppError> {
        self.token_for(installation, json!({"statuses": "write"}), AppError::MayNotReport)
    }

    fn token_for(
        &self,
        installation: u64,
        permissions: Value,
        without: fn(u64) -> AppError,
    ) -> Result<InstallationToken, AppError> {
        let path = format!("/app/installations/{installation}/access_tokens");
        let body = json!({"permissions": permissions});
        let made = self.api.post::<NewToken>(&path, &self.authorization(), &body).map_err(|error| match error {
            ApiError::Status(StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY) => without(installation),
            error => refused(error),
        })?;
        let NewToken { token, expires_at } = made.body;
        Ok(InstallationToken { token, expires_at: expires_at.get().min(self.now.plus(TOKEN_LIFE)) })
    }
}

fn refused(error: ApiError) -> AppError {
    match error {
        ApiError::Refused(_) => AppError::Refused(error),
        error => AppError::Api(error),
    }
}
