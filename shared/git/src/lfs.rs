//! Files that Git LFS keeps outside of the repository.

mod batch;
mod pointer;
mod transfer;

use std::collections::HashMap;
use std::fs::{self, FileTimes};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gix::bstr::ByteSlice;
use http::Uri;
use sha2::{Digest, Sha256};
use shared::hex::hex;

use crate::allowance::Allowance;
use crate::checkout::{LfsFile, create_file, inside};
use crate::clone_url::{CloneUrl, Location};
use crate::error::RemoteError;
use crate::file_time::FileTime;
use crate::http::USER_AGENT;
use crate::local;
use crate::remote::Remote;

use batch::MAX_OBJECTS;
pub(crate) use pointer::Pointer;
use transfer::Transfer;

/// The maximum size of a `.lfsconfig` file.
pub(crate) const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// The files of one repository that Git LFS keeps, and where they go.
pub(crate) struct Lfs<'a> {
    pub(crate) remote: &'a Remote,
    /// The content of the commit's `.lfsconfig`.
    pub(crate) config: Option<&'a [u8]>,
    pub(crate) root: &'a Path,
    pub(crate) time: FileTime,
    pub(crate) deadline: Instant,
    pub(crate) interrupt: &'a AtomicBool,
}

impl Lfs<'_> {
    /// Writes the content of the files into the checkout.
    pub(crate) fn fetch(&self, files: &[LfsFile], allowance: &mut Allowance) -> Result<(), RemoteError> {
        if files.is_empty() {
            return Ok(());
        }
        let mut copies: HashMap<&str, Vec<&LfsFile>> = HashMap::new();
        for file in files {
            allowance.take_content(file.pointer.size)?;
            copies.entry(&file.pointer.oid).or_default().push(file);
        }
        allowance.take_lfs_objects(copies.len())?;
        let mut copies: Vec<Vec<&LfsFile>> = copies.into_values().collect();
        copies.sort_by_key(|copies| copies[0].position);
        let firsts: Vec<&LfsFile> = copies.iter().map(|copies| copies[0]).collect();
        let url = self.url()?;
        match url.location() {
            Location::Path(repository) => self.copy(&firsts, repository)?,
            Location::Http(_) => firsts.chunks(MAX_OBJECTS).try_for_each(|files| self.download(&url, files))?,
        }
        for copies in copies {
            for copy in &copies[1..] {
                let mut from = fs::File::open(inside(self.root, copies[0].path.as_bstr()))?;
                self.write(copy, &mut from)?;
            }
        }
        Ok(())
    }

    /// Returns the URL of the server, or of the repository on this machine.
    fn url(&self) -> Result<CloneUrl, RemoteError> {
        let config = self.config.and_then(|content| gix::config::File::try_from(content.as_bstr()).ok());
        let configured =
            config.and_then(|config| config.string("lfs.url").or_else(|| config.string("remote.origin.lfsurl")));
        let own = self.remote.url();
        match (configured, own.location()) {
            (Some(url), Location::Http(_)) => {
                let invalid = |why: String| RemoteError::Lfs(format!("the URL in .lfsconfig {why}"));
                let url =
                    CloneUrl::parse(&url.to_str_lossy(), own.hosts()).map_err(|error| invalid(error.to_string()))?;
                match url.location() {
                    Location::Http(_) => Ok(url),
                    Location::Path(_) => Err(invalid("must be an https:// URL".to_owned())),
                }
            }
            (None, Location::Http(uri)) => {
                let suffix = if uri.path().ends_with(".git") { "/info/lfs" } else { ".git/info/lfs" };
                CloneUrl::parse(&format!("{uri}{suffix}"), own.hosts())
                    .map_err(|error| RemoteError::Lfs(format!("the server's URL {error}")))
            }
            (_, Location::Path(_)) => Ok(own.clone()),
        }
    }

    /// Copies objects from a repository on this machine.
    fn copy(&self, files: &[&LfsFile], repository: &Path) -> Result<(), RemoteError> {
        let store = local::open(repository)?.common_dir().join("lfs/objects");
        for file in files {
            let oid = &file.pointer.oid;
            let object = fs::read(store.join(&oid[..2]).join(&oid[2..4]).join(oid))
                .map_err(|_| about(file, "is not among the repository's Git LFS objects"))?;
            if hex(&Sha256::digest(&object)) != *oid || object.len() as u64 != file.pointer.size {
                return Err(about(file, "differs from its pointer"));
            }
            self.write(file, &mut object.as_slice())?;
        }
        Ok(())
    }

    fn write(&self, file: &LfsFile, content: &mut impl io::Read) -> Result<(), RemoteError> {
        let mut to = create_file(self.root, file.path.as_bstr(), file.is_executable)?;
        io::copy(content, &mut to)?;
        Ok(to.set_times(FileTimes::new().set_modified(self.time.into()))?)
    }

    fn download(&self, server: &CloneUrl, files: &[&LfsFile]) -> Result<(), RemoteError> {
        let transfer = Transfer {
            agent: fetch::agent(server.hosts(), USER_AGENT),
            hosts: server.hosts(),
            deadline: self.deadline,
            interrupt: self.interrupt,
        };
        let pointers: Vec<&Pointer> = files.iter().map(|file| &file.pointer).collect();
        let authorization = match server.location() {
            Location::Http(uri) => self.remote.authorization(uri),
            Location::Path(_) => None,
        };
        let mut response = transfer.ask(server, authorization, &pointers)?;
        let mut downloads = Vec::with_capacity(files.len());
        for file in files {
            let authorization = |uri: &Uri| self.remote.authorization(uri);
            let download = response.take(&file.pointer, server.hosts(), authorization);
            let download = download.map_err(|why| about(file, &why))?;
            downloads.push((*file, download));
        }
        transfer.download(&downloads, self.root, self.time)
    }
}

/// Returns the failure of a file: `why` is the rest of a sentence that begins with its path.
fn about(file: &LfsFile, why: &str) -> RemoteError {
    RemoteError::Lfs(format!("{} {why}", file.path.to_str_lossy()))
}
