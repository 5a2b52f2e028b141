//! The archive: logs, artifacts and sources of deployments as objects in a folder or a bucket.
//!
//! ```text
//! {prefix}/log/{number of its last line, 12 digits}   a chunk of the log, JSON lines
//! {prefix}/artifacts/{path}                           one artifact
//! {prefix}/reports/{path}                             one file of the test reports of a build by CodeBuild
//! {prefix}/zips/{digest of a set of artifacts}.zip    all of the set
//! {prefix}/source.zip                                 the deployed source
//! {prefix}/cache.zip                                  a cache of builds
//! ```
//!
//! The caller chooses the prefixes: one for each log, one for each source, one for each set of artifacts, and one for each cache.

mod artifact;
mod cache;
mod download;
mod log;
mod s3;
mod store;
mod stored;

pub use artifact::Artifact;
pub use download::Download;
pub use log::{Gaps, HEAD_BYTES, LogLine, LogPage, LogWriter, MAX_LINE_BYTES, MAX_READ_BYTES, Stream, TAIL_BYTES};
pub use store::{Archive, Error, Result};
pub use stored::REPORTS;
