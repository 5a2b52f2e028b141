//! The body of a response.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;

use ureq::{Body, BodyReader};

use super::client::{Client, from_ureq};
use crate::error::RemoteError;

/// A response body whose bytes count towards the operation's [`Budget`](super::Budget).
pub(crate) struct ResponseBody {
    client: Rc<Client>,
    body: BodyReader<'static>,
    /// Bytes that have arrived and were not read yet.
    ahead: VecDeque<u8>,
}

impl ResponseBody {
    pub(super) fn new(client: Rc<Client>, body: Body) -> Self {
        Self { client, body: body.into_reader(), ahead: VecDeque::new() }
    }

    /// Returns the first bytes, and fewer only if the body is shorter. They stay to be read.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], RemoteError> {
        while let Some(missing) = count.checked_sub(self.ahead.len()).filter(|missing| *missing > 0) {
            let mut bytes = vec![0; missing];
            match self.receive(&mut bytes)? {
                0 => break,
                received => self.ahead.extend(&bytes[..received]),
            }
        }
        let ahead = self.ahead.make_contiguous();
        Ok(&ahead[..count.min(ahead.len())])
    }

    /// Leaves out some of the bytes that [`Self::peek`] has returned.
    pub(super) fn leave_out(&mut self, bytes: Range<usize>) {
        self.ahead.drain(bytes);
    }

    /// Returns the failure of a server that refuses in these words.
    pub(super) fn refused(&self, words: &[u8]) -> RemoteError {
        self.client.refused(words)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, RemoteError> {
        let count = self.body.read(buffer).map_err(|error| from_ureq(error.into()))?;
        self.client.take(count as u64)?;
        Ok(count)
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            return self.ahead.read(buffer);
        }
        self.receive(buffer).map_err(|error| self.client.record(error))
    }
}
