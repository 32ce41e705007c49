//! What the pool does by the clock: limits for hooks, and workers that leave because they have nothing to do.

use std::time::{Duration, Instant};

use super::book::Book;
use super::core::Core;
use super::crew::Station;
use super::watch::Watcher;
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::dispatch::word::ClaimWord;
use crate::error::Hook;

/// How long an exit hook may take if the builder does not say.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The options that have to do with time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) initializer_timeout: Option<Duration>,
    pub(crate) exit_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    /// How many workers stay though they have nothing to do.
    pub(crate) min_workers: usize,
}

impl Pace {
    /// How long a hook may take.
    pub(super) fn limit(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Initializer => self.initializer_timeout.unwrap_or(Duration::MAX),
            Hook::ExitHook => self.exit_timeout.unwrap_or(EXIT_TIMEOUT),
        }
    }

    /// Brings workers back for which there is work, and lets others go that have had none for long enough. Work is offered under
    /// the lock of the book as well, so either it is seen here, or whoever offers it sees who is away.
    pub(super) fn balance(&self, core: &Core, book: &mut Book) {
        let Some(timeout) = self.idle_timeout else {
            return;
        };
        let demand = demand(core, book);
        let target = book.crew.target;
        book.crew.away.retain(|worker| *worker < target);
        let mut present = target - book.crew.away.len();
        while present < demand.max(self.min_workers)
            && let Some(worker) = book.crew.away.pop_first()
        {
            tracing::debug!(worker, "a worker comes back, because there is work");
            present += 1;
        }
        let now = Instant::now();
        let mut leave = Vec::new();
        for (slot, place) in book.places.iter_mut().enumerate() {
            let is_idle = place.alive
                && place.ready
                && place.post.station == Station::Serving
                && core.control.bell().is_asleep(slot);
            if !is_idle {
                place.post.idle = None;
                continue;
            }
            let done = core
                .control
                .slot(slot)
                .report
                .tasks_done
                .load(Ordering::Relaxed);
            match place.post.idle {
                Some((since, before)) if before == done => {
                    if now.duration_since(since) >= timeout {
                        leave.push(place.post.worker);
                    }
                }
                _ => place.post.idle = Some((now, done)),
            }
        }
        leave.sort_unstable();
        while present > self.min_workers.max(demand)
            && let Some(worker) = leave.pop()
        {
            book.crew.away.insert(worker);
            present -= 1;
        }
    }

    /// When to look again whether a worker has been idle for long enough; none if no more may leave.
    fn next_look(&self, book: &Book, now: Instant) -> Option<Duration> {
        let timeout = self.idle_timeout?;
        if book.crew.target - book.crew.away.len() <= self.min_workers {
            return None;
        }
        let looks = book.places.iter().filter_map(|place| {
            let (since, _) = place.post.idle?;
            Some((since + timeout).saturating_duration_since(now))
        });
        // One that works now is looked at in a while.
        let shortest = Duration::from_millis(1);
        looks.chain([timeout]).min().map(|wait| wait.max(shortest))
    }
}

/// How many workers could be at work now: chunks and tasks that are not done.
fn demand(core: &Core, book: &Book) -> usize {
    let chunks: usize = book
        .jobs
        .iter()
        .enumerate()
        .filter_map(|(place, job)| Some((place, job.as_ref()?)))
        .map(|(place, job)| {
            let done = core.table_of(place, job).completed();
            job.chunks.saturating_sub(done) as usize
        })
        .sum();
    let table = core.control.tasks();
    let tasks = book.entries.keys();
    let tasks = tasks.filter(|entry| !matches!(table.word(**entry), ClaimWord::Done(_)));
    chunks + tasks.count() + book.backlog.len()
}

impl Watcher {
    /// How long nothing has to be done by the clock.
    pub(super) fn next_alarm(&self) -> Option<Duration> {
        let now = Instant::now();
        let book = self.core.book();
        let pace = &self.plan.pace;
        let alarms = book
            .places
            .iter()
            .filter(|place| place.alive && place.post.late.is_none())
            .filter_map(|place| {
                let (hook, since) = match place.post.leaving {
                    Some(since) => (Hook::ExitHook, since),
                    None if place.ready => return None,
                    None => (Hook::Initializer, place.post.started?),
                };
                let end = since.checked_add(pace.limit(hook))?;
                Some(end.saturating_duration_since(now))
            });
        alarms.chain(pace.next_look(&book, now)).min()
    }

    /// Kills workers whose hooks take too long.
    pub(super) fn sound_alarms(&mut self) {
        let now = Instant::now();
        let mut book = self.core.book();
        for (body, (slot, place)) in self.bodies.iter().zip(book.places.iter_mut().enumerate()) {
            let Some(body) = body.as_ref().filter(|body| body.pidfd().is_some()) else {
                continue;
            };
            let (hook, since) = match (place.post.leaving, place.post.started) {
                (Some(since), _) => (Hook::ExitHook, since),
                (None, Some(since)) if !place.ready => (Hook::Initializer, since),
                _ => continue,
            };
            let limit = self.plan.pace.limit(hook);
            // It may have become ready without the book knowing it yet.
            let is_ready = hook == Hook::Initializer && self.status(slot) == status::READY;
            if place.post.late.is_none() && !is_ready && now.duration_since(since) >= limit {
                tracing::warn!(worker = place.post.worker, pid = place.pid, %hook, ?limit, "a worker is killed: it takes too long");
                place.post.late = Some(hook);
                body.kill();
            }
        }
    }
}
