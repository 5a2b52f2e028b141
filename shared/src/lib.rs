//! The common crate of all functions: the request pipeline, authentication, rate limits, the error envelope,
//! pagination, and the models with their DynamoDB access.

pub mod access;
pub mod app;
pub mod attempts;
mod authentication;
pub mod aws;
pub mod body;
pub mod cache;
pub mod capability;
pub mod clock;
pub mod dispatch;
pub mod endpoint;
pub mod error;
pub mod extract;
pub mod hex;
pub mod hosts;
pub mod id;
mod input;
pub mod model;
pub mod name;
mod number;
pub mod oauth;
pub mod page;
pub mod permission;
pub mod permitted;
pub mod pipeline;
mod places;
pub mod poll;
pub mod precondition;
pub mod queue;
pub mod rate_limit;
pub mod route;
pub mod scope;
pub mod serve;
pub mod settings;
pub mod sort;
pub mod table;
pub mod telemetry;
pub mod timeline;
pub mod token;
pub mod usage;

pub use app::App;
pub use endpoint::Endpoint;
pub use error::{Error, ErrorCode, Result};
pub use route::Route;
pub use serve::{InitError, serve};
