//! Measures the time that the functions take to build, and its largest parts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::report::{Report, Table};
use crate::{Result, binaries};

/// The minutes that a clean release build of all functions may take on two cores.
const MOST_MINUTES: f64 = 20.0;
/// The number of crates in the list.
const LISTED: usize = 20;
/// The functions with the most dependencies. Together they have all dependencies of the functions.
const WITH_MOST: [&str; 3] = ["create-deployment", "deployment-consumer", "get-deployment-log"];

/// A builder with its own target folder.
struct Builder {
    target: PathBuf,
}

/// Builds all functions from clean, and one after a change.
pub(crate) fn measure() -> Result<Report> {
    let mut report = Report::new("build", "Builds");
    let functions = names("functions")?;
    let builder = Builder { target: binaries::target().join("measured") };
    let release = builder.clean_release(&functions)?;
    let seconds = builder.seconds_by_crate()?;
    let one = &functions[0];
    let one_in_release = builder.one_again(one, &["--release"])?;
    builder.clean()?;
    let debug = builder.run(&["build", "--locked", "--workspace", "--bins"])?;
    let one_in_debug = builder.one_again(one, &[])?;

    let mut table = Table::new(["what is built", "after", "debug", "release"]);
    let all = format!("all {} functions", functions.len());
    table.row([all, "nothing".to_owned(), minutes(debug), minutes(release)]);
    for ((after, debug), release) in ["shared", "itself"].into_iter().zip(one_in_debug).zip(one_in_release) {
        table.row([one.clone(), format!("a change of {after}"), minutes(debug), minutes(release)]);
    }
    let note = "In debug, the local stack's binary is among them all. As many jobs at once as there are cores.";
    report.section("Time", note, &table);
    let what = format!("release build of all {} functions from clean", functions.len());
    let met = release.as_secs_f64() <= MOST_MINUTES * 60.0;
    report.target(&what, "≤ 20 minutes on 2 cores", minutes(release), met);
    let note =
        "The clean release build by cargo's own timings: of each crate, its build script and its binaries included.";
    report.section("What takes the time", note, &listed(seconds));
    Ok(report)
}

/// Builds the functions with the most dependencies, and measures each third-party crate.
pub(crate) fn dependencies() -> Result<Report> {
    let mut report = Report::new("dependencies", "What each dependency takes to build");
    let builder = Builder { target: binaries::target().join("measured") };
    builder.clean_release(&WITH_MOST.map(str::to_owned))?;
    let mut seconds = builder.seconds_by_crate()?;
    let own = [names("functions")?, names("shared")?, vec!["shared".to_owned()]].concat();
    seconds.retain(|(name, _)| !own.contains(name));
    let total: f64 = seconds.iter().map(|(_, seconds)| seconds).sum();
    let note = format!(
        "A clean release build of {} by cargo's own timings: of each crate, its build script included. All {} together take \
         {total:.0} seconds of one core; these are the {LISTED} that take most.",
        WITH_MOST.join(", "),
        seconds.len()
    );
    report.section("Crates", &note, &listed(seconds));
    Ok(report)
}

fn listed(seconds_by_crate: Vec<(String, f64)>) -> Table {
    let mut table = Table::new(["crate", "seconds of one core"]);
    for (name, seconds) in seconds_by_crate.into_iter().take(LISTED) {
        table.row([name, format!("{seconds:.1}")]);
    }
    table
}

impl Builder {
    fn clean(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Returns the time to build a function after a change of `shared`, and after a change of its own.
    fn one_again(&self, function: &str, profile: &[&str]) -> Result<[Duration; 2]> {
        let mut build = vec!["build", "--locked", "--package", function];
        build.extend(profile);
        // A function that is built alone may need other features of its dependencies.
        self.run(&build)?;
        touch("shared/src/lib.rs")?;
        let after_shared = self.run(&build)?;
        touch(&format!("functions/{function}/src/lib.rs"))?;
        Ok([after_shared, self.run(&build)?])
    }

    fn clean_release(&self, functions: &[String]) -> Result<Duration> {
        self.clean()?;
        let mut build = vec!["build", "--locked", "--release", "--timings"];
        functions.iter().for_each(|function| build.extend(["--package", function]));
        self.run(&build)
    }

    fn run(&self, arguments: &[&str]) -> Result<Duration> {
        let mut cargo = binaries::cargo(binaries::workspace(), arguments);
        cargo.env("CARGO_TARGET_DIR", &self.target).stdout(Stdio::null());
        let started = Instant::now();
        let built = cargo.arg("--quiet").status()?;
        if built.success() { Ok(started.elapsed()) } else { Err(format!("{cargo:?} failed").into()) }
    }

    /// Returns the crates with their build times in seconds, the slowest first. Cargo writes the times into a script in
    /// an HTML page.
    fn seconds_by_crate(&self) -> Result<Vec<(String, f64)>> {
        let page = std::fs::read_to_string(self.target.join("cargo-timings/cargo-timing.html"))?;
        let (_, units) = page.split_once("const UNIT_DATA = ").ok_or("cargo's timings have no units")?;
        let mut units = serde_json::Deserializer::from_str(units).into_iter::<Vec<Value>>();
        let mut crates = BTreeMap::<String, f64>::new();
        for unit in units.next().ok_or("cargo's timings have no units")?? {
            let name = unit["name"].as_str().unwrap_or_default().to_owned();
            *crates.entry(name).or_default() += unit["duration"].as_f64().unwrap_or_default();
        }
        let mut crates: Vec<_> = crates.into_iter().collect();
        crates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        Ok(crates)
    }
}

/// Returns the names of the crates in a folder, which has one folder for each crate.
fn names(folder: &str) -> Result<Vec<String>> {
    let folders = std::fs::read_dir(binaries::workspace().join(folder))?;
    let mut names =
        folders.map(|folder| Ok(folder?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Makes cargo believe that a file has changed.
fn touch(file: &str) -> Result<()> {
    let touched = std::process::Command::new("touch").arg(binaries::workspace().join(file)).status()?;
    if touched.success() { Ok(()) } else { Err(format!("{file} was not touched").into()) }
}

fn minutes(time: Duration) -> String {
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}
