//! A text with expressions of the shell, before the first command.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::group::Group;
use super::outcome::RunError;
use super::run::Run;
use super::session::{installed, search_path};

/// The time that a shell has.
const LIMIT: Duration = Duration::from_secs(10);
/// The maximum size of the text that a shell returns, in bytes.
const MAX_BYTES: u64 = 4096;
/// The line that ends the text. The text is one line.
const END: &str = "END_OF_THE_EXPRESSION";

impl Run<'_> {
    /// Returns a line of text with the values of its variables and commands, as a shell in the source folder has them. `None` if the
    /// shell fails, is too slow or prints something that is not UTF-8. Every process that a command starts is ended.
    pub(crate) async fn evaluate(&self, text: &str) -> Result<Option<String>, RunError> {
        let shell = installed("sh").ok_or(RunError::NoShell("sh"))?;
        let mut group = Group::start(&shell, self.source.path(), self.survivors.clone()).map_err(RunError::Process)?;
        let mut child = Command::new(shell);
        child.arg("-c").arg(format!("cat <<{END}\n{text}\n{END}\n")).current_dir(self.source.path());
        child.env_clear().envs(self.environment()).env("PATH", search_path());
        child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        // The commands of an earlier text may have removed the folder.
        let Ok(mut child) = group.spawn(&mut child) else { return Ok(None) };
        let mut printed = Vec::new();
        let mut pipe = child.stdout.take().expect("it is piped").take(MAX_BYTES);
        let ended = async {
            pipe.read_to_end(&mut printed).await?;
            child.wait().await
        };
        let ended = timeout(LIMIT, ended).await;
        group.end().await.map_err(RunError::Process)?;
        match ended {
            Ok(Ok(status)) if status.success() => {}
            Ok(Err(error)) => return Err(RunError::Process(error)),
            Ok(Ok(_)) | Err(_) => return Ok(None),
        }
        Ok(String::from_utf8(printed).ok().map(|text| text.trim_end().to_owned()))
    }
}
