//! `cargo local generate`: writes every file, or part of a file, that follows from other files.
//!
//! Three sources describe a function completely:
//!
//! - its line in [`FUNCTIONS`]: name, area, and the route or the event that invokes it;
//! - its `Route`: method, paths, authentication;
//! - `functions/<name>/function.yaml`: the settings, permissions and event sources that neither of them implies.
//!
//! From these sources come the functions in the area's template, the parameters that template.yaml passes to the area, the
//! dashboard, the router of `cargo lambda watch`, the dependencies of this crate, the table of endpoints and the OpenAPI
//! document. The table of items follows from `SCHEMA` in `shared/src/model/schema.rs`, and the script in GitLab's template from
//! that of the GitHub Action.
//!
//! A generated part stands between `generated: <name>` and `end of <name>`. The rest of its file is written by hand, for
//! example the resources of an area that are no function's.
//!
//! The generator copies a section of function.yaml into the template, with its comments. The skeletons in
//! `generate/resources.rs` contain the rest. Nothing else affects the output: there are no options, and no function is
//! special by its name.

mod area;
mod dashboard;
mod definition;
mod dependencies;
mod endpoint_table;
mod item_table;
mod job_script;
mod parameter;
mod region;
mod resources;
mod router;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use shared::InitError;

use self::definition::Definition;
use crate::functions::{Area, FUNCTIONS, Registration};
use crate::openapi;

/// A function with its function.yaml.
struct Function {
    registration: &'static Registration,
    definition: Definition,
}

/// The generated text of the files of the repository.
struct Files<'a> {
    checkout: &'a Path,
    texts: BTreeMap<PathBuf, String>,
}

impl Files<'_> {
    /// Replaces a whole file.
    fn whole(&mut self, path: &str, text: String) {
        self.texts.insert(path.into(), text);
    }

    /// Replaces a part of a file.
    fn region(&mut self, path: &str, name: &str, text: &str) -> Result<(), InitError> {
        let before = self.text(path)?;
        let after = region::replace(&before, name, text).map_err(|error| format!("{path}: {error}"))?;
        self.texts.insert(path.into(), after);
        Ok(())
    }

    fn text(&self, path: &str) -> Result<String, InitError> {
        match self.texts.get(Path::new(path)) {
            Some(text) => Ok(text.clone()),
            None => read(self.checkout, path),
        }
    }
}

fn read(checkout: &Path, path: &str) -> Result<String, InitError> {
    fs::read_to_string(checkout.join(path)).map_err(|error| format!("{path}: {error}").into())
}

/// Returns the files that are stale, with the text that they should have.
///
/// # Errors
/// Fails if a source or a file is missing or invalid.
pub fn stale(checkout: &Path) -> Result<BTreeMap<PathBuf, String>, InitError> {
    let mut files = Files { checkout, texts: BTreeMap::new() };
    let mut functions = Vec::new();
    for registration in FUNCTIONS {
        let definition = Definition::read(checkout, registration.name)?;
        functions.push(Function { registration, definition });
    }
    for area in Area::ALL {
        area::write(&mut files, area, &functions)?;
    }
    for (path, region, text) in [
        ("infra/template.yaml", "dashboard", dashboard::resource()),
        ("Cargo.toml", "router", router::routes()),
        ("infra/local/Cargo.toml", "functions", dependencies::list(checkout)?),
        ("infra/docs/api.md", "endpoints", endpoint_table::table()),
        ("infra/docs/table.md", "items", item_table::table()),
        ("infra/gitlab/deploy.gitlab-ci.yml", "deploy.mjs", job_script::command(checkout)?),
    ] {
        files.region(path, region, &text)?;
    }
    files.whole("functions/get-openapi/openapi.json", openapi::text());

    let mut stale = files.texts;
    stale.retain(|path, text| !fs::read_to_string(checkout.join(path)).is_ok_and(|there| there == *text));
    Ok(stale)
}

/// Writes the files that are stale, and returns their paths.
///
/// # Errors
/// Fails if a source is missing or invalid, or a file can't be written.
pub fn write(checkout: &Path) -> Result<Vec<PathBuf>, InitError> {
    let stale = stale(checkout)?;
    for (path, text) in &stale {
        fs::write(checkout.join(path), text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(stale.into_keys().collect())
}
