//! The working folder of one run.

use std::path::PathBuf;

use shared::App;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::beneath::Folder;
use crate::retry::Retry;

/// The working folder of one run, with the source, the scratch folder of the commands, and a place for the source's zip.
pub(crate) struct Workspace {
    pub(crate) source: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) zip: PathBuf,
    /// Deletes the folder when it is dropped, as far as that is possible without looking out for what a build may have made of it.
    folder: TempDir,
    held: Folder,
}

impl Workspace {
    pub(crate) fn new() -> Result<Self, Retry> {
        let failed = |error: std::io::Error| Retry::Infrastructure("the workspace can't be created", error.into());
        let folder = tempfile::tempdir().map_err(failed)?;
        let inside = |name: &str| folder.path().join(name);
        let (source, scratch, zip) = (inside("source"), inside("scratch"), inside("source.zip"));
        std::fs::create_dir(&scratch).map_err(failed)?;
        let held = Folder::open(folder.path()).map_err(failed)?;
        Ok(Self { source, scratch, zip, folder, held })
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Deletes the folder with all that a build has left in it. What is left would take the disk space of later runs.
    pub(crate) async fn delete(self, app: &App) {
        let Self { held, folder, .. } = self;
        let deleted = spawn_blocking(move || held.clear().and_then(|()| folder.close())).await;
        if let Err(error) = deleted.map_err(std::io::Error::other).and_then(|deleted| deleted) {
            app.log().warn("the folder of a run could not be deleted", &error);
        }
    }
}
