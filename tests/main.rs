//! The API through real HTTP, the real AWS SDK and the embedded services. One file per resource.

mod deployments;
mod repositories;
