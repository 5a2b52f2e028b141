//! Commit objects.

use gix::bstr::ByteSlice;
use gix::objs::CommitRef;
use shared::model::CommitTexts;

/// Returns the texts of a commit object, or empty ones if git could not read it either.
pub(crate) fn texts(object: &[u8]) -> CommitTexts {
    let Ok(commit) = CommitRef::from_bytes(object, gix::hash::Kind::Sha1) else { return CommitTexts::new("", "") };
    let author = commit.author().map(|author| author.name.to_str_lossy().into_owned()).unwrap_or_default();
    CommitTexts::new(&commit.message_summary().to_str_lossy(), &author)
}
