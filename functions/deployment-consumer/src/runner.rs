//! The ways to run a deployment.

use archive::Archive;
use shared::{App, InitError};

use crate::codebuild::CodeBuild;

/// The setting that selects the runner: `process`, the default, or `codebuild`.
pub const RUNNER: &str = "RUNNER";

#[derive(Clone, Debug)]
pub(crate) enum Runner {
    /// Child processes of this function.
    Process,
    CodeBuild(Box<CodeBuild>),
}

impl Runner {
    pub(crate) fn new(app: &App, archive: &Archive) -> Result<Self, InitError> {
        match app.settings().get(RUNNER) {
            None | Some("process") => Ok(Self::Process),
            Some("codebuild") => Ok(Self::CodeBuild(Box::new(CodeBuild::new(app, archive)?))),
            Some(other) => Err(format!("{RUNNER} must be process or codebuild, not {other:?}").into()),
        }
    }
}
