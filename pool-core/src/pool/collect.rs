//! Reading the workers' streams into the book.

use super::book::Book;
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
        true
    }

    /// Delivers the whole records in `bytes`; how many bytes are left.
    fn parse(&mut self, slot: usize, mut bytes: &[u8]) -> usize {
        loop {
            match record::take(&mut bytes) {
                Ok(None) => return bytes.len(),
                Ok(Some(record)) => {
                    if !self.deliver(slot, record) {
                        tracing::error!(
                            slot,
                            "a worker sent a result for something that it does not run"
                        );
                        self.places[slot].corrupt = true;
                        return 0;
                    }
                }
                Err(error) => {
                    tracing::error!(slot, %error, "a worker's stream was overwritten");
                    self.places[slot].corrupt = true;
                    return 0;
                }
            }
        }
    }

    /// Puts a record where it belongs. Whether there is such a place.
    fn deliver(&mut self, slot: usize, record: Record<'_>) -> bool {
        if let Record::Heading(target) = record {
            self.places[slot].target = Some(target);
            return self.heading_fits(target);
        }
        match self.places[slot].target {
            Some(Target::Chunk { job, chunk, .. }) => self.deliver_to_job(job, chunk, record),
            Some(Target::Task { id, .. }) => self.deliver_to_task(id, record),
            Some(Target::Initializer) => match record {
                Record::Failed { error, .. } => {
                    self.initializer_failure = Some(error);
                    true
                }
                _ => false,
            },
            None => false,
        }
    }

    /// Results go on where the ones before ended.
    fn heading_fits(&mut self, target: Target) -> bool {
        match target {
            Target::Chunk { job, chunk, first } => self.job(job).is_none_or(|job| {
                let gathered = job
                    .gathered
                    .as_ref()
                    .map(|all| all.get(chunk as usize).map(|chunk| chunk.len() == first));
                gathered.is_none_or(|fits| fits == Some(true))
            }),
            Target::Task { id, first } => self
                .tasks
                .get(&id)
                .is_none_or(|task| task.gathered.len() == first),
            Target::Initializer => true,
        }
    }

    fn deliver_to_job(&mut self, number: u64, chunk: u32, record: Record<'_>) -> bool {
        let Some(job) = self.job(number) else {
            return true;
        }; // nobody wants it any more
        match (&mut job.gathered, record) {
            (Some(all), record) => {
                let limit = job.chunk_len;
                all.get_mut(chunk as usize)
                    .filter(|chunk| chunk.len() < limit)
                    .is_some_and(|chunk| {
                        match record {
                            Record::Item(bytes) => chunk.push(bytes),
                            Record::Failed { error, .. } => chunk.push_error(error),
                            Record::Heading(_) => return false,
                        }
                        true
                    })
            }
            (None, Record::Failed { item, error }) if item < job.items => {
                job.failed.push((item, error));
                true
            }
            _ => false,
        }
    }

    fn deliver_to_task(&mut self, id: u64, record: Record<'_>) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else {
            return true;
        };
        if task.gathered.len() >= task.items {
            return false;
        }
        match record {
            Record::Item(bytes) => task.gathered.push(bytes),
            Record::Failed { error, .. } => task.gathered.push_error(error),
            Record::Heading(_) => return false,
        }
        true
    }
}

/// Decodes an item's result.
pub(crate) fn decode_result<R: crate::task::Sendable>(
    item: Result<&[u8], TaskError>,
) -> Result<R, TaskError> {
    postcard::from_bytes(item?).map_err(|error| TaskError::DecodeResult {
        message: error.to_string(),
    })
}
