//! The batch API of a Git LFS server (<https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>).

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde::{Deserialize, Serialize};
use shared::hosts::Hosts;

use super::pointer::Pointer;

/// The media type of requests and responses.
pub(super) const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// The number of objects that one request names, which is git-lfs's own.
pub(super) const MAX_OBJECTS: usize = 100;

/// The headers of a download that would change the request itself.
const OWN_HEADERS: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::ACCEPT_ENCODING];

/// A request for the places of objects.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    hash_algo: &'static str,
    objects: Vec<RequestedObject<'a>>,
}

#[derive(Serialize)]
struct RequestedObject<'a> {
    oid: &'a str,
    size: u64,
}

impl<'a> Request<'a> {
    pub(super) fn new(pointers: impl IntoIterator<Item = &'a Pointer>) -> Self {
        let objects = pointers.into_iter().map(|pointer| RequestedObject { oid: &pointer.oid, size: pointer.size });
        Self { operation: "download", transfers: ["basic"], hash_algo: "sha256", objects: objects.collect() }
    }
}

/// The response of a server.
#[derive(Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
    /// Whether the download's own URL and headers are all that it needs.
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct Actions {
    download: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    /// Some servers write `null` for none.
    #[serde(default)]
    header: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct ObjectError {
    code: u16,
}

/// The place of an object, and the headers that only this place gets.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl Response {
    /// Takes the place of an object out of the response. A place that needs authorization, and comes without it, gets what
    /// `authorization` has for it. Fails with the end of a sentence about the file.
    pub(super) fn take(
        &mut self,
        pointer: &Pointer,
        hosts: Hosts,
        authorization: impl Fn(&Uri) -> Option<HeaderValue>,
    ) -> Result<Download, String> {
        if self.transfer.as_deref().is_some_and(|transfer| transfer != "basic") {
            return Err("is offered by another transfer than basic".to_owned());
        }
        let found = self.objects.iter().position(|object| object.oid == pointer.oid);
        let object = self.objects.swap_remove(found.ok_or("is not on the server")?);
        if let Some(error) = object.error {
            return Err(match error.code {
                404 | 410 => "is not on the server".to_owned(),
                code => format!("is refused by the server, with code {code}"),
            });
        }
        if object.size != pointer.size {
            return Err("has another size on the server".to_owned());
        }
        let action = object.actions.and_then(|actions| actions.download).ok_or("has no download on the server")?;
        let uri = allowed(&action.href, hosts).ok_or("has a download that is not an https:// URL")?;
        let mut headers = HeaderMap::new();
        for (name, value) in action.header.into_iter().flatten() {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, mut value) = header.ok_or("has a download with an invalid header")?;
            if !OWN_HEADERS.contains(&name) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if !object.authenticated && !headers.contains_key(header::AUTHORIZATION) {
            headers.extend(authorization(&uri).map(|value| (header::AUTHORIZATION, value)));
        }
        Ok(Download { uri, headers })
    }
}

/// Parses the URL of a download. The address of its host is checked by the resolver.
pub(super) fn allowed(href: &str, hosts: Hosts) -> Option<Uri> {
    let uri: Uri = href.parse().ok()?;
    let is_allowed = match uri.scheme_str()? {
        "https" => true,
        "http" => hosts == Hosts::AlsoLocal,
        _ => false,
    };
    (is_allowed && !uri.authority()?.as_str().contains('@')).then_some(uri)
}
