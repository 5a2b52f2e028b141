//! The caller of a request, as their token proves. Only authentication makes a [`Caller`].

mod authenticator;
mod author;
mod caller;

pub use authenticator::*;
pub use caller::*;
