//! The audit: whether what a caller waits for can still come, though shared words may have been overwritten.
//!
//! A word that a task has overwritten through an invalid pointer can hide work from the workers, and then nobody would ever end the
//! wait. So a wait that lasts longer than a second asks, while no worker runs anything, every worker to say that it has looked at all
//! there is, twice ([`Orders::flush`](crate::dispatch::control::Orders::flush): a worker answers between two looks). If all have and
//! nothing has changed, the words are wrong, and the pool ends with an error. A worker that is stopped does not answer, so time alone is
//! never taken for damage.

use std::time::{Duration, Instant};

use super::book::Place;
use super::core::Core;
use super::crew::Station;
use crate::atomic::Ordering;
use crate::error::PoolError;

/// How long a wait goes on before it is looked at.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one waiting caller has found out so far.
#[derive(Debug)]
pub(super) struct Audit {
    looked: Instant,
    question: Option<Question>,
}

/// What the workers were asked.
#[derive(Debug)]
struct Question {
    asked: u32,
    /// They have answered once already.
    is_second: bool,
    progress: u64,
    lives: u64,
}

impl Audit {
    pub(super) fn new() -> Audit {
        Audit {
            looked: Instant::now(),
            question: None,
        }
    }

    /// How long to wait before [`Core::audit`] is called, if `left` is left.
    pub(super) fn limit(left: Option<Duration>) -> Option<Duration> {
        Some(left.map_or(PATIENCE, |left| left.min(PATIENCE)))
    }
}

impl Core {
    /// Called by a caller that has waited, with the book unlocked. `progress` is a number that changes whenever what is waited for has
    /// come nearer; `offer` sets hints in shared memory right.
    pub(super) fn audit(&self, audit: &mut Audit, progress: u64, offer: impl FnOnce()) {
        if audit.looked.elapsed() < PATIENCE {
            return;
        }
        audit.looked = Instant::now();
        let Some(lives) = self.lives_if_idle() else {
            audit.question = None;
            return;
        };
        match &mut audit.question {
            Some(question) if (question.progress, question.lives) == (progress, lives) => {
                if !self.all_answered(question.asked) {
                    return;
                }
                if question.is_second {
                    tracing::error!("idle workers find nothing to do, but a call is not complete");
                    self.report_damage();
                } else {
                    question.is_second = true;
                    question.asked = self.request_flush();
                }
            }
            _ => {
                offer();
                audit.question = Some(Question {
                    asked: self.request_flush(),
                    is_second: false,
                    progress,
                    lives,
                });
            }
        }
    }

    /// Shared words make no sense: the watcher ends the pool.
    pub(super) fn report_damage(&self) {
        self.control.header().distress.store(1, Ordering::Release);
        self.kick();
    }

    /// The same; waits until no worker lives, since one may still write what the caller has lent. What is wrong with the pool.
    pub(super) fn await_damage(&self) -> PoolError {
        self.report_damage();
        self.wait(None, || self.book().buried, || ());
        let failure = self.book().failure.clone();
        failure.expect("a pool is buried with a cause").error()
    }

    /// A number that changes with every death and every start, if there are workers, none runs anything, and none is about to leave or to
    /// take another one's place, since such a one claims nothing.
    fn lives_if_idle(&self) -> Option<u64> {
        let book = self.book();
        let mut living = book
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.alive)
            .peekable();
        living.peek()?;
        let is_idle = |slot: usize| {
            let report = &self.control.slot(slot).report;
            let begun = report.item.load(Ordering::Acquire) % 2 == 1; // SYNC: item-begun
            !begun && report.joined.load(Ordering::Acquire) == 0
        };
        let serves = |place: &Place| place.ready && place.post.station == Station::Serving;
        let all_idle = living.all(|(slot, place)| serves(place) && is_idle(slot));
        let lives = book
            .places
            .iter()
            .map(|place| u64::from(place.generation) * 2 + u64::from(place.alive));
        all_idle.then(|| lives.sum())
    }

    fn all_answered(&self, asked: u32) -> bool {
        let book = self.book();
        let mut living = book
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.alive);
        living.all(|(slot, _)| {
            let report = &self.control.slot(slot).report;
            let done = report.flushed.load(Ordering::Acquire); // SYNC: flush-done
            done.wrapping_sub(asked) as i32 >= 0
        })
    }

    /// Lets workers look at all entries of the table again: the place to begin at is a hint.
    pub(super) fn offer_tasks_again(&self) {
        self.control.tasks().head.store(0, Ordering::Relaxed);
    }

    /// What changes when one of these tasks comes nearer to its end.
    pub(super) fn nearness_of(&self, ids: &[u64]) -> u64 {
        let book = self.book();
        let table = self.control.tasks();
        let of_task = |id: &u64| {
            let entry = book.tasks.get(id).and_then(|task| task.entry);
            entry.map_or(0, |entry| {
                (entry as u64 + 1) << 32 | u64::from(table.word(entry).bits())
            })
        };
        let published = book.next_position;
        ids.iter().map(of_task).fold(published, |sum, word| {
            sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(word)
        })
    }
}
