//! The output of a command that takes a while: lines, and in a terminal the current status below them.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use console::style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// Writes to the standard output. The status is drawn only in a terminal; colors, unless the environment variable
/// `NO_COLOR` is set.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts with a first status.
    #[must_use]
    pub fn start(status: &'static str) -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        // A target that is no terminal draws nothing.
        let target = if is_dumb { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stdout() };
        let bar = ProgressBar::with_draw_target(None, target);
        let template = ProgressStyle::with_template("{spinner:.cyan} {elapsed:.dim} {wide_msg}");
        bar.set_style(template.expect("the template is valid"));
        bar.set_message(status);
        bar.enable_steady_tick(REDRAW_EVERY);
        Self(bar)
    }

    /// Shows another status.
    pub fn status(&self, status: impl Display) {
        self.0.set_message(status.to_string());
    }

    /// Writes a line above the status.
    ///
    /// # Errors
    /// Fails if the output can't be written, for example because its reader has gone.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        self.0.suspend(|| writeln!(io::stdout(), "{line}"))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Writes an error to the standard error.
pub fn report(error: impl Display) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{} {error}", style("error:").for_stderr().red().bold());
}
