//! A worker's way back to the pool: records into its ring, and the segments that must stay until the pool has taken over.

use std::os::fd::BorrowedFd;

use pool_shm::transfer::Exports;
use serde::Serialize;

use crate::atomic::Ordering;
use crate::codec;
use crate::dispatch::control::{Control, Report, Ring};
use crate::dispatch::record::{HEAD, Kind, Target, head};
use crate::dispatch::stream::{StreamWords, StreamWriter};
use crate::error::TaskError;
use crate::sys;

/// What a worker sends by, and keeps for what it has sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    scratch: Vec<u8>,
    reserved: bool,
    /// The pool was told that the ring is half full.
    told: bool,
    /// Exported segments, each with the position in the stream up to which the pool must have taken over.
    kept: Vec<(u64, Exports)>,
}

impl Outbox {
    /// Sends the record that the following ones belong to.
    pub(crate) fn heading(&mut self, link: &Link<'_>, target: Target) {
        self.record(link, Kind::Heading, &target)
            .expect("a heading can be encoded");
    }

    /// Sends that an item has no result.
    pub(crate) fn failed(&mut self, link: &Link<'_>, item: u32, error: &TaskError) {
        self.record(link, Kind::Failed, &(item, error))
            .expect("an error can be encoded");
        link.control.signal_event(); // a call that fails fast wants to know
    }

    /// Encodes a result, behind room for the head of its record.
    pub(crate) fn encode<R: Serialize>(&mut self, result: &R) -> Result<Encoded, TaskError> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(&[0; HEAD]);
        match codec::append(result, &mut bytes) {
            Ok(()) => Ok(Encoded(bytes)),
            Err(message) => Err(TaskError::EncodeResult { message }),
        }
    }

    /// Sends an encoded result.
    pub(crate) fn item(&mut self, link: &Link<'_>, Encoded(mut bytes): Encoded) {
        let head = head(Kind::Item, bytes.len() - HEAD);
        bytes[..HEAD].copy_from_slice(&head);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.send(link, &bytes);
        self.scratch = bytes;
    }

    /// Takes the memory of an encoded result back that went another way.
    pub(crate) fn recycle(&mut self, Encoded(bytes): Encoded) {
        self.scratch = bytes;
    }

    fn record<T: Serialize>(
        &mut self,
        link: &Link<'_>,
        kind: Kind,
        payload: &T,
    ) -> Result<(), String> {
        let mut bytes = vec![0; HEAD];
        codec::append(payload, &mut bytes)?;
        let head = head(kind, bytes.len() - HEAD);
        bytes[..HEAD].copy_from_slice(&head);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.send(link, &bytes);
        Ok(())
    }

    fn send(&mut self, link: &Link<'_>, mut bytes: &[u8]) {
        if !self.reserved {
            // Without memory behind it the ring cannot be used at all; the pool sees the death and its cause.
            link.control
                .reserve_ring(link.slot)
                .unwrap_or_else(|error| panic!("no memory for a worker's results: {error}"));
            self.reserved = true;
        }
        let mut writer = StreamWriter::new(link.stream, link.ring);
        loop {
            let written = writer.write(bytes);
            bytes = &bytes[written..];
            let half_full = writer.is_half_full();
            if half_full && !self.told {
                link.control.signal_event(); // it can read while we go on
            }
            self.told = half_full;
            if bytes.is_empty() {
                return;
            }
            if let Some(seen) = writer.announce_starved() {
                link.control.signal_event();
                link.kick();
                sys::futex_wait(writer.room(), seen, None);
            }
        }
    }

    /// Tells the pool of the segments that the results under the last heading name, and keeps them until it has them.
    pub(crate) fn keep(&mut self, link: &Link<'_>, exports: Exports) {
        self.purge(link);
        self.record(link, Kind::Kept, &exports.handles())
            .expect("handles can be encoded");
        let position = link.stream.tail.load(Ordering::Relaxed);
        self.kept.push((position, exports));
    }

    /// Whether the pool has all segments that were sent.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.kept.is_empty()
    }

    /// Lets go of the segments that the pool has taken over.
    pub(crate) fn purge(&mut self, link: &Link<'_>) {
        if !self.kept.is_empty() {
            let place = link.control.slot(link.slot);
            let taken_over = place.taken_over.load(Ordering::Acquire); // SYNC: taken-over
            self.kept.retain(|(position, _)| *position > taken_over);
        }
    }
}

/// An encoded result, behind room for the head of its record.
#[derive(Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    /// The result itself.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.0[HEAD..]
    }
}

/// What ties a worker to its pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slot: usize,
    pub(crate) report: &'a Report,
    pub(crate) stream: &'a StreamWords,
    pub(crate) ring: Ring<'a>,
    pub(crate) kick: Option<BorrowedFd<'a>>,
}

impl<'a> Link<'a> {
    /// The tie of the worker in `slot`.
    pub(crate) fn new(control: &'a Control, slot: usize, kick: Option<BorrowedFd<'a>>) -> Link<'a> {
        let place = control.slot(slot);
        Link {
            control,
            slot,
            report: &place.report,
            stream: &place.stream,
            ring: control.ring(slot),
            kick,
        }
    }

    /// Tells the pool's watcher to look, for when no caller waits.
    pub(crate) fn kick(&self) {
        if let Some(fd) = self.kick {
            sys::eventfd_kick(fd);
        }
    }
}
