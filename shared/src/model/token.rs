//! Personal access tokens. A token has two kinds of rows: its record, found by its id, and one row for each of its secrets,
//! found by the secret's hash, which is all that authentication reads. A change of a token writes the record under an
//! optimistic lock and the rows of its secrets in the same transaction.

mod access_token;
mod creation;
mod lifetime;
mod record;

pub use access_token::*;
pub use lifetime::*;
pub use record::*;
