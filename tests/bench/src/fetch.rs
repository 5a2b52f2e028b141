//! Measures the fetch of a commit beside `git clone --depth 1`, which reads the same repository in turn.

mod repository;

use std::path::Path;
use std::time::{Duration, Instant};

use git::{CloneUrl, CommitSha, FetchLimits, Remote, Resolved};
use shared::hosts::Hosts;
use tests::git_server::GitServer;

use crate::Result;
use crate::report::{Report, Table, median, ratio};
use repository::{Repository, SHAPES};

/// The share of the time of `git clone --depth 1` that a fetch of each repository may take.
const MOST: f64 = 0.7;
/// The number of times that each repository is fetched and cloned, in turn.
const ROUNDS: usize = 9;
const LIMITS: FetchLimits =
    FetchLimits { time: Duration::from_secs(120), depth: 1, pack_bytes: 1 << 30, tree_bytes: 1 << 30, files: 100_000 };

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("fetch", "Fetches");
    let folder = tempfile::tempdir()?;
    let mut table = Table::new(["repository", "transport", "fetch", "git clone --depth 1", "ratio"]);
    let mut worst = (0.0, String::new());
    for shape in SHAPES {
        let repository = Repository::create(folder.path(), shape)?;
        let server = GitServer::of_folder(repository.path.clone()).await;
        for (transport, url) in [("HTTP", server.url("/app.git")), ("path", repository.url())] {
            let into = folder.path().join(format!("{}-by-{transport}", shape.name));
            let (ours, gits) = in_turn(&repository, &url, &into).await?;
            table.row([
                format!("{}: {}", shape.name, shape.description),
                transport.to_owned(),
                format!("{:.0} ms", ours * 1000.0),
                format!("{:.0} ms", gits * 1000.0),
                ratio(ours, gits),
            ]);
            if ours / gits > worst.0 {
                worst = (ours / gits, format!("{} by {transport}", shape.name));
            }
        }
    }
    let note = format!(
        "Medians of {ROUNDS} rounds. A fetch writes the files and a `.git`, as a clone does. By path, the clone is of `file://`, \
         because git ignores the depth for a plain path. Both write below `TMPDIR`; in memory, the time that a disk takes to make \
         files is no part of it."
    );
    report.section("Time", &note, &table);
    let (most, of) = worst;
    let what = "fetch of a commit, of the repository that takes the most";
    report.target(what, "≤ 0.7× `git clone --depth 1`", format!("{most:.2}× ({of})"), most <= MOST);
    Ok(report)
}

/// Returns the median seconds of a fetch and of a clone into new folders in `into`. The folders stay until the end of the measurement:
/// ext4 uses no inode again within five seconds, and looks long for another one after many files were deleted.
async fn in_turn(repository: &Repository, url: &str, into: &Path) -> Result<(f64, f64)> {
    let remote = Remote::new(CloneUrl::parse(url, Hosts::AlsoLocal)?, None);
    let commit = Resolved { name: Some("refs/heads/main".to_owned()), sha: repository.sha.parse::<CommitSha>()? };
    let (mut ours, mut gits) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let into = into.join(round.to_string());
        std::fs::create_dir_all(&into)?;
        let started = Instant::now();
        remote.fetch_commit(&commit, &into.join("fetched"), LIMITS).await?;
        ours.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        clone(url, &into.join("cloned")).await?;
        gits.push(started.elapsed().as_secs_f64());
    }
    Ok((median(ours), median(gits)))
}

async fn clone(url: &str, into: &Path) -> Result<()> {
    let mut git = tokio::process::Command::from(repository::git());
    git.args(["clone", "--quiet", "--depth", "1", url]).arg(into);
    if git.status().await?.success() { Ok(()) } else { Err(format!("{git:?} failed").into()) }
}
