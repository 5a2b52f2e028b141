//! The first answer of a server.

use std::mem;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::error::{ErrorExt, message};
use gix_transport::client::Capabilities;
use gix_transport::client::blocking_io::ReadlineBufRead;

use crate::error::RemoteError;
use crate::refs::{BRANCHES, HEAD, RemoteRef, RemoteRefs};
use crate::revision::CommitSha;

/// Refuses a repository that names its objects by another hash than SHA-1.
pub(super) fn check_object_format(capabilities: &Capabilities) -> Result<(), RemoteError> {
    let format = capabilities.capability("object-format").and_then(|format| format.value());
    match format {
        Some(format) if format != "sha1" => Err(RemoteError::ObjectFormat(hash_name(&format.to_str_lossy()))),
        _ => Ok(()),
    }
}

/// Returns the name of a hash as people write it: `SHA-256` for `sha256`.
fn hash_name(format: &str) -> String {
    match format {
        "sha256" => "SHA-256".to_owned(),
        _ => "an unknown hash".to_owned(),
    }
}

/// Reads the refs that a server of protocol version 0 or 1 lists: in each line a SHA and a name, and after an annotated tag the SHA
/// of its target. The target of HEAD is among the capabilities.
pub(super) fn read_refs(capabilities: &Capabilities, lines: &mut dyn ReadlineBufRead) -> gix::Result<RemoteRefs> {
    let mut found = RemoteRefs { default_branch: default_branch(capabilities), ..RemoteRefs::default() };
    while let Some(line) = lines.readline() {
        let line = line.map_err(gix::Error::from_error)??;
        let Some(line) = line.as_bstr() else { break };
        let (sha, name) = line.trim_end().split_once_str(" ").ok_or_else(|| malformed(line))?;
        // A shallow repository lists where its history ends, and an empty one lists its capabilities only.
        if sha == b"shallow" || name == b"capabilities^{}" {
            continue;
        }
        let object = ObjectId::from_hex(sha).map_err(|_| malformed(line)).map(CommitSha::new)?;
        if let Some(tag) = name.strip_suffix(b"^{}") {
            if let Some(last) = found.refs.last_mut().filter(|last| last.name.as_bytes() == tag) {
                last.tag = Some(mem::replace(&mut last.target, object));
            }
            continue;
        }
        match name.to_str() {
            Ok(HEAD) => found.head = Some(object),
            Ok(name) => found.refs.push(RemoteRef { name: name.to_owned(), target: object, tag: None }),
            // Git allows any bytes in a name. A name that is not UTF-8 can't be requested in JSON.
            Err(_) => {}
        }
    }
    Ok(found)
}

fn default_branch(capabilities: &Capabilities) -> Option<String> {
    let values = capabilities.iter().filter(|capability| capability.name() == "symref");
    let targets = values.filter_map(|capability| capability.value()?.strip_prefix(b"HEAD:"));
    let branch = targets.filter_map(|target| target.to_str().ok()?.strip_prefix(BRANCHES)).next()?;
    Some(branch.to_owned())
}

fn malformed(line: &[u8]) -> gix::Error {
    message!("the server listed a ref as {:?}", line.as_bstr()).raise()
}
