//! The report that a command prints and writes to `figures/<command>.md`.

use std::fmt::{Display, Write};
use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::binaries::workspace;

/// The figures of one command, as Markdown.
pub(crate) struct Report {
    command: &'static str,
    text: String,
    targets: Table,
}

/// A table in Markdown.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        let rule = ["---"; N];
        Self([header, rule].map(|row| row.map(str::to_owned).to_vec()).to_vec())
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 2
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}

impl Report {
    pub(crate) fn new(command: &'static str, title: &str) -> Self {
        let text = format!("# {title}\n\nMade by `cargo measure {command}` {}.\n", circumstances());
        Self { command, text, targets: Table::new(TARGET_COLUMNS) }
    }

    pub(crate) fn section(&mut self, title: &str, note: &str, table: &Table) {
        let _ = write!(self.text, "\n## {title}\n\n{note}\n\n{table}");
    }

    pub(crate) fn note(&mut self, note: &str) {
        let _ = write!(self.text, "\n{note}\n");
    }

    /// Adds a figure that has a target.
    pub(crate) fn target(&mut self, what: &str, target: &str, measured: String, met: bool) {
        let met = if met { "yes" } else { "no" };
        let cells = [what, target, &measured, met, &format!("`cargo measure {}`", self.command)];
        self.targets.row(cells.map(str::to_owned));
    }

    pub(crate) fn publish(mut self) -> Result<()> {
        if !self.targets.is_empty() {
            let _ = write!(self.text, "\n{TARGETS}\n\n{}", self.targets);
        }
        print!("{}", self.text);
        std::fs::create_dir_all(figures())?;
        Ok(std::fs::write(figures().join(format!("{}.md", self.command)), self.text)?)
    }
}

/// Reports all targets with the last measurements of the commands.
pub(crate) fn targets() -> Result<()> {
    let mut table = Table::new(TARGET_COLUMNS).to_string();
    for command in COMMANDS {
        let Ok(report) = std::fs::read_to_string(figures().join(format!("{command}.md"))) else { continue };
        let rows = report.split_once(TARGETS).map(|(_, rows)| rows.trim_start()).unwrap_or_default();
        rows.lines().skip(2).for_each(|row| table.extend([row, "\n"]));
    }
    let text = format!("# Targets\n\nPut together by `cargo measure targets` from the figures beside it.\n\n{table}");
    print!("{text}");
    Ok(std::fs::write(figures().join("targets.md"), text)?)
}

const TARGETS: &str = "## Targets";
const TARGET_COLUMNS: [&str; 5] = ["what", "target", "measured", "met", "by"];
/// The commands that have targets.
const COMMANDS: [&str; 8] = ["warm", "cold", "growth", "limiter", "turns", "memory", "fetch", "build"];

fn figures() -> PathBuf {
    workspace().join("tests/bench/figures")
}

/// Returns the commit and the machine.
fn circumstances() -> String {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(workspace()).output();
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    // Other commands may just have written their figures.
    let changed = git(&["diff", "--quiet", "HEAD", "--", ".", ":!tests/bench/figures"]);
    let dirty = if changed.is_ok_and(|output| output.status.success()) { "" } else { "-dirty" };
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |model| model.trim_start_matches(['\t', ' ', ':']));
    format!("at commit {commit}{dirty} on {} cores ({model})", models.len())
}

/// Returns the median of some figures.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    percentile(figures, 50)
}

/// Returns the percentile of some figures.
pub(crate) fn percentile(figures: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) * percent / 100]
}

pub(crate) fn ratio(figure: f64, stand_in: f64) -> String {
    format!("{:.2}×", figure / stand_in)
}
