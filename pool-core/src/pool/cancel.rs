//! Cancelling a task that runs: its worker is killed, and it alone.
//!
//! The entry's word decides who was first: the worker that marks the task as done, or the pool that takes it away
//! ([`TaskTable::revoke`](crate::dispatch::tasks::TaskTable::revoke)). A worker whose task was taken away does nothing else
//! before it is killed, so no other task is hit.

use super::book::{Book, Gathered, Outcome};
use super::core::Core;
use super::follow::resolve;
use crate::dispatch::word::{ClaimWord, Owner};
use crate::error::{PoolError, PoolErrorKind, TaskError};

impl Core {
    /// Cancels a task whether it runs or not. Whether its result is that it was cancelled; it has ended otherwise.
    pub(super) fn cancel_task_now(&self, id: u64) -> Result<bool, PoolError> {
        let mut book = self.book();
        if self.cancel_pending(&mut book, id) {
            self.unlock(book);
            return Ok(true);
        }
        let Some(task) = book.tasks.get(&id).filter(|task| !task.done) else {
            return Ok(false);
        };
        let table = self.control.tasks();
        let Some((entry, ClaimWord::Claimed(owner))) =
            task.entry.map(|entry| (entry, table.word(entry)))
        else {
            // Done, but not taken over yet; or taken away before.
            let revoked = task.entry.map(|entry| table.word(entry)) == Some(ClaimWord::Revoked);
            return Ok(revoked);
        };
        if !self.has_processes() {
            return Err(PoolErrorKind::NotKillable.into());
        }
        // An owner that is no worker of this pool was written by something else: the task cannot be taken from anybody.
        let Some(place) = book
            .places
            .get_mut(owner.slot())
            .filter(|place| owner == Owner::new(owner.slot(), place.generation))
        else {
            return Ok(false);
        };
        let revoked = table.revoke(entry, owner);
        if revoked {
            place.revoked = Some(entry);
            drop(book);
            self.kick(); // the watcher kills the worker
        }
        Ok(revoked)
    }

    /// The worker in `slot` is dead; if it was killed because its task was cancelled, that one is settled here.
    pub(super) fn settle_revoked(&self, book: &mut Book, slot: usize) {
        let Some(entry) = book.places[slot].revoked.take() else {
            return;
        };
        self.control.tasks().vacate(entry);
        let Some(id) = book.entries.remove(&entry) else {
            return;
        };
        if let Some(task) = book.tasks.get_mut(&id) {
            task.entry = None;
            // What it may have sent before it was killed does not count.
            task.outcome = Outcome::Streamed(Gathered::default());
            resolve(task, TaskError::Cancelled);
            self.note_done(book, id);
        }
    }
}
