//! The software of git hosts.

use serde::{Deserialize, Serialize};

use crate::name::GitHost;

/// The software of a git host, whose API the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub or GitHub Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea or Forgejo.
    Gitea,
    /// Bitbucket.
    Bitbucket,
    /// Any other that speaks git's protocol over HTTP.
    Other,
}

impl Provider {
    /// Returns the provider of a well-known host, and [`Provider::Other`] for any other.
    pub fn of(host: &GitHost) -> Self {
        match host.as_str() {
            "github.com" => Self::Github,
            "gitlab.com" => Self::Gitlab,
            "codeberg.org" => Self::Gitea,
            "bitbucket.org" => Self::Bitbucket,
            _ => Self::Other,
        }
    }
}
