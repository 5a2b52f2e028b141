//! A client of a remote's `git-upload-pack`, over smart HTTP in protocol version 2
//! (<https://git-scm.com/docs/protocol-v2>), or in version 0 or 1 if the server speaks no other.

mod greeting;

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::bstr::BString;
use gix::odb::pack::Bundle;
use gix::odb::pack::bundle::write::Options;
use gix::odb::pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use gix::progress::Discard;
use gix::protocol::fetch::response::ShallowUpdate;
use gix::protocol::fetch::{Arguments, Response};
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::{Command, LsRefsCommand};
use gix_transport::client::Capabilities;
use gix_transport::client::blocking_io::http::Transport;
use gix_transport::client::blocking_io::{ExtendedBufRead, SetServiceResponse, Transport as _};
use gix_transport::{Protocol, Service};
use http::Uri;
use shared::hosts::Hosts;
use shared::model::CommitTexts;

use crate::commit::Peeling;
use crate::credential::Credential;
use crate::error::RemoteError;
use crate::http::{Budget, Client, Connection, is_cut};
use crate::refs::{BRANCHES, HEAD, RemoteRef, RemoteRefs};
use crate::revision::CommitSha;

const AGENT: &str = concat!("git/dotgit-", env!("CARGO_PKG_VERSION"));

/// The filter that leaves out trees and files.
const COMMITS_ONLY: &str = "tree:0";

/// The number of objects of a pack without history among which the commit and its tags are. They come before trees and files.
const MAX_OBJECTS_WITH_COMMIT: usize = 16;

/// A connected remote, whose capabilities are known.
pub(crate) struct UploadPack {
    client: Rc<Client>,
    transport: Transport<Connection>,
    capabilities: Capabilities,
    /// All refs, if the server speaks a version of the protocol that lists them at once.
    greeted: Option<RemoteRefs>,
}

impl UploadPack {
    pub(crate) fn connect(
        uri: &Uri,
        hosts: Hosts,
        credential: Option<Credential>,
        answered: Arc<AtomicBool>,
        budget: Budget,
    ) -> Result<Self, RemoteError> {
        let client = Rc::new(Client::new(hosts, credential, answered, budget));
        let url = gix::Url::try_from(uri.to_string()).map_err(|error| RemoteError::Protocol(error.into()))?;
        let mut transport = Transport::new_http(Connection::new(Rc::clone(&client)), url, Protocol::V2, false);
        let SetServiceResponse { capabilities, refs, .. } =
            transport.handshake(Service::UploadPack, &[]).map_err(|error| failed(&client, error.into()))?;
        greeting::check_object_format(&capabilities)?;
        let greeted = refs.map(|mut lines| greeting::read_refs(&capabilities, &mut *lines)).transpose();
        let greeted = greeted.map_err(|error| failed(&client, error))?;
        Ok(UploadPack { client, transport, capabilities, greeted })
    }

    /// Lists HEAD and the refs whose full names start with one of these.
    pub(crate) fn list_refs(&mut self, prefixes: &[String]) -> Result<RemoteRefs, RemoteError> {
        let found = match &self.greeted {
            Some(refs) => refs.clone(),
            None => self.request_refs(prefixes)?,
        };
        Ok(found.narrow(prefixes))
    }

    fn request_refs(&mut self, prefixes: &[String]) -> Result<RemoteRefs, RemoteError> {
        let mut asked = RefPrefixes::new();
        asked.extend([HEAD].into_iter().chain(prefixes.iter().map(String::as_str)).map(BString::from));
        let listed = LsRefsCommand::new(Some(asked), &self.capabilities, agent())
            .invoke_blocking(&mut self.transport, &mut Discard, false)
            .map_err(|error| failed(&self.client, error))?;
        let mut found = RemoteRefs::default();
        for listed in listed {
            let (name, object, tag, points_to) = match listed {
                Ref::Direct { full_ref_name, object } => (full_ref_name, Some(object), None, None),
                Ref::Peeled { full_ref_name, object, tag } => (full_ref_name, Some(object), Some(tag), None),
                Ref::Symbolic { full_ref_name, target, object, tag } => {
                    (full_ref_name, Some(object), tag, Some(target))
                }
                Ref::Unborn { full_ref_name, target } => (full_ref_name, None, None, Some(target)),
            };
            // Git allows any bytes in a name. A name that is not UTF-8 can't be requested in JSON.
            let Ok(name) = String::from_utf8(name.into()) else { continue };
            let target = object.map(CommitSha::new);
            if name == HEAD {
                let branch = points_to.and_then(|target| String::from_utf8(target.into()).ok());
                found.default_branch = branch.and_then(|name| Some(name.strip_prefix(BRANCHES)?.to_owned()));
                found.head = target;
            } else if let Some(target) = target {
                found.refs.push(RemoteRef { name, target, tag: tag.map(CommitSha::new) });
            }
        }
        Ok(found)
    }

    /// Downloads objects with what they need, and history up to `depth` commits, as a pack in the folder `pack`. Fails if an
    /// unpacked object is larger than `max_object_bytes`. Returns the commits whose parents are left out.
    pub(crate) fn fetch(
        &mut self,
        wanted: &[ObjectId],
        depth: u32,
        pack: &Path,
        max_object_bytes: u64,
        interrupt: &AtomicBool,
    ) -> Result<Vec<ObjectId>, RemoteError> {
        let client = Rc::clone(&self.client);
        let (mut reader, shallow) = self.request(wanted, &[], depth, None)?;
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
        Ok(shallow)
    }

    /// Returns a commit's SHA and texts, if the remote has it. The SHA of an annotated tag is peeled. Requests the commit alone
    /// if the server supports filters, and reads the response only up to that commit.
    pub(crate) fn find_commit(&mut self, sha: CommitSha) -> Result<Option<(CommitSha, CommitTexts)>, RemoteError> {
        let client = Rc::clone(&self.client);
        let reader = match self.request(&[sha.id()], &[], 1, Some(COMMITS_ONLY)) {
            Err(RemoteError::NoSuchCommit) => return Ok(None),
            response => response?.0,
        };
        let sha1 = gix::hash::Kind::Sha1;
        let entries = BytesToEntriesIter::new_from_header(reader, Mode::AsIs, EntryDataMode::Keep, sha1)
            .map_err(|error| failed(&client, error))?;
        let mut peeling = Peeling::of(sha);
        for entry in entries.take(MAX_OBJECTS_WITH_COMMIT) {
            let entry = entry.map_err(|error| failed(&client, error))?;
            peeling.add(&entry).map_err(|error| failed(&client, error))?;
            if let Some(found) = peeling.take_commit() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns whether the server has no object to send for a commit to a client that has these commits with their histories. Reads
    /// only the header of the pack, which has the number of its objects.
    pub(crate) fn has_nothing_for(&mut self, had: &[CommitSha], sha: CommitSha) -> Result<bool, RemoteError> {
        let client = Rc::clone(&self.client);
        let (mut reader, _) = self.request(&[sha.id()], had, 1, Some(COMMITS_ONLY))?;
        let mut header = [0; 12];
        reader.read_exact(&mut header).map_err(|error| failed(&client, gix::Error::from_error(error)))?;
        let (_, objects) = gix_pack::data::header::decode(&header).map_err(|error| failed(&client, error))?;
        client.skip_rest(true);
        Ok(objects == 0)
    }

    fn request<'a>(
        &'a mut self,
        wanted: &[ObjectId],
        had: &[CommitSha],
        depth: u32,
        filter: Option<&str>,
    ) -> Result<(Box<dyn ExtendedBufRead<'a> + Unpin + 'a>, Vec<ObjectId>), RemoteError> {
        let version = self.version();
        let mut arguments = Arguments::new(version, self.features(), false);
        if !arguments.can_use_shallow() {
            return Err(RemoteError::Protocol("the server can't leave out history".into()));
        }
        wanted.iter().for_each(|id| arguments.want(id));
        had.iter().for_each(|commit| arguments.have(commit.id()));
        // Without a depth, the server sends all history.
        if depth > 0 {
            arguments.deepen(depth as usize);
        }
        if depth != 1 && arguments.can_use_include_tag() {
            arguments.use_include_tag();
        }
        if let Some(filter) = filter.filter(|_| arguments.can_use_filter()) {
            arguments.filter(filter);
        }
        let mut reader =
            arguments.send(&mut self.transport, true).map_err(|error| failed(&self.client, error.into()))?;
        let response = Response::from_line_reader(version, &mut reader, true, false)
            .map_err(|error| failed(&self.client, error))?;
        if !response.has_pack() {
            return Err(RemoteError::Protocol("the server sent no pack".into()));
        }
        // The handler makes gix remove the server's progress lines from the pack. An error of the server ends the pack.
        let client = Rc::clone(&self.client);
        reader.set_progress_handler(Some(Box::new(move |is_error, text| {
            if !is_error {
                return ControlFlow::Continue(());
            }
            client.record(client.refused(text));
            ControlFlow::Break(())
        })));
        let shallow = response.shallow_updates().iter().filter_map(|update| match update {
            ShallowUpdate::Shallow(id) => Some(*id),
            ShallowUpdate::Unshallow(_) => None,
        });
        Ok((reader, shallow.collect()))
    }

    fn version(&self) -> Protocol {
        if self.greeted.is_some() { Protocol::V1 } else { Protocol::V2 }
    }

    /// Returns the capabilities of the server that a fetch makes use of.
    fn features(&self) -> Vec<gix::protocol::command::Feature> {
        let mut features = Command::Fetch.default_features(self.version(), &self.capabilities);
        // With it, gix does not find the response's sections.
        features.retain(|(name, _)| *name != "sideband-all");
        if self.version() == Protocol::V2 || self.capabilities.contains("agent") {
            features.push(agent());
        }
        features
    }
}

fn agent() -> gix::protocol::command::Feature {
    ("agent", Some(AGENT.to_owned()))
}

/// Returns the kind of a failure that gix reports: the HTTP client's failure, or else one of gix itself.
fn failed(client: &Client, error: gix::Error) -> RemoteError {
    if let Some(known) = client.take_failure() {
        return known;
    }
    if error.iter_errors().any(|cause| cause.downcast_ref().is_some_and(is_cut)) {
        return RemoteError::Cut(error.into());
    }
    RemoteError::Protocol(error.into())
}
