//! The receiving half of an end.

use super::errors::RecvError;
use super::frame::{HEAD, Head};
use crate::sys;
use crate::wait::Wait;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Bytes that are read ahead at most.
const AHEAD: usize = 64 << 10;
/// A message's memory is asked for in pieces of so many bytes at least, as it comes: a header alone must not cost what it claims.
const PIECE: usize = 1 << 20;

/// What came and was not handed out yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Read ahead, from `start` on.
    ahead: Vec<u8>,
    start: usize,
    descriptors: VecDeque<OwnedFd>,
    /// The message that is coming, and as much of it as has come.
    head: Option<Head>,
    body: Vec<u8>,
    /// Descriptors were lost, or what came is no message: nothing can be told any more.
    broken: Option<&'static str>,
}

/// A message, with the descriptors that came with it: those of its segments first.
#[derive(Debug)]
pub(super) struct Arrived<B> {
    pub(super) body: B,
    pub(super) segments: Vec<OwnedFd>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Incoming {
    /// With bytes that another process had read ahead.
    pub(super) fn with(ahead: Vec<u8>) -> Self {
        Self {
            ahead,
            ..Self::default()
        }
    }

    /// What was read ahead, if that is all there is.
    pub(super) fn only_bytes(&self) -> Option<&[u8]> {
        let plain = self.descriptors.is_empty() && self.head.is_none() && self.broken.is_none();
        plain.then(|| &self.ahead[self.start..])
    }

    /// Whether there is something without asking the system.
    pub(super) fn has_bytes(&self) -> bool {
        self.head.is_some() || self.start < self.ahead.len()
    }

    /// The next message.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        raw: bool,
        wait: Wait,
    ) -> Result<Arrived<Vec<u8>>, RecvError> {
        let head = self.announced(socket, raw, wait)?;
        let out_of_memory = || RecvError::OutOfMemory { need: head.len };
        let len = usize::try_from(head.len).map_err(|_| out_of_memory())?;
        while self.take_ahead(len - self.body.len()) {}
        let mut body = std::mem::take(&mut self.body);
        let mut filled = body.len();
        while filled < len {
            if filled == body.len() {
                let piece = (len - filled).min(PIECE.max(filled));
                if body.try_reserve(piece).is_err() {
                    self.body = body;
                    return Err(out_of_memory());
                }
                body.resize(filled + piece, 0);
            }
            match self.read(socket, &mut body[filled..], wait) {
                Ok(count) if count > 0 => filled += count,
                outcome => {
                    body.truncate(filled);
                    self.body = body;
                    return Err(outcome.err().unwrap_or_else(|| self.cut_off(head)));
                }
            }
        }
        Ok(self.arrived(head, body))
    }

    /// The next message into a buffer; its length.
    pub(super) fn receive_into(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        wait: Wait,
    ) -> Result<Arrived<usize>, RecvError> {
        let head = self.announced(socket, true, wait)?;
        let room = buffer.len();
        let fits = usize::try_from(head.len).ok().filter(|&len| len <= room);
        let len = fits.ok_or(RecvError::TooSmall {
            need: head.len,
            room,
        })?;
        while self.take_ahead(len - self.body.len()) {}
        let mut filled = self.body.len();
        buffer[..filled].copy_from_slice(&self.body);
        self.body.clear();
        while filled < len {
            match self.read(socket, &mut buffer[filled..len], wait) {
                Ok(0) => {
                    self.body.extend_from_slice(&buffer[..filled]);
                    return Err(self.cut_off(head));
                }
                Ok(count) => filled += count,
                Err(error) => {
                    self.body.extend_from_slice(&buffer[..filled]);
                    return Err(error);
                }
            }
        }
        Ok(self.arrived(head, len))
    }

    /// The header of the next message, which must be of this kind.
    fn announced(
        &mut self,
        socket: BorrowedFd<'_>,
        raw: bool,
        wait: Wait,
    ) -> Result<Head, RecvError> {
        let head = match self.head {
            Some(head) => head,
            None => self.read_head(socket, wait)?,
        };
        self.head = Some(head);
        if head.raw == raw {
            Ok(head)
        } else {
            Err(RecvError::OtherKind { raw: head.raw })
        }
    }

    fn read_head(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> Result<Head, RecvError> {
        loop {
            let there = &self.ahead[self.start..];
            if let Some((head, _)) = there.split_first_chunk::<HEAD>() {
                let Some(head) = Head::from_bytes(*head) else {
                    return Err(self.malformed("its header is not one"));
                };
                let count = usize::from(head.segments) + usize::from(head.descriptors);
                if count > self.descriptors.len() {
                    return Err(self.malformed("its descriptors did not come with it"));
                }
                self.start += HEAD;
                return Ok(head);
            }
            let got = there.len() as u64;
            self.ahead.drain(..self.start);
            self.start = 0;
            let filled = self.ahead.len();
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.resize(AHEAD, 0);
            let outcome = self.read(socket, &mut ahead[filled..], wait);
            ahead.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
            self.ahead = ahead;
            if outcome? == 0 {
                return Err(match got {
                    0 => RecvError::Closed,
                    got => RecvError::Truncated {
                        got,
                        of: HEAD as u64,
                    },
                });
            }
        }
    }

    /// Moves up to `most` bytes that were read ahead into the message; whether there were any.
    fn take_ahead(&mut self, most: usize) -> bool {
        let count = most.min(self.ahead.len() - self.start);
        let end = self.start + count;
        self.body.extend_from_slice(&self.ahead[self.start..end]);
        self.start = end;
        count > 0
    }

    /// Reads some bytes; 0 is the end of file.
    fn read(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &mut [u8],
        wait: Wait,
    ) -> Result<usize, RecvError> {
        if let Some(reason) = self.broken {
            return Err(RecvError::Malformed { reason });
        }
        loop {
            match sys::receive(socket, bytes, &mut self.descriptors) {
                Ok((count, true)) => return Ok(count),
                Ok((_, false)) => {
                    self.broken = Some("descriptors that came with a message were lost");
                    return Err(RecvError::DescriptorsLost);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait_for_bytes(socket, wait)?;
                }
                // The peer has closed with messages of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(0),
                Err(error) => return Err(RecvError::System(error)),
            }
        }
    }

    fn arrived<B>(&mut self, head: Head, body: B) -> Arrived<B> {
        self.head = None;
        let mut take = |count: u16| -> Vec<OwnedFd> {
            let count = usize::from(count).min(self.descriptors.len());
            self.descriptors.drain(..count).collect()
        };
        Arrived {
            body,
            segments: take(head.segments),
            descriptors: take(head.descriptors),
        }
    }

    fn cut_off(&self, head: Head) -> RecvError {
        RecvError::Truncated {
            got: self.body.len() as u64,
            of: head.len,
        }
    }

    fn malformed(&mut self, reason: &'static str) -> RecvError {
        self.broken = Some(reason);
        RecvError::Malformed { reason }
    }
}

fn wait_for_bytes(socket: BorrowedFd<'_>, wait: Wait) -> Result<(), RecvError> {
    let deadline = wait.deadline().map_err(|_| RecvError::Empty)?;
    match sys::wait_ready(&[socket], false, deadline) {
        Ok(ready) if ready.contains(&true) => Ok(()),
        Ok(_) => Err(RecvError::Timeout),
        Err(error) => Err(RecvError::System(error)),
    }
}
