//! Reading the workers' streams into the book.

use pool_shm::transfer;

use super::book::{Book, Gathered, JobBook, Outcome, TaskBook};
use crate::atomic::Ordering;
use crate::codec;
use crate::dispatch::control::Control;
use crate::dispatch::record::{self, Record, Target};
use crate::error::TaskError;
use crate::sys;

impl Book {
    /// Reads everything that the workers have published. Whether there was anything.
    pub(crate) fn drain_all(&mut self, control: &Control) -> bool {
        (0..self.places.len()).fold(false, |any, slot| self.drain(control, slot) | any)
    }

    /// Reads what the worker in `slot` has published. A stream that makes no sense marks its worker as corrupt.
    pub(crate) fn drain(&mut self, control: &Control, slot: usize) -> bool {
        let reader = control.stream_reader(slot);
        if !reader.has_bytes() || self.places[slot].corrupt {
            return false;
        }
        let mut pending = std::mem::take(&mut self.places[slot].pending);
        match reader.read(&mut pending) {
            Ok(true) => sys::futex_wake(reader.room(), 1),
            Ok(false) => {}
            Err(corrupt) => {
                tracing::error!(
                    slot,
                    ?corrupt,
                    "the positions of a worker's stream were overwritten"
                );
                self.places[slot].corrupt = true;
            }
        }
        let left = self.parse(slot, &pending);
        let read = pending.len() - left;
        pending.drain(..read);
        self.places[slot].pending = pending;
        let place = control.slot(slot);
        let taken_over = place
            .stream
            .head
            .load(Ordering::Relaxed)
            .wrapping_sub(left as u64);
        place.taken_over.store(taken_over, Ordering::Release); // SYNC: taken-over
        true
    }

    /// Delivers the whole records in `bytes`; how many bytes are left.
    fn parse(&mut self, slot: usize, mut bytes: &[u8]) -> usize {
        while !self.places[slot].corrupt {
            let before = bytes;
            match record::take(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Record::Heading(target))) => self.head(slot, target),
                Ok(Some(record)) => {
                    let target = self.places[slot].target;
                    let of_task =
                        matches!(target, Some(Target::Chunk { .. } | Target::Task { .. }));
                    if of_task && matches!(record, Record::Failed { .. }) {
                        self.crew.counts.failed += 1;
                    }
                    if matches!(record, Record::Item(_)) {
                        bytes = before; // it is taken together with those that follow it
                    }
                    if !self.inbox(slot, target).take(record, &mut bytes) {
                        tracing::error!(
                            slot,
                            ?target,
                            "a worker sent a result for something that it does not run"
                        );
                        self.places[slot].corrupt = true;
                    }
                }
                Err(error) => {
                    tracing::error!(slot, %error, "a worker's stream was overwritten");
                    self.places[slot].corrupt = true;
                }
            }
        }
        bytes.len()
    }

    /// What follows belongs to `target`, and begins where that says: if a word was overwritten by which its worker has claimed it, not
    /// where it should.
    fn head(&mut self, slot: usize, target: Target) {
        self.places[slot].target = Some(target);
        let begins_well = match target {
            Target::Chunk { job, chunk, first } => {
                let job = self.job(job);
                job.is_none_or(|job| job.begin(chunk, first))
            }
            Target::Task { id, first } => {
                let task = self.tasks.get_mut(&id);
                task.is_none_or(|task| task.begin(first))
            }
            Target::Initializer | Target::ExitHook => true,
        };
        if !begins_well {
            tracing::error!(slot, ?target, "a worker began what was run already");
            self.places[slot].corrupt = true;
        }
    }

    /// Where records under this heading belong.
    fn inbox(&mut self, slot: usize, target: Option<Target>) -> Inbox<'_> {
        match target {
            Some(Target::Chunk { job, chunk, .. }) => match self.job(job) {
                None => Inbox::Nobody,
                Some(JobBook {
                    gathered: Some(all),
                    cut,
                    ..
                }) => all
                    .get_mut(chunk as usize)
                    .map_or(Inbox::Nowhere, |gathered| {
                        Inbox::Items(gathered, cut.range(chunk).len() as u32)
                    }),
                Some(JobBook { failed, items, .. }) => Inbox::Errors(failed, *items),
            },
            Some(Target::Task { id, .. }) => match self.tasks.get_mut(&id) {
                None => Inbox::Nobody,
                Some(TaskBook {
                    outcome: Outcome::Streamed(gathered),
                    items,
                    ..
                }) => Inbox::Items(gathered, *items),
                Some(TaskBook {
                    outcome: Outcome::InPlace { failed, .. },
                    items,
                    ..
                }) => Inbox::Errors(failed, *items),
            },
            Some(Target::Initializer) => Inbox::Initializer(&mut self.initializer_failure),
            Some(Target::ExitHook) => Inbox::Items(&mut self.places[slot].post.farewell, 1),
            None => Inbox::Nowhere,
        }
    }
}

/// What takes the records under one heading.
enum Inbox<'a> {
    /// Results and errors, one after the other, at most so many.
    Items(&'a mut Gathered, u32),
    /// Errors of items below a number.
    Errors(&'a mut Vec<(u32, TaskError)>, u32),
    Initializer(&'a mut Option<TaskError>),
    /// It is of no interest any more.
    Nobody,
    /// There never was such a thing.
    Nowhere,
}

impl Inbox<'_> {
    /// Takes a record, behind which `rest` begins; if it is a result, `rest` begins with it, and what follows of its kind is taken too.
    /// Whether it belongs here.
    fn take(self, record: Record<'_>, rest: &mut &[u8]) -> bool {
        match (self, record) {
            (Inbox::Items(items, limit), record) => take_items(items, limit, record, rest),
            (Inbox::Nobody, Record::Item(_)) => record::take_item(rest).is_some(),
            (Inbox::Errors(errors, items), Record::Failed { item, error }) if item < items => {
                errors.push((item, error));
                true
            }
            (Inbox::Initializer(failure), Record::Failed { error, .. }) => {
                *failure = Some(error);
                true
            }
            (Inbox::Nobody, _) => true,
            _ => false,
        }
    }
}

fn take_items(items: &mut Gathered, limit: u32, record: Record<'_>, rest: &mut &[u8]) -> bool {
    let is_full = items.len() >= limit;
    match record {
        Record::Kept(handles) => {
            // If the worker is dead already its segments are gone: decoding the results will say so.
            let held = transfer::hold(&handles);
            held.map_or_else(
                |error| tracing::warn!(%error, "a result's segment is gone"),
                |held| items.hold(held),
            );
            true
        }
        Record::Item(_) if !is_full => {
            items.take(rest, limit - items.len());
            true
        }
        Record::Failed { error, .. } if !is_full => {
            items.push_error(error);
            true
        }
        _ => false,
    }
}

/// The error of an item whose worker's word says that it is done, without a result.
pub(crate) fn no_result() -> TaskError {
    TaskError::DecodeResult {
        message: "the worker said that it was done but sent no result: its memory was overwritten"
            .to_owned(),
    }
}

/// Decodes an item's result.
pub(crate) fn decode_result<R: crate::task::Sendable>(
    item: Result<&[u8], TaskError>,
) -> Result<R, TaskError> {
    codec::read(item?).map_err(|message| TaskError::DecodeResult { message })
}

/// For the fuzz target: any bytes as the stream of a worker, for something that takes results and for something that takes errors.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    const LIMIT: u32 = 5;
    let mut rest = bytes;
    let (mut items, mut errors, mut initializer) = (Gathered::default(), Vec::new(), None);
    loop {
        let whole = rest;
        let Ok(Some(record)) = record::take(&mut rest) else {
            break;
        };
        let before = rest.len();
        if matches!(record, Record::Item(_)) {
            rest = whole;
        }
        let inbox = match (&record, before % 3) {
            (Record::Failed { .. }, 0) => Inbox::Errors(&mut errors, LIMIT),
            (Record::Failed { .. }, 1) => Inbox::Initializer(&mut initializer),
            _ => Inbox::Items(&mut items, LIMIT),
        };
        if !inbox.take(record, &mut rest) {
            break;
        }
        assert!(rest.len() <= before && items.len() <= LIMIT);
        assert!(errors.iter().all(|(item, _)| *item < LIMIT));
    }
    let count = items.len();
    let mut given = 0;
    items.drain(|item| {
        given += 1;
        let _ = decode_result::<Vec<String>>(item);
    });
    assert_eq!(given, count);
}
