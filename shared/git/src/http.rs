//! Git's smart HTTP over ureq. Every connection goes through the resolver of [`fetch`], so nothing can change between the
//! check of an address and its use.

mod answer;
mod body;
mod client;
mod connection;

pub(crate) use client::{Budget, Client, USER_AGENT, is_cut, origin};
pub(crate) use connection::Connection;
