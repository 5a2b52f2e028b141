//! How long the functions take to build, and what takes so long.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::report::{Report, Table};
use crate::{Result, binaries};

/// The minutes that a clean release build of all functions may take on two cores.
const MOST_MINUTES: f64 = 20.0;
/// Dependencies that are listed.
const LISTED: usize = 20;

/// Builds in a target folder of its own.
struct Builder {
    target: PathBuf,
}

/// Measures all functions, or with `only` a clean release build of these.
pub fn measure(only: &[String]) -> Result<Report> {
    let mut report = Report::new("build", "Builds");
    let all = functions()?;
    let functions = if only.is_empty() { &all[..] } else { only };
    let builder = Builder { target: binaries::target().join("measured") };
    let mut table = Table::new(["what is built", "after", "debug", "release"]);

    builder.clean()?;
    let mut all_in_release = vec!["build", "--locked", "--release", "--timings"];
    functions.iter().for_each(|function| all_in_release.extend(["--package", function]));
    let clean = builder.run(&all_in_release)?;
    let dependencies = builder.units()?;
    let names = if only.is_empty() { format!("all {} functions", all.len()) } else { only.join(", ") };
    let in_release = builder.one_again(&functions[0], &["--release"])?;
    let in_debug = if only.is_empty() {
        builder.clean()?;
        let debug = builder.run(&["build", "--locked", "--workspace", "--bins"])?;
        table.row([names, "nothing".to_owned(), minutes(debug), minutes(clean)]);
        builder.one_again(&functions[0], &[])?.map(minutes)
    } else {
        table.row([names, "nothing".to_owned(), "not measured".to_owned(), minutes(clean)]);
        [(); 2].map(|()| "not measured".to_owned())
    };
    for ((after, debug), release) in ["shared", "itself"].into_iter().zip(in_debug).zip(in_release) {
        table.row([functions[0].clone(), format!("a change of {after}"), debug, minutes(release)]);
    }
    let note = "In debug, the local stack's binary is among them all. As many jobs at once as there are cores.";
    report.section("Time", note, &table);
    if only.is_empty() {
        let what = format!("release build of all {} functions from clean", all.len());
        let met = clean.as_secs_f64() <= MOST_MINUTES * 60.0;
        report.target(&what, "≤ 20 minutes on 2 cores", minutes(clean), met);
    }

    let mut units = Table::new(["crate", "seconds of one core"]);
    for (name, seconds) in dependencies.into_iter().take(LISTED) {
        units.row([name, format!("{seconds:.1}")]);
    }
    let note =
        "The clean release build by cargo's own timings: of each crate, its build script and its binaries included.";
    report.section("What takes the time", note, &units);
    Ok(report)
}

impl Builder {
    fn clean(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// How long a function takes after a change of `shared`, and of itself.
    fn one_again(&self, function: &str, profile: &[&str]) -> Result<[Duration; 2]> {
        let mut build = vec!["build", "--locked", "--package", function];
        build.extend(profile);
        // Alone it may need other features of its dependencies than beside the others.
        self.run(&build)?;
        touch("shared/src/lib.rs")?;
        let after_shared = self.run(&build)?;
        touch(&format!("functions/{function}/src/lib.rs"))?;
        Ok([after_shared, self.run(&build)?])
    }

    fn run(&self, arguments: &[&str]) -> Result<Duration> {
        let mut cargo = binaries::cargo(binaries::workspace(), arguments);
        cargo.env("CARGO_TARGET_DIR", &self.target).stdout(Stdio::null());
        let started = Instant::now();
        let built = cargo.arg("--quiet").status()?;
        if built.success() { Ok(started.elapsed()) } else { Err(format!("{cargo:?} failed").into()) }
    }

    /// The crates with the seconds that they took, those that took longest first. Cargo writes them into a page, as a
    /// script.
    fn units(&self) -> Result<Vec<(String, f64)>> {
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

fn functions() -> Result<Vec<String>> {
    let folders = std::fs::read_dir(binaries::workspace().join("functions"))?;
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
