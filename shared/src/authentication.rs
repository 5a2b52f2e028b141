//! The caller of a request, as their token or their session proves. Only authentication makes a [`Caller`].

mod authenticator;
mod author;
mod caller;
mod cookie;
mod presented;
mod session;
mod sign_in;
mod signed_in;

pub use authenticator::*;
pub use caller::*;
pub use cookie::clear_session_cookie;
pub use sign_in::*;
pub use signed_in::*;
