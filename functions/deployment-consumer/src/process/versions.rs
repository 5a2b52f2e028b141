//! The installed versions of the languages that a buildspec selects by `runtime-versions`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::session::{installed, search_path};

/// The time that a program has to say its version.
const LIMIT: Duration = Duration::from_secs(5);
/// The programs that say the version of a runtime of CodeBuild's images.
const PROGRAMS: [(&str, &str, &str); 7] = [
    ("dotnet", "dotnet", "--version"),
    ("golang", "go", "version"),
    ("java", "java", "-version"),
    ("nodejs", "node", "--version"),
    ("php", "php", "--version"),
    ("python", "python3", "--version"),
    ("ruby", "ruby", "--version"),
];

/// Returns a sentence about the version that commands find.
pub(super) async fn sentence(runtime: &str, wanted: &str) -> String {
    let start = format!("`runtime-versions` selects {runtime} {wanted}, and commands use what is installed");
    let Some((_, program, argument)) = PROGRAMS.into_iter().find(|(name, ..)| *name == runtime) else {
        return format!("{start}.");
    };
    match found(program, argument).await {
        Some(version) => format!("{start}: {version}."),
        None => format!("{start}: there is no {program}."),
    }
}

/// Returns the first line in which the program says its version.
async fn found(program: &str, argument: &str) -> Option<String> {
    let path = installed(program)?;
    let said = Command::new(path)
        .arg(argument)
        .env_clear()
        .env("PATH", search_path())
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = timeout(LIMIT, said).await.ok()?.ok()?;
    // Java says its version on standard error.
    let text = if said.stdout.is_empty() { said.stderr } else { said.stdout };
    let text = String::from_utf8_lossy(&text);
    Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}
