//! Git's smart HTTP over ureq. Every connection goes through a resolver that refuses addresses that
//! [`Hosts`](crate::Hosts) does not allow, so nothing can change between the check of an address and its use.

mod client;
mod connection;
mod resolver;

pub(crate) use client::{Budget, Client};
pub(crate) use connection::Connection;
