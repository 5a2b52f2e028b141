//! Settings, which a function reads from environment variables.

use std::collections::BTreeMap;
use std::num::{NonZeroUsize, ParseIntError};

use secrecy::{ExposeSecret, SecretString};

/// The settings, which init reads once. The local stack and the tests build them from a list instead of the
/// environment, so that many stacks can run in one process. Credentials are among them, so `Debug` shows no values.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, SecretString>);

/// The DynamoDB table.
pub const TABLE_NAME: &str = "TABLE_NAME";
/// The URL of the SQS queue of deployments.
pub const QUEUE_URL: &str = "QUEUE_URL";
/// The URL of the SQS queue of commit statuses that a git host has not been told.
pub const STATUS_QUEUE_URL: &str = "STATUS_QUEUE_URL";
/// The URL of the SQS queue of deliveries to hooks.
pub const HOOK_QUEUE_URL: &str = "HOOK_QUEUE_URL";
/// The URL of the SQS queue of events and deliveries for webhooks.
pub const WEBHOOK_QUEUE_URL: &str = "WEBHOOK_QUEUE_URL";
/// The URL at which clients reach the API, without `/v1`. Links in responses start with it.
pub const API_BASE_URL: &str = "API_BASE_URL";
/// The place of logs and artifacts: `s3://bucket`, `file:///folder`, or `file:` and a path, relative to the working
/// directory.
pub const ARCHIVE_URL: &str = "ARCHIVE_URL";
/// The master key of deployment variables: `kms:<key ARN>` or `file:<path>`.
pub const VARIABLES_KEY: &str = "VARIABLES_KEY";
/// The hosts that users may name, of repositories and of issuers: `public` (the default), `local`, which adds loopback and file
/// paths, or a list of names and networks, which adds private hosts.
pub const CLONE_HOSTS: &str = "CLONE_HOSTS";

/// The images that builds by AWS CodeBuild may use, separated by commas. One that ends with `*` stands for all that begin so.
pub const BUILD_IMAGES: &str = "BUILD_IMAGES";
/// The largest machine that builds by AWS CodeBuild may use, by CodeBuild's name.
pub const LARGEST_COMPUTE_TYPE: &str = "LARGEST_COMPUTE_TYPE";
/// Whether builds by AWS CodeBuild may be privileged: `allowed`, or `forbidden` by default.
pub const PRIVILEGED_BUILDS: &str = "PRIVILEGED_BUILDS";
/// Whether builds may have caches: `allowed` by default, or `forbidden`.
pub const BUILD_CACHES: &str = "BUILD_CACHES";
/// Whether builds by AWS CodeBuild may take values from Parameter Store and Secrets Manager: `allowed`, or `forbidden` by default.
pub const VALUES_FROM_AWS: &str = "VALUES_FROM_AWS";
/// The maximum number of deployments of all accounts that are in progress at once.
pub const CONCURRENT_BUILDS: &str = "CONCURRENT_BUILDS";
/// The value of [`CONCURRENT_BUILDS`] without the setting.
const DEFAULT_CONCURRENT_BUILDS: usize = 10;

/// The issuer of OAuth2 tokens, as in its metadata and its tokens. Without it no JWT is accepted.
pub const OIDC_ISSUER: &str = "OIDC_ISSUER";
/// The `aud` of the issuer's tokens for this API. Absent for Amazon Cognito, whose tokens have no `aud`.
pub const OIDC_AUDIENCE: &str = "OIDC_AUDIENCE";
/// The OAuth2 clients that users may use, separated by commas. Required without an audience.
pub const OIDC_CLIENT_IDS: &str = "OIDC_CLIENT_IDS";
/// The OAuth2 client of the dashboard, which has no secret. Without it, people sign in to the dashboard with tokens only.
pub const DASHBOARD_CLIENT_ID: &str = "DASHBOARD_CLIENT_ID";
/// A PEM file with the certificate authorities of the issuer, unless they are Amazon's.
pub const OIDC_CA_BUNDLE: &str = "OIDC_CA_BUNDLE";

/// The error for a setting that is none of the values that it can have.
#[derive(Debug, thiserror::Error)]
#[error("{0} can't be {1:?}")]
pub struct InvalidSetting(pub(crate) &'static str, pub(crate) String);

/// The error for a required setting that is missing.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {0} is not set")]
pub struct MissingSetting(&'static str);

impl Settings {
    /// Reads all environment variables.
    pub fn from_env() -> Self {
        Self(std::env::vars().map(|(name, value)| (name, value.into())).collect())
    }

    /// Sets or replaces a setting.
    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Returns a setting, or `None` if it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(SecretString::expose_secret).filter(|value| !value.is_empty())
    }

    /// Returns all settings, credentials included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }

    /// Returns the maximum number of deployments of all accounts that are in progress at once.
    ///
    /// # Errors
    /// Fails if [`CONCURRENT_BUILDS`] is no number above 0.
    pub fn concurrent_builds(&self) -> Result<usize, ParseIntError> {
        let number = self.get(CONCURRENT_BUILDS).map(str::parse).transpose()?;
        Ok(number.map_or(DEFAULT_CONCURRENT_BUILDS, NonZeroUsize::get))
    }

    /// Returns whether an operator's setting is `allowed`, and not `forbidden`.
    ///
    /// # Errors
    /// Fails if the setting is neither.
    pub fn allows(&self, name: &'static str, default: bool) -> Result<bool, InvalidSetting> {
        match self.get(name) {
            None => Ok(default),
            Some("allowed") => Ok(true),
            Some("forbidden") => Ok(false),
            Some(other) => Err(InvalidSetting(name, other.to_owned())),
        }
    }

    /// Returns a setting that the function can't work without.
    pub fn require(&self, name: &'static str) -> Result<&str, MissingSetting> {
        self.get(name).ok_or(MissingSetting(name))
    }
}

impl<const N: usize> From<[(&str, String); N]> for Settings {
    fn from(pairs: [(&str, String); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}
