//! The caller of a request, as their token proves. Only authentication makes a [`Caller`].

mod authenticator;
mod author;
mod caller;
mod signed_in;

pub use authenticator::*;
pub use caller::*;
pub use signed_in::*;
