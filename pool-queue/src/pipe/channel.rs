//! One end of a connection, whatever goes through it.

use super::errors::{RecvError, SendError};
use super::frame::Head;
use super::incoming::{Arrived, Incoming};
use super::outgoing::{Letter, Outgoing};
use crate::queue::{Message, encode, from_bytes, with_buffer};
use crate::sys;
use crate::wait::Wait;
use pool_shm::transfer;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One end. Both halves may be used at once; each of them by one thread at a time, others wait for it.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) socket: Arc<OwnedFd>,
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

impl Channel {
    pub(super) fn new(socket: OwnedFd, ahead: Vec<u8>) -> Self {
        Self {
            socket: Arc::new(socket),
            outgoing: Mutex::default(),
            incoming: Mutex::new(Incoming::with(ahead)),
        }
    }

    pub(super) fn send<T: Message>(
        &self,
        value: T,
        descriptors: &[BorrowedFd<'_>],
        wait: Wait,
    ) -> Result<(), SendError<T>> {
        let outcome = with_buffer(|buffer| {
            let encoded = encode(&value, buffer, None).map_err(|error| SendError::Encode {
                value: (),
                reason: error.to_string(),
            })?;
            let mut all: Vec<BorrowedFd<'_>> = encoded.exports.descriptors().collect();
            let segments = all.len();
            all.extend_from_slice(descriptors);
            self.send_letter(encoded.body(), (false, segments), &all, wait)
        });
        outcome.map_err(|error: SendError<()>| error.map(|()| value))
    }

    pub(super) fn send_bytes(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wait: Wait,
    ) -> Result<(), SendError<()>> {
        self.send_letter(bytes, (true, 0), descriptors, wait)
    }

    pub(super) fn flush(&self, wait: Wait) -> Result<(), SendError<()>> {
        lock(&self.outgoing).flush(self.socket.as_fd(), wait)
    }

    /// A value, and the descriptors that were sent with it.
    pub(super) fn recv<T: Message>(&self, wait: Wait) -> Result<(T, Vec<OwnedFd>), RecvError> {
        let arrived = self.arrival(false, wait)?;
        // What is no segment is refused when the value is decoded, with a better error.
        let held = transfer::hold_received(arrived.segments);
        let value = from_bytes(&arrived.body);
        drop(held);
        Ok((value?, arrived.descriptors))
    }

    pub(super) fn recv_bytes(&self, wait: Wait) -> Result<(Vec<u8>, Vec<OwnedFd>), RecvError> {
        let arrived = self.arrival(true, wait)?;
        Ok((arrived.body, arrived.descriptors))
    }

    pub(super) fn recv_into(&self, buffer: &mut [u8], wait: Wait) -> Result<usize, RecvError> {
        let mut incoming = lock(&self.incoming);
        let arrived = incoming.receive_into(self.socket.as_fd(), buffer, wait)?;
        Ok(arrived.body)
    }

    /// Whether something can be read without waiting: a message that has begun to come, or the end of file.
    pub(super) fn poll(&self, wait: Wait) -> Result<bool, RecvError> {
        if lock(&self.incoming).has_bytes() {
            return Ok(true);
        }
        let now = |_| Some(std::time::Instant::now());
        let deadline = wait.deadline().unwrap_or_else(now);
        let ready = sys::wait_ready(&[self.socket.as_fd()], false, deadline);
        Ok(ready.map_err(RecvError::System)?.contains(&true))
    }

    /// Whether bytes were read ahead.
    pub(super) fn has_bytes(&self) -> bool {
        lock(&self.incoming).has_bytes()
    }

    /// What was read ahead; `None` if a message is on its way, in parts or with descriptors.
    pub(super) fn at_rest(&self) -> Option<Vec<u8>> {
        let incoming = lock(&self.incoming);
        let ahead = incoming.only_bytes()?;
        lock(&self.outgoing).is_empty().then(|| ahead.to_vec())
    }

    fn arrival(&self, raw: bool, wait: Wait) -> Result<Arrived<Vec<u8>>, RecvError> {
        lock(&self.incoming).receive(self.socket.as_fd(), raw, wait)
    }

    fn send_letter(
        &self,
        body: &[u8],
        (raw, segments): (bool, usize),
        descriptors: &[BorrowedFd<'_>],
        wait: Wait,
    ) -> Result<(), SendError<()>> {
        let (count, most) = (descriptors.len(), sys::MOST_DESCRIPTORS);
        let too_many = SendError::TooManyDescriptors {
            value: (),
            count,
            most,
        };
        let part = |count: usize| u16::try_from(count).ok();
        let Some((segments, others)) = part(segments)
            .zip(part(count - segments))
            .filter(|_| count <= most)
        else {
            return Err(too_many);
        };
        let head = Head {
            len: body.len() as u64,
            raw,
            segments,
            descriptors: others,
        };
        let letter = Letter {
            head,
            body,
            descriptors,
        };
        lock(&self.outgoing).send(self.socket.as_fd(), letter, wait)
    }
}

fn lock<T>(half: &Mutex<T>) -> MutexGuard<'_, T> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}
