//! Deadlines: who is late, and when the watcher has to look next.
//!
//! A worker stores in its slot when the item that it runs will be late ([`Clock`](crate::dispatch::clock::Clock)), and nobody
//! is woken for it. While anything with a deadline is under way the watcher wakes when the next item can be late: at the
//! earliest time in a slot, or, for items that begin only now, after the shortest deadline. Without deadlines it sleeps as long
//! as nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::Book;
use super::core::Core;
use crate::dispatch::clock::Verdict;
use crate::sys;

/// The watcher does not look more often than this.
const LEAST: Duration = Duration::from_millis(1);

/// The deadlines of what is under way.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// How many jobs and tasks have this one.
    under_way: BTreeMap<Duration, usize>,
    /// What the watcher knows to be the shortest.
    watched: Option<Duration>,
}

impl Limits {
    /// Something with this deadline begins. Whether the watcher has to be told.
    #[must_use]
    pub(super) fn add(&mut self, limit: Option<Duration>) -> bool {
        let Some(limit) = limit else { return false };
        *self.under_way.entry(limit).or_default() += 1;
        let tell = self.watched.is_none_or(|watched| limit < watched);
        if tell {
            self.watched = Some(limit);
        }
        tell
    }

    /// It has ended.
    pub(super) fn remove(&mut self, limit: Option<Duration>) {
        if let Some(limit) = limit
            && let Some(count) = self.under_way.get_mut(&limit)
        {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&limit);
            }
        }
    }

    fn watch(&mut self) -> Option<Duration> {
        self.watched = self.under_way.keys().next().copied();
        self.watched
    }
}

/// A deadline as it is written to shared memory: in nanoseconds, 0 for none.
pub(super) fn nanos(limit: Option<Duration>) -> u64 {
    limit.map_or(0, |limit| {
        u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1)
    })
}

impl Core {
    /// Watcher: condemns every worker whose item is late; how long to wait until it has to look again.
    pub(super) fn judge(&self, book: &mut Book) -> Option<Duration> {
        let mut wait = book.limits.watch()?;
        let now = sys::now_nanos();
        let places = book.places.iter_mut().enumerate();
        for (slot, place) in places.filter(|(_, place)| place.alive) {
            match self.control.slot(slot).report.clock.judge(now) {
                Verdict::Idle => {}
                Verdict::Due(due) => wait = wait.min(Duration::from_nanos(due - now)),
                Verdict::Late => place.is_late = true,
            }
        }
        Some(wait.max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watcher_is_told_of_a_shorter_deadline_only() {
        let [long, short] = [5, 2].map(|seconds| Some(Duration::from_secs(seconds)));
        let mut limits = Limits::default();
        assert!(!limits.add(None));
        assert_eq!(limits.watch(), None);
        assert!(limits.add(long) && !limits.add(long));
        assert!(limits.add(short) && !limits.add(long));
        assert_eq!(limits.watch(), short);
        limits.remove(short);
        // It looks once more after the short one, and no sooner: it need not be told of another one.
        assert!(!limits.add(short));
        limits.remove(short);
        assert_eq!(limits.watch(), long);
        (0..3).for_each(|_| limits.remove(long));
        assert_eq!(limits.watch(), None);
    }

    #[test]
    fn a_deadline_is_never_written_as_none() {
        assert_eq!(nanos(None), 0);
        assert_eq!(nanos(Some(Duration::MAX)), u64::MAX);
        assert_eq!(nanos(Some(Duration::from_micros(3))), 3000);
    }
}
