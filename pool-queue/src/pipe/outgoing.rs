//! The sending half of an end.

use super::errors::SendError;
use super::frame::{HEAD, Head};
use crate::sys;
use crate::wait::Wait;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;

/// What could not be sent yet of the last message.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    rest: Vec<u8>,
    sent: usize,
}

/// A message that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) head: Head,
    pub(super) body: &'a [u8],
    pub(super) descriptors: &'a [BorrowedFd<'a>],
}

impl Outgoing {
    /// Whether all is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Sends what is left of an earlier message, then this one.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        letter: Letter<'_>,
        wait: Wait,
    ) -> Result<(), SendError<()>> {
        self.flush(socket, wait)?;
        let head = letter.head.to_bytes();
        let total = HEAD + letter.body.len();
        let mut sent = 0;
        while sent < total {
            let parts = [
                IoSlice::new(head.get(sent..).unwrap_or_default()),
                IoSlice::new(
                    letter
                        .body
                        .get(sent.saturating_sub(HEAD)..)
                        .unwrap_or_default(),
                ),
            ];
            let descriptors = if sent == 0 { letter.descriptors } else { &[] };
            match sys::send(socket, &parts, descriptors) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Err(refused) = wait_for_room(socket, wait) {
                        return Err(self.keep(&head, letter.body, sent, refused));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Sends what is left of an earlier message.
    pub(super) fn flush(
        &mut self,
        socket: BorrowedFd<'_>,
        wait: Wait,
    ) -> Result<(), SendError<()>> {
        while self.sent < self.rest.len() {
            match sys::send(socket, &[IoSlice::new(&self.rest[self.sent..])], &[]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait_for_room(socket, wait)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        *self = Self::default();
        Ok(())
    }

    fn keep(
        &mut self,
        head: &[u8],
        body: &[u8],
        sent: usize,
        refused: SendError<()>,
    ) -> SendError<()> {
        if sent == 0 {
            return refused;
        }
        self.rest = head.iter().chain(body).skip(sent).copied().collect();
        SendError::Begun
    }
}

fn wait_for_room(socket: BorrowedFd<'_>, wait: Wait) -> Result<(), SendError<()>> {
    let deadline = wait.deadline().map_err(|_| SendError::Full(()))?;
    match sys::wait_ready(&[socket], true, deadline) {
        Ok(ready) if ready.contains(&true) => Ok(()),
        Ok(_) => Err(SendError::Timeout(())),
        Err(source) => Err(SendError::System { value: (), source }),
    }
}

fn failed(error: io::Error) -> SendError<()> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => {
            SendError::Closed(())
        }
        _ => SendError::System {
            value: (),
            source: error,
        },
    }
}
