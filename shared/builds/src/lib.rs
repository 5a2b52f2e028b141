//! Deployments that run as AWS CodeBuild builds: starts a build, and settles a deployment with the reports of its build.
//!
//! A build belongs to one attempt of one deployment, which its environment variables name. A report arrives as an event
//! or as the answer to a query, and both call [`Builds::settle`]. Reports may therefore arrive repeatedly and in any
//! order.
//!
//! A build can use only the objects, secrets and log streams whose names it is given: their names are
//! [capabilities](shared::capability), and the build's role may not list them.

mod client;
mod error;
mod report;
mod settle;
mod start;
mod stored;

pub use client::{ACCOUNT_VARIABLE, ASK_AT_ONCE, ATTEMPT_VARIABLE, Builds, CODEBUILD_PROJECT, DEPLOYMENT_VARIABLE};
pub use error::Error;
pub use report::{BuildStatus, PhaseReport, Report};
pub use settle::Settled;
pub use start::{Start, StartFailed};
