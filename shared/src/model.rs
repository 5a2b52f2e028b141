//! What the table holds. [`key`] makes the keys of all items.
//!
//! `A` is an account id, `U` a user id, `T` a token's or a team's id, `I` an invitation id, `R` a repository id, `D` a
//! deployment id.
//!
//! | item | pk | sk | indexes (partition: sort) |
//! |---|---|---|---|
//! | account | `ACCT#A` | `ACCOUNT` | |
//! | account's slug | `SLUG#slug` | `SLUG` | |
//! | user | `ACCT#A` | `USER#U` | 1 `ACCT#A#MEMBERS`: created |
//! | email address | `ACCT#A` | `EMAIL#address` | |
//! | numbers of users and owners | `ACCT#A` | `MEMBERS` | |
//! | access token | `ACCT#A#TOKEN#T` | `TOKEN` | 1 `ACCT#A#TOKENS`, 2 `ACCT#A#USER#U#TOKENS`: created |
//! | secret of a token, kept 90 days after its end | `TOKEN#sha256` | `TOKEN` | |
//! | numbers of tokens | `ACCT#A#TOKENS` | `TOTAL` or `U` | |
//! | invitation | `INVITATION#I` | `INVITATION` | 1 `ACCT#A#INVITATIONS`: created, 2 `EMAIL#address`: created |
//! | number of invitations | `ACCT#A` | `INVITATIONS` | |
//! | team | `ACCT#A` | `TEAM#T` | 1 `ACCT#A#TEAMS`: created, 2 the same: updated, 3 the same: name |
//! | team's name | `ACCT#A` | `TEAMNAME#name` | |
//! | number of teams | `ACCT#A` | `TEAMS` | |
//! | numbers of a team's members and repositories | `ACCT#A#TEAM#T` | `SIZES` | |
//! | member of a team | `ACCT#A#TEAM#T#MEMBERS` | `USER#U` | 1 the same: added |
//! | repository of a team | `ACCT#A#TEAM#T#REPOS` | `REPO#R` | 1 the same: added |
//! | repository | `ACCT#A` | `REPO#R` | 1 `ACCT#A#REPOS`: created, 2 the same: updated, 3 the same: name, 4 `ACCT#A#PUBLIC` if it is public: created |
//! | application | `CLIENT#client_id` | `CLIENT` | 1 `ACCT#A#APPS`: created |
//! | number of applications | `ACCT#A#APPS` | `TOTAL` | |
//! | user's identity at the OAuth2 issuer | `SUBJECT#sha256` | `SUBJECT` | |
//! | account's mail domain | `DOMAIN#domain` | `DOMAIN` | |
//! | repository's name | `ACCT#A` | `REPONAME#name` | |
//! | number of repositories | `ACCT#A` | `REPOS` | |
//! | ref of a repository | `ACCT#A#REPO#R` | `REF#name` | |
//! | numbers of deployments | `ACCT#A#REPO#R` | `DEPLOYS` | |
//! | deployment | `ACCT#A#DEPLOY#D` | `DEPLOY` | 1 `ACCT#A#REPO#R`, 2 `…#ENV#environment`, 3 `…#STATUS#status`, 4 `…#ENV#environment#STATUS#status`: number; 5 `DUE#shard`: time, A, D, while it has not ended |
//! | settings of an environment | `ACCT#A#REPO#R` | `ENV#environment` | |
//! | lock of a lane | `ACCT#A#REPO#R#LANE#environment`, in preview with `#ref` | `LANE` | |
//! | queued deployment | as its lane's lock | `WAIT#number` | |
//! | idempotency key | `ACCT#A#IDEM#sha256` | `IDEM` | |
//! | event of a deployment | `ACCT#A#DEPLOY#D` | `EVENT#number` | |
//! | variables of a deployment | `ACCT#A#DEPLOY#D` | `VARS` | |
//! | how far the counters are compared | `RECOUNT` | `RECOUNT` | |
//! | rate limit | `RATE#A` or `RATE#address` | `RATE` | |
//!
//! | access | calls | capacity units |
//! |---|---|---|
//! | token, and then its account, its user and the account's rate limit, once in 30 s per environment | 1 GetItem, 1 BatchGetItem | 0.5 + 1.5, and 0.5 once an hour for the token's last use |
//! | what the caller may do in a repository | none: the user's row has their teams, the repository's row has what teams were given | 0 |
//! | the same for a deployment, where role and account do not decide | 1 GetItem, beside the deployment's unless it is the first time | 1 |
//! | the same for an OAuth2 token of a user; of an application | the same | 0.5 + 3; 0.5 + 1 |
//! | count a request | 1 UpdateItem | 1 |
//! | last use of a token, beside the request, once an hour | 1 UpdateItem | 3, or 1 for who comes second |
//! | page of repositories, deployments or tokens, along `Link` | 1 Query and 1 GetItem at once | 0.5 per 4 KB of rows, + 1 |
//! | the same, by number | + 1 Query per 1 MB skipped; 10,000 rows at most, which is 5, or 41 if all rows are as long as can be | + 0.5 per 4 KB skipped, which is 610, or 5,100 |
//! | page of repositories for a member whom the account gives nothing | 1 Query of the public ones and 1 for each of their teams at once, 1 BatchGetItem | 0.5 per 4 KB of the public ones (8 rows) and of each team's (14 rows), + 0.5 per row of the page |
//! | page of a member's own teams | 1 BatchGetItem | 0.5 per team |
//! | page of a team's members or repositories, along `Link` | 1 GetItem, 1 Query and 1 GetItem at once, 1 BatchGetItem | 2.5, + 0.5 per row |
//! | add or remove a team's member or repository | 2 or 3 GetItem in sequence, 1 TransactWriteItems | 10 to 15 |
//! | delete a team | 1 GetItem, 1 UpdateItem, 4 Query, a TransactWriteItems of 2 items for each member and repository, 16 at once, and 1 at the end | 6 for each member, 8 for each repository |
//! | remove a member | 1 GetItem, 1 TransactWriteItems for each of their teams and 1 at the end | 8, and 8 for each team |
//! | accept an invitation | 1 GetItem, 1 BatchGetItem, 1 TransactWriteItems | 24, and 7.5 for each team |
//! | repository by id | 1 GetItem | 1 |
//! | repository by name | 1 Query; when it finds nothing, 2 GetItem more | 0.5 |
//! | create a repository | 1 TransactWriteItems | 14 |
//! | create a deployment | 3 GetItem at once, 1 TransactWriteItems | 3 + 13, and 2 for a ref that was read from the remote, and 2 per KB of variables |
//! | the same with an idempotency key | + 1 UpdateItem beside the reads, and 1 write in the transaction | + 1 + 2 |
//! | run a deployment | 3 GetItem, 2 Query of the lane, 2 TransactWriteItems to claim and to end it | 38 together |
//! | its runner, while it runs | 1 UpdateItem every 15 s, and 1 GetItem every 3 s between them | 2 and 1 each |
//! | place in the queue | 1 GetItem, 1 Query of the lane | 1 + 1 per 4 KB, which are 30 that wait |
//! | deployment by id | 1 GetItem | 1 |
//! | token by id | 1 GetItem | 1 |
//! | link a subject of the OAuth2 issuer | 4 GetItem in sequence, 1 TransactWriteItems | 3 + 9 |
//! | create or delete an application | 1 TransactWriteItems | 5 |
//! | create a token | 1 TransactWriteItems | 10 |
//! | change or rotate a token; revoke it | 1 GetItem, 1 TransactWriteItems | 1 + 6; 1 + 10; and 2 for each old secret that still works |
//! | sweep | 1 Query for each of 4 shards, or for each 100 deployments that are due; then for each of these 1 GetItem and 1 UpdateItem | 0.5 each; 1 + 7 |
//! | comparing counters, in a sweep | 1 GetItem, while a round rests; else Scans and Queries of 200 rows each, and 1 UpdateItem at the end | 0.5; it stops after 200: 0.5 per 4 KB of everything, then of each list of deployments, and 1 per 4 KB of other rows that are counted |
//!
//! Index 5 has the keys only, and only of deployments that have not ended: what the sweep asks for is there, and what
//! changes in the row beside that costs nothing more.

mod account;
mod application;
mod build;
mod counter;
mod deployment;
mod domain;
mod identity;
mod invitation;
pub(crate) mod key;
mod member;
mod new_account;
mod rate_limit;
mod recount;
mod repository;
mod standing;
mod team;
mod token;

pub use account::*;
pub use application::*;
pub use build::*;
pub use deployment::*;
pub use identity::*;
pub use invitation::*;
pub use key::{CONNECTION_PROBE, LaneKey, RepositoryPartition};
pub use member::*;
pub use new_account::*;
pub use rate_limit::*;
pub use recount::{Finding, Recount};
pub use repository::*;
pub(crate) use standing::*;
pub use team::*;
pub use token::*;

pub use crate::name::*;
pub use crate::permission::{BasePermission, Role, Visibility};
