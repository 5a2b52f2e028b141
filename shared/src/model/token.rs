//! Personal access tokens. A token has two kinds of rows. Its record is found by the token's id. Each of its secrets
//! has a row, found by the secret's hash; authentication reads only this row. A change of a token writes the record
//! under an optimistic lock, and the rows of its secrets in the same transaction.

mod access_token;
mod creation;
mod lifetime;
mod record;

pub use access_token::*;
pub use lifetime::*;
pub use record::*;
