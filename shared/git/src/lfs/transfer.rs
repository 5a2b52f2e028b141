//! The requests to a Git LFS server, and to where it keeps objects.

use std::fs::{File, FileTimes};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gix::bstr::ByteSlice;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use sha2::{Digest, Sha256};
use shared::hex::hex;
use shared::hosts::Hosts;
use ureq::{Agent, AsSendBody, Body};

use super::about;
use super::batch::{self, Download, allowed};
use super::pointer::Pointer;
use crate::checkout::{LfsFile, create_file};
use crate::clone_url::CloneUrl;
use crate::error::RemoteError;
use crate::file_time::FileTime;
use crate::http::origin;
use crate::retry::{Passing, Retries, retry};

/// The number of objects that are downloaded at once.
const THREADS: usize = 4;
const MAX_REDIRECTS: usize = 5;
/// The maximum size of an answer that says where objects are.
const MAX_BATCH_BYTES: u64 = 1024 * 1024;
const BUFFER: usize = 64 * 1024;

/// The HTTP side of one fetch from Git LFS.
pub(super) struct Transfer<'a> {
    pub(super) agent: Agent,
    pub(super) hosts: Hosts,
    pub(super) deadline: Instant,
    pub(super) interrupt: &'a AtomicBool,
}

/// The reason why an attempt failed.
enum Failure {
    /// Another attempt may succeed, after the time that the server asked to wait. The text is the rest of a sentence about the file or
    /// the server.
    Passing(String, Option<Duration>),
    Lasting(String),
    Other(RemoteError),
}

impl Transfer<'_> {
    /// Asks the server for the places of objects. Only it gets the authorization.
    pub(super) fn ask(
        &self,
        server: &CloneUrl,
        authorization: Option<HeaderValue>,
        pointers: &[&Pointer],
    ) -> Result<batch::Response, RemoteError> {
        let body = serde_json::to_vec(&batch::Request::new(pointers.iter().copied())).map_err(io::Error::from)?;
        let answer = retry(Retries::All, self.deadline, self.interrupt, || {
            let answer = self.post(format!("{server}/objects/batch"), authorization.as_ref(), &body)?;
            match answer.status() {
                StatusCode::OK => {
                    let body = answer.into_body().into_with_config().limit(MAX_BATCH_BYTES).read_to_vec();
                    body.map_err(|_| Failure::Passing("broke off".to_owned(), None))
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                    let why = match authorization {
                        None => "does not exist or is not public",
                        Some(_) => "does not exist, or the connection's credential may not read it",
                    };
                    Err(Failure::Lasting(why.to_owned()))
                }
                _ => Err(answered(&answer, "")),
            }
        });
        let server_failed = |why: &str| RemoteError::Lfs(format!("the server {why}"));
        let answer = answer.map_err(|failure| failure.into_error(server_failed))?;
        serde_json::from_slice(&answer).map_err(|_| server_failed("gave an answer that is not of the batch API"))
    }

    /// Sends a POST, and sends it again to where a 307 or 308 redirects it on the same origin. No other origin gets the body or the
    /// authorization.
    fn post(
        &self,
        mut uri: String,
        authorization: Option<&HeaderValue>,
        body: &[u8],
    ) -> Result<http::Response<Body>, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::post(&uri)
                .header(header::ACCEPT, batch::MEDIA_TYPE)
                .header(header::CONTENT_TYPE, batch::MEDIA_TYPE)
                .body(body)
                .map_err(|error| Failure::Lasting(error.to_string()))?;
            request.headers_mut().extend(authorization.cloned().map(|value| (header::AUTHORIZATION, value)));
            let from = request.uri().clone();
            let answer = self.send(request)?;
            if !matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(answer);
            }
            let target = redirected(&from, &answer, self.hosts).filter(|target| origin(target) == origin(&from));
            uri = target.ok_or(Failure::Lasting("redirects away from its host".to_owned()))?.to_string();
        }
        Err(Failure::Lasting("redirects too often".to_owned()))
    }

    /// Writes each object to its file, and compares it with its pointer. Of several objects that can't be downloaded, the error
    /// names the first.
    pub(super) fn download(
        &self,
        objects: &[(&LfsFile, Download)],
        root: &Path,
        time: FileTime,
    ) -> Result<(), RemoteError> {
        let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let worker = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((file, download)) = objects.get(at) else { return Ok(()) };
                if at > failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                self.write(file, download, root, time).map_err(|error| {
                    failed.fetch_min(at, Ordering::Relaxed);
                    (at, error)
                })?;
            }
        };
        let failures = thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS.min(objects.len())).map(|_| scope.spawn(worker)).collect();
            let broken = |_| Err((0, RemoteError::Lfs("a download broke off".to_owned())));
            let results = workers.into_iter().map(|worker| worker.join().unwrap_or_else(broken));
            results.filter_map(Result::err).collect::<Vec<_>>()
        });
        failures.into_iter().min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Writes an object to its file.
    fn write(&self, file: &LfsFile, download: &Download, root: &Path, time: FileTime) -> Result<(), RemoteError> {
        let mut content = create_file(root, file.path.as_bstr(), file.is_executable)?;
        let receive = || self.receive(file, download, &mut content);
        let received = retry(Retries::All, self.deadline, self.interrupt, receive);
        received.map_err(|failure| failure.into_error(|why| about(file, why)))?;
        Ok(content.set_times(FileTimes::new().set_modified(time.into()))?)
    }

    fn receive(&self, file: &LfsFile, download: &Download, to: &mut File) -> Result<(), Failure> {
        let body = self.get(download)?.into_body().into_reader();
        to.rewind().and_then(|()| to.set_len(0)).map_err(Failure::disk)?;
        let pointer = &file.pointer;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
        // One byte more than there may be tells that there are too many.
        let mut body = body.take(pointer.size + 1);
        loop {
            let count = body
                .read(&mut buffer)
                .map_err(|_| Failure::Passing("can't be downloaded: the connection broke off".to_owned(), None))?;
            if count == 0 {
                break;
            }
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Failure::Other(RemoteError::TimedOut));
            }
            size += count as u64;
            hash.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(Failure::disk)?;
        }
        match size == pointer.size && hex(&hash.finalize()) == pointer.oid {
            true => Ok(()),
            false => Err(Failure::Lasting("differs on the server from its pointer".to_owned())),
        }
    }

    /// Requests an object, and follows redirects to allowed addresses.
    fn get(&self, download: &Download) -> Result<http::Response<Body>, Failure> {
        let (mut uri, mut headers) = (download.uri.clone(), download.headers.clone());
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::get(&uri).body(()).map_err(|error| Failure::Lasting(error.to_string()))?;
            request.headers_mut().clone_from(&headers);
            let answer = self.send(request)?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            if !answer.status().is_redirection() {
                return Err(answered(&answer, "can't be downloaded: its server "));
            }
            let target = redirected(&uri, &answer, self.hosts);
            let target = target.ok_or(Failure::Lasting("is redirected to a place that is not allowed".to_owned()))?;
            // The headers are for the place that they came with.
            if (target.scheme(), target.authority()) != (uri.scheme(), uri.authority()) {
                headers = HeaderMap::new();
            }
            uri = target;
        }
        Err(Failure::Lasting("is redirected too often".to_owned()))
    }

    fn send(&self, request: Request<impl AsSendBody>) -> Result<http::Response<Body>, Failure> {
        let time_left = self.time_left();
        if time_left.is_zero() {
            return Err(Failure::Other(RemoteError::TimedOut));
        }
        let request = self.agent.configure_request(request).timeout_global(Some(time_left)).build();
        self.agent.run(request).map_err(|error| match error {
            ureq::Error::Timeout(_) => Failure::Other(RemoteError::TimedOut),
            ureq::Error::Other(cause) if cause.is::<fetch::Forbidden>() => {
                Failure::Lasting("is on a host that does not have a public address".to_owned())
            }
            ureq::Error::HostNotFound => Failure::Lasting("is on a host that does not exist".to_owned()),
            _ => Failure::Passing("was not reached".to_owned(), None),
        })
    }

    fn time_left(&self) -> Duration {
        match self.interrupt.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => self.deadline.saturating_duration_since(Instant::now()),
        }
    }
}

impl Passing for Failure {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Passing(..))
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Other(error) if error.is_silence())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Passing(_, retry_after) => *retry_after,
            Self::Lasting(_) | Self::Other(_) => None,
        }
    }
}

impl Failure {
    fn disk(error: io::Error) -> Self {
        Self::Other(error.into())
    }

    fn into_error(self, about: impl FnOnce(&str) -> RemoteError) -> RemoteError {
        match self {
            Self::Passing(why, _) | Self::Lasting(why) => about(&why),
            Self::Other(error) => error,
        }
    }
}

fn answered(answer: &http::Response<Body>, beginning: &str) -> Failure {
    let status = answer.status();
    let why = format!("{beginning}answered {status}");
    match status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        true => Failure::Passing(why, fetch::retry_after(answer.headers())),
        false => Failure::Lasting(why),
    }
}

/// Returns where an answer redirects to, if that is allowed. No redirect leads from https to http.
fn redirected(from: &Uri, answer: &http::Response<Body>, hosts: Hosts) -> Option<Uri> {
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let location = match location.starts_with('/') && !location.starts_with("//") {
        true => format!("{}://{}{location}", from.scheme_str()?, from.authority()?),
        false => location.to_owned(),
    };
    allowed(&location, hosts).filter(|target| target.scheme_str() == Some("https") || from.scheme_str() == Some("http"))
}
