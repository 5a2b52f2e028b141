//! A repository's `buildspec.yml`: AWS CodeBuild's build specification, versions 0.1 and 0.2
//! (<https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html>).
//!
//! A construct that a deployment does not do as the file says is noted, with its place. One that would make another build of it is
//! rejected, although CodeBuild runs it: `batch`, shells of Windows, and aliases without end. All problems of a file are told at once.

mod artifacts;
mod cache;
mod canonical;
mod env;
mod finding;
mod node;
mod on_failure;
mod parse;
mod pattern;
mod phases;
mod reading;
mod reports;
mod selection;
mod spec;
mod stored;
mod syntax;

pub use artifacts::Artifacts;
pub use cache::{Cache, CacheAction, CachedFiles};
pub use finding::{BuildspecError, Finding, Position};
pub use on_failure::{OnFailure, Retry};
pub use parse::MAX_BYTES;
pub(crate) use pattern::compile as compile_patterns;
pub use reports::Report;
pub use selection::Selection;
pub use spec::{Buildspec, Phase, PhaseName, Shell, Version};
pub use stored::{Store, Stored};
