//! The expansion of `$Id$` by the attribute `ident`.
//!
//! Git has two implementations, which differ where dollar signs touch. gix's filter has a third, which leaves a space out and
//! keeps what is expanded already.

use gix::ObjectId;
use gix::bstr::ByteSlice;

const HEAD: &[u8] = b"$Id";

/// Expands as `ident_filter_fn` in git, for a file that git streams.
pub(super) fn stream(content: &[u8], id: ObjectId) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(content.len());
    let (mut rest, mut matched) = (content, 0);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if HEAD.get(matched) == Some(&byte) {
            matched += 1;
            continue;
        }
        expanded.extend_from_slice(&HEAD[..matched]);
        match (matched, byte) {
            (3, b'$') => expanded.extend_from_slice(&value(id)),
            (3, b':') => {
                let end = rest.find_byteset(b"$\n").map_or(rest.len(), |at| at + 1);
                let (present, after) = rest.split_at(end);
                rest = after;
                if present.ends_with(b"$") && !has_words(present) {
                    expanded.extend_from_slice(&value(id));
                } else {
                    expanded.push(byte);
                    expanded.extend_from_slice(present);
                }
            }
            _ => expanded.push(byte),
        }
        matched = 0;
    }
    expanded.extend_from_slice(&HEAD[..matched]);
    expanded
}

/// Returns whether what follows `$Id:` is of another version control: a space, and words.
fn has_words(present: &[u8]) -> bool {
    let Some(words) = present.strip_prefix(b" ") else { return false };
    words.windows(2).any(|pair| matches!(pair[0], b' ' | b'\t' | b'\r') && pair[1] != b'$')
}

/// Expands as `ident_to_worktree` in git, for a file that git reads before it converts it.
pub(super) fn replace(content: &[u8], id: ObjectId) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(dollar) = rest.find_byte(b'$') {
        let (before, after) = rest.split_at(dollar + 1);
        expanded.extend_from_slice(before);
        rest = after;
        let Some(keyword) = after.strip_prefix(b"Id") else { continue };
        match keyword.first() {
            Some(b'$') => rest = &keyword[1..],
            Some(b':') => {
                // Without another `$` the keyword is incomplete.
                let Some(end) = keyword[1..].find_byte(b'$') else { break };
                let present = &keyword[1..=end];
                let space = present.get(1..).and_then(|present| present.find_byte(b' '));
                if present.contains(&b'\n') || space.is_some_and(|at| at + 2 < present.len()) {
                    continue;
                }
                rest = &keyword[end + 2..];
            }
            _ => continue,
        }
        expanded.extend_from_slice(b"Id");
        expanded.extend_from_slice(&value(id));
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// Returns what follows `$Id`.
fn value(id: ObjectId) -> Vec<u8> {
    format!(": {id} $").into_bytes()
}
