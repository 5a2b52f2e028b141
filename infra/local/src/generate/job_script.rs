//! The script of CI jobs, for a template that can't refer to a file.

use std::path::Path;

use shared::InitError;

/// The script, which the GitHub Action runs as it is.
const SCRIPT: &str = "infra/github-action/deploy.mjs";
/// The line that ends the script in the shell's here-document.
const END: &str = "END_OF_SCRIPT";

/// Returns the command that writes the script into the job's folder, as an item of a list in GitLab's YAML.
///
/// # Errors
/// Fails if the script is missing, or contains text with a meaning in the template.
pub(super) fn command(checkout: &Path) -> Result<String, InitError> {
    let script = super::read(checkout, SCRIPT)?;
    if let Some(special) = [END, "$[["].into_iter().find(|text| script.contains(text)) {
        return Err(format!("{SCRIPT}: the template can't contain {special}").into());
    }
    let command = format!("cat >\"$CI_PROJECT_DIR/.deploy.mjs\" <<'{END}'\n{script}{END}\n");
    let indented =
        command.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("      {line}\n") });
    Ok(["    - |\n".to_owned()].into_iter().chain(indented).collect())
}
