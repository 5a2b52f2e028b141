//! The search for the branches and tags whose history has a commit.

use std::iter;

use crate::error::RemoteError;
use crate::limits::{MAX_TIPS, TIPS_OF_A_REQUEST};
use crate::revision::CommitSha;
use crate::upload_pack::UploadPack;

/// The place of a commit among the branches and tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The branch or tag of this full name points to the commit, or has it in its history.
    On(String),
    /// No branch or tag has the commit in its history. Git hosts serve such commits of forks, and those that a push by force has
    /// left behind.
    Nowhere,
    /// The server does not tell, or there are more branches and tags than [`MAX_TIPS`].
    Unknown,
}

/// Finds one of these branches and tags that has the commit in its history, in few requests without objects. A server sends nothing for
/// a commit to a client that has it, and a client that has a tip has its history.
pub(crate) fn find(
    server: &mut UploadPack,
    sha: CommitSha,
    tips: &[(String, CommitSha)],
) -> Result<Reach, RemoteError> {
    let searched = &tips[..tips.len().min(MAX_TIPS)];
    // The first is the default branch, which has most of the commits that are deployed.
    let (first, others) = searched.split_at(searched.len().min(1));
    for some in iter::once(first).chain(others.chunks(TIPS_OF_A_REQUEST)).filter(|some| !some.is_empty()) {
        if is_reached(server, sha, some)? {
            return narrow(server, sha, some).map(Reach::On);
        }
    }
    if tips.is_empty() {
        return Ok(Reach::Nowhere);
    }
    // A server that sends the commit even to a client that has it takes no notice of what clients have.
    let is_told = searched.len() == tips.len() && server.has_nothing_for(&[sha], sha)?;
    Ok(if is_told { Reach::Nowhere } else { Reach::Unknown })
}

/// Returns the name of one of these branches and tags that has the commit in its history. At least one of them has.
fn narrow(server: &mut UploadPack, sha: CommitSha, tips: &[(String, CommitSha)]) -> Result<String, RemoteError> {
    let mut among = tips;
    while among.len() > 1 {
        let (left, right) = among.split_at(among.len() / 2);
        among = if is_reached(server, sha, left)? { left } else { right };
    }
    Ok(among[0].0.clone())
}

fn is_reached(server: &mut UploadPack, sha: CommitSha, tips: &[(String, CommitSha)]) -> Result<bool, RemoteError> {
    let commits: Vec<_> = tips.iter().map(|(_, commit)| *commit).collect();
    server.has_nothing_for(&commits, sha)
}
