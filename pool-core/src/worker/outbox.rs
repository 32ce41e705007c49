//! A worker's way back to the pool: records into its ring, and the segments that must stay until the pool has taken over.

use pool_shm::transfer::{self, Exports};
use serde::Serialize;

use crate::atomic::Ordering;
use crate::dispatch::control::{Control, Report};
use crate::dispatch::record::{HEAD, Kind, Target, head};
use crate::error::TaskError;
use crate::sys;

/// What a worker sends by, and keeps for what it has sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    scratch: Vec<u8>,
    reserved: bool,
    /// The pool was told that the ring is half full.
    told: bool,
    /// Exported segments, each with the position in the stream up to which the pool must have read.
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

    /// Encodes a result; it stays in the scratch memory until it is sent or taken.
    pub(crate) fn encode<R: Serialize>(&mut self, result: &R) -> Result<Encoded, TaskError> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(&[0; HEAD]);
        let (encoded, exports) = transfer::export(|| postcard::to_extend(result, bytes));
        let bytes = encoded.map_err(|error| TaskError::EncodeResult {
            message: error.to_string(),
        })?;
        Ok(Encoded { bytes, exports })
    }

    /// Sends an encoded result.
    pub(crate) fn item(&mut self, link: &Link<'_>, mut encoded: Encoded) {
        let head = head(Kind::Item, encoded.bytes.len() - HEAD);
        encoded.bytes[..HEAD].copy_from_slice(&head);
        self.send(link, &encoded.bytes);
        self.keep(link, encoded.exports);
        self.scratch = encoded.bytes;
    }

    /// Takes the memory of an encoded result back that went another way.
    pub(crate) fn recycle(&mut self, encoded: Encoded) {
        self.scratch = encoded.bytes;
    }

    fn record<T: Serialize>(
        &mut self,
        link: &Link<'_>,
        kind: Kind,
        payload: &T,
    ) -> Result<(), postcard::Error> {
        let payload = postcard::to_stdvec(payload)?;
        let bytes = [&head(kind, payload.len())[..], &payload].concat();
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
        let mut writer = link.control.stream_writer(link.slot);
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

    fn keep(&mut self, link: &Link<'_>, exports: Exports) {
        if !exports.is_empty() {
            self.purge(link);
            let position = link
                .control
                .slot(link.slot)
                .stream
                .tail
                .load(Ordering::Relaxed);
            self.kept.push((position, exports));
        }
    }

    /// Lets go of the segments that the pool has taken over.
    pub(crate) fn purge(&mut self, link: &Link<'_>) {
        if !self.kept.is_empty() {
            let read = link
                .control
                .slot(link.slot)
                .stream
                .head
                .load(Ordering::Acquire);
            self.kept.retain(|(position, _)| *position > read);
        }
    }
}

/// An encoded result, behind room for the head of its record.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    exports: Exports,
}

impl Encoded {
    /// The result itself.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[HEAD..]
    }

    /// Whether it names segments of this process.
    pub(crate) fn has_exports(&self) -> bool {
        !self.exports.is_empty()
    }
}

/// What ties a worker to its pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slot: usize,
    pub(crate) report: &'a Report,
    pub(crate) kick: Option<std::os::fd::BorrowedFd<'a>>,
}

impl Link<'_> {
    /// Tells the pool's watcher to look, for when no caller waits.
    pub(crate) fn kick(&self) {
        if let Some(fd) = self.kick {
            sys::eventfd_kick(fd);
        }
    }
}
