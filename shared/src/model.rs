//! What the table holds. Each kind of item owns its keys; no other module writes a key literal.
//!
//! `A` is an account id, `R` a repository id, `D` a deployment id.
//!
//! | item | pk | sk | indexes (partition: sort) |
//! |---|---|---|---|
//! | account | `ACCT#A` | `ACCOUNT` | |
//! | account's slug | `SLUG#slug` | `SLUG` | |
//! | user | `ACCT#A` | `USER#user` | |
//! | access token | `TOKEN#sha256` | `TOKEN` | |
//! | repository | `ACCT#A` | `REPO#R` | 1 `ACCT#A#REPOS`: created, 2 the same: updated, 3 the same: name |
//! | repository's name | `ACCT#A` | `REPONAME#name` | |
//! | number of repositories | `ACCT#A` | `REPOS` | |
//! | ref of a repository | `ACCT#A#REPO#R` | `REF#name` | |
//! | numbers of deployments | `ACCT#A#REPO#R` | `DEPLOYS` | |
//! | deployment | `ACCT#A#DEPLOY#D` | `DEPLOY` | 1 `ACCT#A#REPO#R`, 2 `…#ENV#environment`, 3 `…#STATUS#status`, 4 `…#ENV#environment#STATUS#status`: number |
//! | event of a deployment | `ACCT#A#DEPLOY#D` | `EVENT#number` | |
//! | variables of a deployment | `ACCT#A#DEPLOY#D` | `VARS` | |
//! | rate limit | `RATE#A` or `RATE#address` | `RATE` | |
//!
//! | access | calls | capacity units |
//! |---|---|---|
//! | token and its account, once in 30 s per environment | 2 GetItem in sequence | 0.5 + 0.5 |
//! | count a request | 1 UpdateItem | 1 |
//! | page of repositories or deployments, along `Link` | 1 Query and 1 GetItem at once | 0.5 per 4 KB of rows, + 1 |
//! | the same, by number | + 1 Query per 1 MB skipped; 10,000 rows at most, which is 5, or 41 if all rows are as long as can be | + 0.5 per 4 KB skipped, which is 610, or 5,100 |
//! | repository by id | 1 GetItem | 1 |
//! | repository by name | 1 Query; when it finds nothing, 2 GetItem more | 0.5 |
//! | create a repository | 1 TransactWriteItems | 14 |
//! | create a deployment | 3 GetItem at once, 1 TransactWriteItems | 3 + 20, and 2 per KB of variables |
//! | deployment by id | 1 GetItem | 1 |

mod account;
mod deployment;
mod repository;

pub use account::*;
pub use deployment::*;
pub use repository::*;

use crate::rate_limit::Subject;
use crate::table::Key;

pub(crate) fn rate_limit_key(subject: &Subject) -> Key {
    let pk = match subject {
        Subject::Account(id) => format!("RATE#{id}"),
        Subject::Source(address) => format!("RATE#{address}"),
    };
    Key { pk, sk: "RATE".to_owned() }
}
