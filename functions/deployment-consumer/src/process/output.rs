//! The output of a run: redacted lines, sent as they come.

use std::time::Duration;

use archive::Stream;
use redaction::Redaction;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::recent::Recent;

/// The length in bytes beyond which a line of output is split.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// After a command has exited, a silence of this length ends its output. A background process may still hold the pipe
/// open, and any later output belongs to it.
const SILENCE: Duration = Duration::from_millis(100);

/// Sends redacted lines into a channel. A receiver that is gone does not stop the run.
#[derive(Clone)]
pub(super) struct Lines {
    pub sender: mpsc::Sender<(Stream, String)>,
    pub redaction: Redaction,
    /// The output of the running command so far.
    pub recent: Recent,
}

/// One pipe, whose bytes become lines.
pub(super) struct Output {
    stream: Stream,
    lines: Lines,
    line: Vec<u8>,
}

impl Lines {
    /// Sends one system line for each line of `text`.
    pub(super) async fn say(&self, text: &str) {
        for line in text.lines() {
            self.send(Stream::System, line).await;
        }
    }

    async fn send(&self, stream: Stream, line: &str) {
        let line = self.redaction.redact(line).into_owned();
        if stream != Stream::System {
            self.recent.push(&line);
        }
        let _ = self.sender.send((stream, line)).await;
    }
}

impl Output {
    pub(super) fn new(stream: Stream, lines: Lines) -> Self {
        Self { stream, lines, line: Vec::new() }
    }

    /// Forwards the pipe's lines until its end. Signals `silent` at the first silence after `exited`.
    pub(super) async fn forward(
        mut self,
        mut pipe: impl AsyncRead + Unpin,
        exited: CancellationToken,
        silent: oneshot::Sender<()>,
    ) {
        let mut silent = Some(silent);
        let mut read = [0; 8 * 1024];
        loop {
            let length = tokio::select! {
                biased;
                length = pipe.read(&mut read) => length,
                () = async { exited.cancelled().await; sleep(SILENCE).await }, if silent.is_some() => {
                    // A missing receiver means that the run was stopped meanwhile.
                    let _ = silent.take().expect("it is some").send(());
                    continue;
                }
            };
            let Ok(length @ 1..) = length else { break };
            for piece in read[..length].split_inclusive(|byte| *byte == b'\n') {
                match piece.split_last() {
                    Some((b'\n', end)) => {
                        self.line.extend_from_slice(end);
                        self.line.pop_if(|last| *last == b'\r');
                        self.send_line().await;
                    }
                    _ => self.line.extend_from_slice(piece),
                }
            }
            while self.line.len() > MAX_LINE_BYTES + self.lines.redaction.longest() {
                self.send_start().await;
            }
        }
        if !self.line.is_empty() {
            self.send_line().await;
        }
    }

    async fn send_line(&mut self) {
        while self.line.len() > MAX_LINE_BYTES {
            self.send_start().await;
        }
        let length = self.line.len();
        self.send(length).await;
    }

    /// Sends about [`MAX_LINE_BYTES`] from the start of the line. It never cuts a secret or a character.
    async fn send_start(&mut self) {
        let length = match self.lines.redaction.across(&self.line, MAX_LINE_BYTES) {
            Some(secret) if secret.start == 0 => secret.end,
            Some(secret) => secret.start,
            None => {
                let mut length = MAX_LINE_BYTES;
                // The bytes 10xxxxxx continue a UTF-8 character, which has at most three of them.
                while length > MAX_LINE_BYTES - 3 && self.line[length] & 0b1100_0000 == 0b1000_0000 {
                    length -= 1;
                }
                length
            }
        };
        self.send(length).await;
    }

    async fn send(&mut self, length: usize) {
        self.lines.send(self.stream, &String::from_utf8_lossy(&self.line[..length])).await;
        self.line.drain(..length);
    }
}
