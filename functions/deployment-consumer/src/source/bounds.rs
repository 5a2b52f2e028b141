//! Bounds of packing and unpacking.

use std::io::{self, Read, Write};

use tokio_util::sync::CancellationToken;

const PIECE_BYTES: usize = 64 * 1024;

/// The bytes and the files that may still be copied. Copying ends when the token is canceled: a thread can't be ended from outside.
#[derive(Debug)]
pub(crate) struct Bounds {
    bytes: u64,
    files: usize,
    stop: CancellationToken,
}

impl Bounds {
    pub(crate) fn new(bytes: u64, files: usize, stop: CancellationToken) -> Self {
        Self { bytes, files, stop }
    }

    /// Returns the bounds of what is bounded elsewhere.
    pub(super) fn none() -> Self {
        Self::new(u64::MAX, usize::MAX, CancellationToken::new())
    }

    /// Counts a file, a folder or a link.
    pub(crate) fn count(&mut self) -> io::Result<()> {
        if self.stop.is_cancelled() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.files = self.files.checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
        Ok(())
    }

    /// Copies the rest of a file.
    pub(crate) fn copy(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            if self.stop.is_cancelled() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let length = match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            self.bytes = self.bytes.checked_sub(length as u64).ok_or(io::ErrorKind::QuotaExceeded)?;
            to.write_all(&piece[..length])?;
        }
    }
}
