//! Waiting for several queues at once.

use crate::queue::{Message, Queue};
use crate::store::{JoinableQueue, LifoQueue, Priority, PriorityQueue};
use crate::wait::Wait;
use pool_shm::sync::EventCount;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest sleep without a look; see [`EventCount`].
const RECHECK: Duration = Duration::from_millis(100);

/// Waits until one of several queues, of any kinds and types, has something to get or is closed.
///
/// It says which one; get from it with a `try_` form, since another consumer may be faster. If several are ready, they take turns, so that none of them is
/// passed over for ever. Up to 128 queues cost one system call to sleep; more of them, and kernels before Linux 5.16, are looked at every millisecond.
///
/// ```
/// use pool_queue::{GetError, LifoQueue, Queue, Select};
///
/// let (numbers, names) = (Queue::<u64>::new(10)?, LifoQueue::<String>::new(10)?);
/// names.put("a name".into())?;
/// let mut select = Select::new();
/// let from_numbers = select.add(&numbers);
/// let from_names = select.add(&names);
/// let ready = select.wait();
/// if ready == from_numbers {
///     println!("{}", numbers.try_get()?);
/// } else if ready == from_names {
///     assert_eq!(names.try_get()?, "a name");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Select<'a> {
    sources: Vec<&'a dyn Selectable>,
    /// Whose turn it is to be looked at first.
    turn: AtomicUsize,
}

/// What [`Select`] can wait for: the queues of this crate.
pub trait Selectable: sealed::Ready + Sync {}

mod sealed {
    use pool_shm::sync::EventCount;

    /// What a wait needs of a queue.
    #[expect(unnameable_types, reason = "sealed: only the queues of this crate")]
    pub trait Ready {
        /// Raised when there is something to get.
        fn event(&self) -> &EventCount;

        /// Whether it is worth trying to get. `thorough`: also looks for what is only found by asking, the death of a consumer.
        fn is_ready(&self, thorough: bool) -> bool;
    }
}

use sealed::Ready;

impl<'a> Select<'a> {
    /// Nothing to wait for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a queue; the result is how it will be named: 0 for the first, and so on.
    pub fn add(&mut self, queue: &'a dyn Selectable) -> usize {
        self.sources.push(queue);
        self.sources.len() - 1
    }

    /// Waits until one of them is ready.
    ///
    /// # Panics
    /// If there is none: it would wait for ever.
    #[must_use]
    pub fn wait(&self) -> usize {
        assert!(!self.sources.is_empty(), "a wait for no queue never ends");
        self.waiting(Wait::Forever)
            .expect("a wait without a limit has a result")
    }

    /// One that is ready now.
    #[must_use]
    pub fn try_wait(&self) -> Option<usize> {
        self.waiting(Wait::No)
    }

    /// Waits until one of them is ready, for `timeout` at most.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<usize> {
        self.waiting(Wait::within(timeout))
    }

    fn waiting(&self, wait: Wait) -> Option<usize> {
        let deadline = match wait {
            Wait::No => return self.look(true),
            Wait::Until(deadline) => Some(deadline),
            Wait::Forever => None,
        };
        if let Some(found) = self.look(false) {
            return Some(found);
        }
        loop {
            let tickets: Vec<_> = (self.sources.iter())
                .map(|source| (source.event(), source.event().prepare()))
                .collect();
            if let Some(found) = self.look(true) {
                return Some(found);
            }
            let left = match deadline {
                None => RECHECK,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return None;
            }
            EventCount::sleep_any(&tickets, left.min(RECHECK));
        }
    }

    /// The first that is ready, from the one on whose turn it is.
    fn look(&self, thorough: bool) -> Option<usize> {
        let count = self.sources.len();
        let first = self.turn.load(Ordering::Relaxed).checked_rem(count)?;
        let found = (first..count)
            .chain(0..first)
            .find(|&i| self.sources[i].is_ready(thorough))?;
        self.turn.store(found + 1, Ordering::Relaxed);
        // A notification of another one may have woken this thread and nobody else: it is passed on.
        let others = (0..count).filter(|&i| i != found);
        others
            .map(|i| self.sources[i])
            .filter(|source| source.is_ready(false))
            .for_each(|source| source.event().notify_one());
        Some(found)
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("queues", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl<T: Message> Ready for Queue<T> {
    fn event(&self) -> &EventCount {
        self.ring().event_more()
    }

    fn is_ready(&self, _thorough: bool) -> bool {
        self.ring().may_get()
    }
}

macro_rules! on_a_store {
    ($($queue:ident<$($kind:ident: $bound:ident),*>),*) => {$(
        impl<$($kind: $bound),*> Ready for $queue<$($kind),*> {
            fn event(&self) -> &EventCount {
                self.backlog.store.event_more()
            }

            fn is_ready(&self, thorough: bool) -> bool {
                self.backlog.store.may_get(thorough)
            }
        }

        impl<$($kind: $bound),*> Selectable for $queue<$($kind),*> {}
    )*};
}

impl<T: Message> Selectable for Queue<T> {}
on_a_store!(LifoQueue<T: Message>, PriorityQueue<K: Priority, T: Message>, JoinableQueue<T: Message>);
