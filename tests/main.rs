//! The API through real HTTP, the real AWS SDK and the embedded services. One file per resource.

mod applications;
mod authentication;
mod binaries;
mod codebuild;
mod contract;
mod deployments;
mod fuzz;
mod infra;
mod invitations;
mod members;
mod oauth;
mod pagination;
mod permissions;
mod pipeline;
mod rate_limit;
mod refs;
mod repositories;
mod requests;
mod sweep;
mod teams;
mod tokens;
