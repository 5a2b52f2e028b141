//! The parts of AWS that the .git API stands on, in one process on 127.0.0.1: DynamoDB, SQS, an API Gateway HTTP
//! API, an issuer of OAuth2 tokens, the event source mapping between a queue and a function, and a schedule.
//!
//! The functions get the event JSON of AWS and make the same AWS SDK calls. Every listener is on 127.0.0.1.

pub mod data;
pub mod demo;
pub mod dynamodb;
pub mod event_source;
pub mod function;
pub mod functions;
pub mod gateway;
pub mod generate;
pub mod git_host;
pub mod interrupt;
pub mod issuer;
pub mod new;
pub mod openapi;
pub mod path_parameter;
pub mod progress;
pub mod route;
pub mod schedule;
mod server;
pub mod sqs;
pub mod stack;
pub mod table;

/// The region in ARNs and events.
pub const REGION: &str = "us-east-1";

/// The account in ARNs, queue URLs and events.
pub const ACCOUNT_ID: &str = "000000000000";
