//! The creation of a deployment: the request for it, its variables, and the commit of its ref.

mod creation;
mod request;
mod resolved_ref;
mod variables;

pub use creation::{Creation, Snapshot};
pub use request::DeploymentRequest;
pub use resolved_ref::ResolvedRef;
pub use variables::Variables;
