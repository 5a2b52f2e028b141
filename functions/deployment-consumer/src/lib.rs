//! Consumes the deployment queue, one message at a time, and takes each deployment to its end.
//!
//! A deployment runs in this function or in a CodeBuild build that this function starts, depending on [`RUNNER`].
//!
//! The queue delivers at least once and in any order, and a function can die at any line. A message is deleted only once
//! its deployment has ended or has a build. The deployment's row alone decides what happens to a message:
//!
//! | the row | the message |
//! |---|---|
//! | is of another account than this environment has built for | is sent again, and this environment ends |
//! | is gone | is deleted |
//! | has ended | is deleted; if the deployment has waited for a permit, the next ones get their turn |
//! | is queued | starts the next deployment in the lane, if a permit is free; is deleted if none may start |
//! | is in progress in CodeBuild | is deleted: the build's events and the sweep end the deployment |
//! | is in progress, with a current lease | is delivered again later |
//! | is in progress, with an expired lease | starts another attempt, or fails the deployment after [`MAX_ATTEMPTS`](shared::dispatch::MAX_ATTEMPTS) |
//!
//! A fault of the deployment fails the deployment. A fault of the infrastructure leaves the deployment unchanged: the
//! message is delivered again, and goes to the dead-letter queue after its last delivery.

mod beneath;
pub mod buildspec;
mod cache;
mod checkout;
mod codebuild;
mod consumer;
mod environment;
mod lease;
mod opened;
mod pipeline;
pub mod process;
mod refusal;
mod results;
mod retry;
mod run_log;
mod runner;
mod source;
mod survivors;
mod tenant;
mod test_reports;
mod variables;
mod workspace;

pub use consumer::{Consumer, RUN_TIME_LIMIT_SECONDS};
pub use environment::serve;
pub use pipeline::{FETCH_LIMITS, REPORT_TIME};
pub use runner::RUNNER;
