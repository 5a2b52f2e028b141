//! A client of a remote's `git-upload-pack`, in protocol version 2 over smart HTTP
//! (<https://git-scm.com/docs/protocol-v2>).

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use gix::bstr::BString;
use gix::odb::pack::Bundle;
use gix::odb::pack::bundle::write::Options;
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use gix::progress::Discard;
use gix::protocol::fetch::{Arguments, Response};
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::{Command, Handshake, LsRefsCommand};
use gix_transport::client::blocking_io::ExtendedBufRead;
use gix_transport::client::blocking_io::http::Transport;
use gix_transport::{Protocol, Service};
use http::Uri;
use shared::hosts::Hosts;
use shared::model::CommitTexts;

use crate::commit;
use crate::credential::Credential;
use crate::error::RemoteError;
use crate::http::{Budget, Client, Connection};
use crate::revision::{CommitSha, RemoteRef, RemoteRefs};

const AGENT: &str = concat!("git/dotgit-", env!("CARGO_PKG_VERSION"));

/// The maximum size of a commit object, which contains the message and a few lines. Larger ones are skipped.
const MAX_COMMIT_BYTES: u64 = 1024 * 1024;

/// The number of objects that may precede the commit in a pack without history. They can only be tags.
const MAX_OBJECTS_BEFORE_COMMIT: usize = 16;

/// A connected remote, whose capabilities are known.
pub(crate) struct UploadPack {
    client: Rc<Client>,
    transport: Transport<Connection>,
    handshake: Handshake,
}

impl UploadPack {
    pub(crate) fn connect(
        uri: &Uri,
        hosts: Hosts,
        credential: Option<Credential>,
        budget: Budget,
    ) -> Result<Self, RemoteError> {
        let client = Rc::new(Client::new(hosts, credential, budget));
        let url = gix::Url::try_from(uri.to_string()).map_err(|error| RemoteError::Protocol(error.into()))?;
        let mut transport = Transport::new_http(Connection::new(Rc::clone(&client)), url, Protocol::V2, false);
        let no_credentials = |_| Ok(None);
        let handshake =
            gix::protocol::handshake(&mut transport, Service::UploadPack, no_credentials, Vec::new(), &mut Discard)
                .map_err(|error| failed(&client, error))?;
        if handshake.server_protocol_version != Protocol::V2 {
            return Err(RemoteError::Protocol("the server does not speak protocol version 2".into()));
        }
        Ok(UploadPack { client, transport, handshake })
    }

    /// Lists HEAD, branches and tags.
    pub(crate) fn list_refs(&mut self) -> Result<RemoteRefs, RemoteError> {
        let mut prefixes = RefPrefixes::new();
        prefixes.extend(["HEAD", "refs/heads/", "refs/tags/"].map(BString::from));
        let listed = LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent())
            .invoke_blocking(&mut self.transport, &mut Discard, false)
            .map_err(|error| failed(&self.client, error))?;
        let mut found = RemoteRefs::default();
        for listed in listed {
            let (name, object, points_to) = match listed {
                Ref::Peeled { full_ref_name, object, .. } | Ref::Direct { full_ref_name, object } => {
                    (full_ref_name, Some(object), None)
                }
                Ref::Symbolic { full_ref_name, target, object, .. } => (full_ref_name, Some(object), Some(target)),
                Ref::Unborn { full_ref_name, target } => (full_ref_name, None, Some(target)),
            };
            // Git allows any bytes in a name. A name that is not UTF-8 can't be requested in JSON.
            let Ok(name) = String::from_utf8(name.into()) else { continue };
            if name == "HEAD" {
                let branch = points_to.and_then(|target| String::from_utf8(target.into()).ok());
                found.default_branch = branch.and_then(|name| Some(name.strip_prefix("refs/heads/")?.to_owned()));
            } else if let Some(object) = object {
                found.refs.push(RemoteRef { name, target: CommitSha::new(object) });
            }
        }
        Ok(found)
    }

    /// Downloads the commit with its tree, without its history, as a pack in the folder `pack`. Fails if an unpacked
    /// object is larger than `max_object_bytes`.
    pub(crate) fn fetch(
        &mut self,
        sha: CommitSha,
        pack: &Path,
        max_object_bytes: u64,
        interrupt: &AtomicBool,
    ) -> Result<(), RemoteError> {
        let client = Rc::clone(&self.client);
        let mut reader = self.request(sha, None)?;
        let alloc_limit_bytes = Some(usize::try_from(max_object_bytes).unwrap_or(usize::MAX));
        let options = Options { alloc_limit_bytes, ..Options::default() };
        let no_bases = None::<gix::OdbHandle>;
        let sha1 = gix::hash::Kind::Sha1;
        Bundle::write_to_directory(&mut reader, Some(pack), &mut Discard, interrupt, no_bases, sha1, options).map_err(
            |error| match failed(&client, error) {
                RemoteError::Protocol(cause) if gix::error::classify(cause.as_ref()).is_resource_exhausted() => {
                    RemoteError::TooLarge("bytes of files", max_object_bytes)
                }
                other => other,
            },
        )?;
        Ok(())
    }

    /// Returns the texts of a commit, if the remote has it. Requests the commit alone if the server supports filters, and reads
    /// the response only up to that commit.
    pub(crate) fn find_commit(&mut self, sha: CommitSha) -> Result<Option<CommitTexts>, RemoteError> {
        let client = Rc::clone(&self.client);
        let reader = match self.request(sha, Some("tree:0")) {
            Err(RemoteError::NoSuchCommit) => return Ok(None),
            reader => reader?,
        };
        let sha1 = gix::hash::Kind::Sha1;
        let entries = BytesToEntriesIter::new_from_header(reader, Mode::AsIs, EntryDataMode::Keep, sha1)
            .map_err(|error| failed(&client, error))?;
        for entry in entries.take(MAX_OBJECTS_BEFORE_COMMIT) {
            let entry = entry.map_err(|error| failed(&client, error))?;
            if entry.header != Header::Commit || entry.decompressed_size > MAX_COMMIT_BYTES {
                continue;
            }
            let mut object = vec![0; entry.decompressed_size as usize];
            gix::zlib::Inflate::default()
                .once(&entry.compressed.unwrap_or_default(), &mut object)
                .map_err(|error| failed(&client, error))?;
            let id = gix::objs::compute_hash(sha1, gix::objs::Kind::Commit, &object)
                .map_err(|error| failed(&client, error))?;
            return Ok((id == sha.id()).then(|| commit::texts(&object)));
        }
        Ok(None)
    }

    fn request<'a>(
        &'a mut self,
        sha: CommitSha,
        filter: Option<&str>,
    ) -> Result<Box<dyn ExtendedBufRead<'a> + Unpin + 'a>, RemoteError> {
        let mut features = Command::Fetch.default_features(Protocol::V2, &self.handshake.capabilities);
        features.push(agent());
        let mut arguments = Arguments::new(Protocol::V2, features, false);
        if !arguments.can_use_shallow() {
            return Err(RemoteError::Protocol("the server can't leave out history".into()));
        }
        arguments.want(sha.id());
        arguments.deepen(1);
        if let Some(filter) = filter.filter(|_| arguments.can_use_filter()) {
            arguments.filter(filter);
        }
        let mut reader = arguments
            .send(&mut self.transport, true)
            .map_err(|error| failed(&self.client, gix::Error::from_error(error)))?;
        let response = Response::from_line_reader(Protocol::V2, &mut reader, true, false)
            .map_err(|error| failed(&self.client, error))?;
        if !response.has_pack() {
            return Err(RemoteError::Protocol("the server sent no pack".into()));
        }
        // The handler makes gix remove the server's progress lines from the pack.
        reader.set_progress_handler(Some(Box::new(|_is_error, _text| ControlFlow::Continue(()))));
        Ok(reader)
    }
}

fn agent() -> gix::protocol::command::Feature {
    ("agent", Some(AGENT.to_owned()))
}

/// Returns the kind of a failure that gix reports: the HTTP client's failure, or else the server's message.
fn failed(client: &Client, error: gix::Error) -> RemoteError {
    if let Some(known) = client.take_failure() {
        return known;
    }
    // The words of git's upload-pack. Other servers use them too, because git's own client looks for them.
    let not_ours = error.iter_errors().any(|cause| cause.to_string().contains("not our ref"));
    if not_ours { RemoteError::NoSuchCommit } else { RemoteError::Protocol(error.into()) }
}
