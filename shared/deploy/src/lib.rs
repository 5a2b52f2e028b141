//! The request for a new deployment, its variables, and the commit of its ref.

mod refused;
mod request;
mod resolved_ref;
mod secret;
mod variables;

pub use request::DeploymentRequest;
pub use resolved_ref::ResolvedRef;
pub use variables::Variables;
