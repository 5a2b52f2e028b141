//! The APIs of git hosts: the tokens of GitHub Apps, the account and the repositories of a credential, and the statuses of commits.
//!
//! A host is named by a user, so it can't be trusted: every connection is checked as [`fetch`] says, no redirect is followed, and
//! no text of a host is passed on as the reason of a failure. All calls block.

mod api;
mod app;
mod identity;
mod key;
mod status;

pub use api::{Api, ApiError, Authorization};
pub use app::{AppError, GithubApp, InstallationToken};
pub use identity::{Identity, VisibleRepositories};
pub use key::{AppKey, InvalidAppKey};
pub use status::{CommitReport, CommitState, ReportError};
