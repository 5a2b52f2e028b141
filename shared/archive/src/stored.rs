//! The files that a build by CodeBuild has stored by itself.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::artifact::{Artifact, FOLDER};
use crate::store::{Archive, Result, key};

/// The folder of test reports, beside that of the artifacts.
pub const REPORTS: &str = "reports";

impl Archive {
    /// Counts the artifacts of `prefix` and adds up their sizes, until `is_enough`. Uses bounded memory.
    pub async fn measure_artifacts(
        &self,
        prefix: &str,
        is_enough: impl Fn(usize, u64) -> bool,
    ) -> Result<(usize, u64)> {
        let mut found = self.store.list(Some(&key(prefix, FOLDER)?));
        let (mut files, mut bytes) = (0, 0_u64);
        while let Some(object) = found.try_next().await? {
            files += 1;
            bytes = bytes.saturating_add(object.size);
            if is_enough(files, bytes) {
                break;
            }
        }
        Ok((files, bytes))
    }

    /// Lists test reports of `prefix`, at most so many, sorted by path.
    pub async fn list_reports(&self, prefix: &str, most: usize) -> Result<Vec<Artifact>> {
        let folder = key(prefix, REPORTS)?;
        let found = self.store.list(Some(&folder)).take(most);
        let mut reports: Vec<_> = found.map_ok(|object| Artifact::new(&folder, object)).try_collect().await?;
        reports.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(reports)
    }

    /// Reads a file that is not larger than when it was listed. Returns `None` if it is gone.
    pub async fn read_whole(&self, artifact: &Artifact) -> Result<Option<Bytes>> {
        if artifact.size == 0 {
            return Ok(Some(Bytes::new()));
        }
        match self.store.get_range(&artifact.key, 0..artifact.size).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            read => Ok(Some(read?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_build_has_stored_is_measured_and_listed_within_bounds() {
        let archive = Archive::in_memory();
        for (name, size) in [("a", 3), ("b/c", 4), ("d", 5)] {
            archive.put_artifact("d1", name, &mut &vec![7; size][..]).await.unwrap();
            let place = key("d1", &format!("{REPORTS}/{name}")).unwrap();
            archive.put(place, &mut &vec![7; size][..]).await.unwrap();
        }
        archive.put_artifact("d10", "other", &mut &b"x"[..]).await.unwrap();
        assert_eq!(archive.measure_artifacts("d1", |_, _| false).await.unwrap(), (3, 12));
        assert_eq!(archive.measure_artifacts("d1", |files, _| files > 1).await.unwrap().0, 2);
        assert_eq!(archive.measure_artifacts("d2", |_, _| false).await.unwrap(), (0, 0));

        let reports = archive.list_reports("d1", 10).await.unwrap();
        let listed: Vec<_> = reports.iter().map(|report| (report.path.as_str(), report.size)).collect();
        assert_eq!(listed, [("a", 3), ("b/c", 4), ("d", 5)]);
        assert_eq!(archive.list_reports("d1", 2).await.unwrap().len(), 2);
        assert_eq!(archive.read_whole(&reports[1]).await.unwrap().unwrap(), vec![7; 4]);
        archive.store.delete(&reports[1].key).await.unwrap();
        assert_eq!(archive.read_whole(&reports[1]).await.unwrap(), None);
    }
}
