//! The fetch of a commit's source: its files with those of its submodules and of Git LFS, and its `.git`.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Component, Path};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::tree::EntryKind;
use gix::{ObjectId, Repository};

use crate::allowance::Allowance;
use crate::checkout::{self, Gitlink, Plan, corrupt, inside};
use crate::clone_url::Location;
use crate::dot_git::{self, DotGit};
use crate::error::RemoteError;
use crate::file_time::FileTime;
use crate::lfs::{self, Lfs};
use crate::limits::{FetchLimits, MAX_SUBMODULE_DEPTH};
use crate::objects::Objects;
use crate::refs::{BRANCHES, Resolved, TAGS};
use crate::remote::Remote;
use crate::submodules::{self, Modules, Submodule};
use crate::{local, objects};

/// The maximum length of a submodule's place in `.git`, and of one name in it, with what git adds.
const MAX_GIT_DIR: usize = 2048;
const MAX_NAME: usize = 250;

/// A fetched commit.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// Sentences about submodules, and about files that differ from what the repository asks for.
    pub notes: Vec<String>,
}

/// A fetch of one commit with its submodules into a folder.
pub(crate) struct Source<'a> {
    root: &'a Path,
    deadline: Instant,
    interrupt: &'a AtomicBool,
    allowance: Allowance,
    notes: Vec<String>,
}

/// The place of one repository of a fetch, by paths from the root.
struct Place {
    /// The path of the checkout: empty, or a submodule's.
    checkout: BString,
    git_dir: BString,
    /// The number of repositories that this one is a submodule of.
    depth: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(root: &'a Path, limits: FetchLimits, deadline: Instant, interrupt: &'a AtomicBool) -> Self {
        Self { root, deadline, interrupt, allowance: Allowance::new(limits), notes: Vec::new() }
    }

    /// Fetches the commit into the folder, which is created, and must be empty if it exists.
    pub(crate) fn fetch(mut self, remote: &Remote, commit: &Resolved) -> Result<Fetched, RemoteError> {
        fs::create_dir_all(self.root)?;
        if fs::read_dir(self.root)?.next().is_some() {
            return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty).into());
        }
        let place = Place { checkout: BString::default(), git_dir: ".git".into(), depth: 0 };
        self.repository(remote, commit, &place)?;
        Ok(Fetched { notes: self.notes })
    }

    fn repository(&mut self, remote: &Remote, wanted: &Resolved, place: &Place) -> Result<(), RemoteError> {
        let name = wanted.name.as_deref();
        let git_dir = inside(self.root, place.git_dir.as_bstr());
        let worktree = (place.depth > 0).then(|| place.checkout_from_git_dir());
        let mut dot_git =
            DotGit::create(&git_dir, worktree.as_ref().map(|path| path.as_bstr()), &remote.url().to_string())?;
        let id = wanted.sha.id();
        let tag = name.filter(|name| name.starts_with(TAGS));
        let (repository, plan, objects) = match remote.url().location() {
            Location::Http(_) => {
                let objects = self.download(remote, id, tag, &dot_git)?;
                let repository = checkout::open(&git_dir)?;
                let plan = checkout::plan(&repository, tree_of(&repository, id)?, &mut self.allowance)?;
                (repository, plan, objects)
            }
            Location::Path(path) => {
                // The objects are read from the other repository until those that are needed are packed.
                let alternates = local::share_objects(path, &dot_git.objects())?;
                let repository = checkout::open(&git_dir)?;
                let plan = checkout::plan(&repository, tree_of(&repository, id)?, &mut self.allowance)?;
                let tags = local::tags(path, tag, self.allowance.limits.depth)?;
                let packs = dot_git.packs();
                let objects = local::pack(&repository, id, tags, &packs, &mut self.allowance, self.interrupt)?;
                fs::remove_file(alternates)?;
                (repository, plan, objects)
            }
        };
        self.add_refs(&repository, &mut dot_git, wanted, objects)?;
        self.check_out(remote, &repository, &plan, id, place)?;
        if let Some(first) = plan.submodules.first() {
            let content = read(&repository, tree_of(&repository, id)?, ".gitmodules", submodules::MAX_BYTES)?;
            let malformed = || {
                let path = place.at(first.path.as_bstr()).to_string();
                RemoteError::Submodule(path, ".gitmodules can't be read".to_owned(), None)
            };
            let modules = content.map(|content| Modules::parse(&content).ok_or_else(malformed)).transpose()?;
            for link in &plan.submodules {
                self.submodule(remote, modules.as_ref(), link, place, &mut dot_git)?;
            }
        }
        let branch = name.filter(|name| name.starts_with(BRANCHES));
        Ok(dot_git.finish(id, branch)?)
    }

    fn download(
        &mut self,
        remote: &Remote,
        commit: ObjectId,
        tag: Option<&str>,
        dot_git: &DotGit,
    ) -> Result<Objects, RemoteError> {
        let objects =
            objects::download(remote, commit, tag, &self.allowance, self.deadline, &dot_git.packs(), self.interrupt)?;
        for file in fs::read_dir(dot_git.packs())? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "pack") {
                self.allowance.take_pack(file.metadata()?.len())?;
            }
        }
        Ok(objects)
    }

    /// Adds the ref that was asked for, and the tags of the history.
    fn add_refs(
        &self,
        repository: &Repository,
        dot_git: &mut DotGit,
        wanted: &Resolved,
        objects: Objects,
    ) -> Result<(), RemoteError> {
        let commit = wanted.sha.id();
        dot_git.write_shallow(objects.shallow)?;
        let mut is_added = false;
        for tag in objects.tags {
            let is_wanted = wanted.name.as_ref() == Some(&tag.name);
            let target = tag.peeled.unwrap_or(tag.id);
            // A tag may have been moved since it was resolved.
            if (!is_wanted || target == commit) && repository.has_object(tag.id) && repository.has_object(target) {
                dot_git.add_ref(&tag.name, tag.id, tag.peeled);
                is_added |= is_wanted;
            }
        }
        if let Some(name) = wanted.name.as_ref().filter(|name| name.starts_with("refs/") && !is_added) {
            dot_git.add_ref(name, commit, None);
        }
        Ok(())
    }

    /// Writes the files and the index.
    fn check_out(
        &mut self,
        remote: &Remote,
        repository: &Repository,
        plan: &Plan,
        commit: ObjectId,
        place: &Place,
    ) -> Result<(), RemoteError> {
        let tree = tree_of(repository, commit)?;
        let root = inside(self.root, place.checkout.as_bstr());
        // Git takes a time that it can't read for 1970.
        let committed = repository.find_commit(commit).map_err(corrupt)?.time().map_or(0, |time| time.seconds);
        let time = FileTime::from_seconds(committed);
        let mut index = repository.index_from_tree(&tree).map_err(|error| RemoteError::Protocol(error.into()))?;
        checkout::create_folders(&root, &plan.folders)?;
        let written = checkout::write(repository, &index, &root, time, self.interrupt)?;
        let config = read(repository, tree, ".lfsconfig", lfs::MAX_CONFIG_BYTES)?;
        let config = config.as_deref();
        let (deadline, interrupt) = (self.deadline, self.interrupt);
        Lfs { remote, config, root: &root, time, deadline, interrupt }.fetch(&written.lfs, &mut self.allowance)?;
        let by_lfs = written.lfs.iter().map(|file| (file.position, file.pointer.size));
        for (position, size) in written.sizes.into_iter().chain(by_lfs) {
            dot_git::stat(&mut index.entries_mut()[position], size, time);
        }
        index.write(gix::index::write::Options::default()).map_err(checkout::local)?;
        // Git reads a file again that is not older than the index, and takes one in Git LFS for changed.
        let file = File::options().write(true).open(index.path())?;
        file.set_times(FileTimes::new().set_modified(time.next().into()))?;
        self.notes.extend(written.notes);
        Ok(())
    }

    fn submodule(
        &mut self,
        parent: &Remote,
        modules: Option<&Modules>,
        link: &Gitlink,
        place: &Place,
        dot_git: &mut DotGit,
    ) -> Result<(), RemoteError> {
        let path = place.at(link.path.as_bstr());
        let failed = |why: String| RemoteError::Submodule(path.to_str_lossy().into_owned(), why, None);
        let described = modules.map(|modules| modules.at(link.path.as_bstr())).transpose().map_err(failed)?.flatten();
        let Some(Submodule { name, url, is_left_out }) = described else {
            self.notes
                .push(format!("{path} is a submodule that .gitmodules does not describe, so its folder is empty"));
            return Ok(());
        };
        if is_left_out {
            self.notes.push(format!("Submodule {path} says `update = none`, so its folder is empty"));
            return Ok(());
        }
        self.allowance.take_submodule()?;
        if place.depth == MAX_SUBMODULE_DEPTH {
            return Err(failed(format!("submodules may be nested {MAX_SUBMODULE_DEPTH} deep")));
        }
        let url = submodules::resolve(parent.url(), &url).map_err(failed)?;
        let git_dir = place.git_dir_of(self.root, name.as_bstr()).map_err(failed)?;
        let place = Place { checkout: path.clone(), git_dir, depth: place.depth + 1 };
        let remote = parent.elsewhere(url);
        let commit = Resolved { name: None, sha: crate::CommitSha::new(link.commit) };
        self.notes.push(format!("Submodule {path} is at {} of {}", commit.sha, remote.url()));
        self.repository(&remote, &commit, &place).map_err(|error| error.of_submodule(&path))?;
        dot_git.add_submodule(name.as_bstr(), &remote.url().to_string());
        let link = [b"gitdir: ", place.git_dir_from_checkout().as_slice(), b"\n"].concat();
        fs::write(inside(self.root, place.at(".git".into()).as_bstr()), link)?;
        Ok(())
    }
}

impl Place {
    /// Returns a path of the checkout, from the root.
    fn at(&self, path: &BStr) -> BString {
        match self.checkout.is_empty() {
            true => path.to_owned(),
            false => [self.checkout.as_slice(), b"/", path].concat().into(),
        }
    }

    /// Returns the place of a submodule's `.git`, which is git's own. Fails if the name leaves its folder, or if another
    /// submodule's has the place.
    fn git_dir_of(&self, root: &Path, name: &BStr) -> Result<BString, String> {
        let unusable = || "its name in .gitmodules is not valid".to_owned();
        let relative = name.to_path().map_err(|_| unusable())?;
        if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(unusable());
        }
        let git_dir: BString = [self.git_dir.as_slice(), b"/modules/", name].concat().into();
        if git_dir.len() > MAX_GIT_DIR || name.split_str("/").any(|name| name.len() > MAX_NAME) {
            return Err("its name in .gitmodules is too long".to_owned());
        }
        let modules = inside(root, self.git_dir.as_bstr()).join("modules");
        let is_inside_another = relative.ancestors().skip(1).any(|above| modules.join(above).join("HEAD").exists());
        if is_inside_another || modules.join(relative).exists() {
            return Err("its name in .gitmodules collides with another's".to_owned());
        }
        Ok(git_dir)
    }

    fn checkout_from_git_dir(&self) -> BString {
        from(self.git_dir.as_bstr(), self.checkout.as_bstr())
    }

    fn git_dir_from_checkout(&self) -> BString {
        from(self.checkout.as_bstr(), self.git_dir.as_bstr())
    }
}

/// Returns the relative path between two folders whose paths differ from their first names on.
pub(crate) fn from(folder: &BStr, to: &BStr) -> BString {
    let mut path: BString = "../".repeat(folder.split_str("/").count()).into();
    path.extend_from_slice(to);
    path
}

fn tree_of(repository: &Repository, commit: ObjectId) -> Result<ObjectId, RemoteError> {
    let object = repository.find_object(commit).map_err(|_| RemoteError::NoSuchCommit)?;
    let commit = object.try_into_commit().map_err(|_| RemoteError::NoSuchCommit)?;
    Ok(commit.tree_id().map_err(corrupt)?.detach())
}

/// Reads a file in the top folder of a tree, if it is a regular file.
fn read(repository: &Repository, tree: ObjectId, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, RemoteError> {
    let tree = repository.find_tree(tree).map_err(corrupt)?;
    let entry = tree.iter().filter_map(Result::ok).find(|entry| entry.filename() == name);
    let is_file = |kind| matches!(kind, EntryKind::Blob | EntryKind::BlobExecutable);
    let Some(entry) = entry.filter(|entry| is_file(entry.mode().kind())) else { return Ok(None) };
    if repository.find_header(entry.object_id()).map_err(corrupt)?.size() > max_bytes {
        return Err(RemoteError::TooLarge(
            if name == ".gitmodules" { "bytes of .gitmodules" } else { "bytes of .lfsconfig" },
            max_bytes,
        ));
    }
    Ok(Some(repository.find_object(entry.object_id()).map_err(corrupt)?.data.clone()))
}
