//! Waiting for several queues at once.

use super::protocol::{self, Ready};
use crate::queue::{Message, Queue};
use crate::store::{JoinableQueue, LifoQueue, Priority, PriorityQueue};
use crate::wait::Wait;
use pool_shm::sync::EventCount;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
pub trait Selectable: Ready + Sync {}

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
        let first = self.turn.load(Ordering::Relaxed);
        let found = match wait.deadline() {
            Err(_) => protocol::look(&self.sources, first, true),
            Ok(deadline) => protocol::wait(&self.sources, first, deadline),
        }?;
        self.turn.store(found + 1, Ordering::Relaxed);
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
