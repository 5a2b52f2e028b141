//! The check that an answer is one of git's smart HTTP.

use http::{HeaderMap, header};

use super::body::ResponseBody;
use super::client::protocol;
use crate::error::RemoteError;

/// The lines that begin an advertisement of refs, in versions 0 and 1 of the protocol.
const ANNOUNCEMENT: &[u8] = b"001e# service=git-upload-pack\n0000";

/// The line with which a server says that it speaks protocol version 1.
const VERSION_1: &[u8] = b"000eversion 1\n";

/// The number of bytes that tell what a body is.
const START: usize = 48;

/// Checks the answer to the request for refs, and prepares its body for gix.
pub(super) fn check_advertisement(headers: &HeaderMap, body: &mut ResponseBody) -> Result<(), RemoteError> {
    check(headers, body, "application/x-git-upload-pack-advertisement")?;
    let announced = if body.peek(ANNOUNCEMENT.len())? == ANNOUNCEMENT { ANNOUNCEMENT.len() } else { 0 };
    check_line(announced, body)?;
    // Version 1 is version 0 with this line, which gix can't read.
    let version = announced..announced + VERSION_1.len();
    if body.peek(version.end)?.get(version.clone()) == Some(VERSION_1) {
        body.leave_out(version);
    }
    Ok(())
}

/// Checks the answer to a command.
pub(super) fn check_result(headers: &HeaderMap, body: &mut ResponseBody) -> Result<(), RemoteError> {
    check(headers, body, "application/x-git-upload-pack-result")?;
    check_line(0, body)
}

/// Fails if the line at this place is an error of the server. gix takes it for a ref or for a part of a pack.
fn check_line(at: usize, body: &mut ResponseBody) -> Result<(), RemoteError> {
    let Some((length, b"ERR ")) = body.peek(at + 8)?.get(at..at + 8).map(|start| start.split_at(4)) else {
        return Ok(());
    };
    let length = std::str::from_utf8(length).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let end = at + length.ok_or_else(|| protocol("an error has no length"))?;
    let words = body.peek(end)?.get(at + 8..).unwrap_or_default().to_vec();
    Err(body.refused(&words))
}

fn check(headers: &HeaderMap, body: &mut ResponseBody, wanted: &str) -> Result<(), RemoteError> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or_default());
    if content_type == wanted {
        return Ok(());
    }
    let start = body.peek(START)?;
    if is_ref(start) {
        return Err(RemoteError::DumbHttp);
    }
    if content_type.starts_with("text/html") || start.trim_ascii_start().starts_with(b"<") {
        return Err(RemoteError::WebPage);
    }
    Err(protocol(format!("the answer has the type '{content_type}'")))
}

/// Returns whether a body begins with a line of `info/refs` as `git update-server-info` writes it: a SHA, a tab and a name.
fn is_ref(start: &[u8]) -> bool {
    let digits = start.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // The digits of SHA-256 fill the start.
    digits == START || (digits == 40 && start.get(40) == Some(&b'\t'))
}
