//! A repository's `buildspec.yml`: AWS CodeBuild's build specification, version 0.2
//! (<https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html>).
//!
//! Unsupported features are rejected, with their key and line, if they would change the result. Otherwise they are
//! ignored with a note in the log.

mod artifacts;
mod document;
mod error;
mod parse;
mod spec;

pub use artifacts::Artifacts;
pub use error::BuildspecError;
pub use parse::MAX_BYTES;
pub use spec::{Buildspec, OnFailure, Phase, PhaseName, Shell};
