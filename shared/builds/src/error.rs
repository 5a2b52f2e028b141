//! Failures of the services behind a build.

use aws_sdk_codebuild::error::{ProvideErrorMetadata, SdkError};
use shared::aws;
use shared::table::TableError;

/// The reasons why a build can't be started, stopped or settled.
#[allow(missing_docs, reason = "the message of each variant describes it")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("DynamoDB failed")]
    Table(#[from] TableError),
    #[error("the archive failed")]
    Archive(#[from] archive::Error),
    #[error("the time for the test reports was over")]
    Slow,
    #[error("the test reports can't be read")]
    Thread(#[from] tokio::task::JoinError),
    #[error("concurrent writers kept changing the deployment")]
    Contended,
    #[error("a call to {0} failed ({1})")]
    Call(&'static str, String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("CodeBuild returned an unknown value: {0}")]
    Unknown(String),
}

impl Error {
    pub(crate) fn call<E>(service: &'static str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Self::Call(service, aws::code_of(&error).to_owned(), error.into())
    }

    /// Returns whether the call can succeed later without a change of the stack: see [`aws::is_passing`].
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Call(_, code, _) if aws::is_passing(code))
    }
}
