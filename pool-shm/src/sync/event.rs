//! A signal that is set or not.

use super::home::{self, BODY, Label};
use super::protocol;
use super::wait::Wait;
use crate::{Segment, ShmError};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"event-01";
const WORD: usize = BODY;
const RAISED: usize = BODY + 64;
const END: usize = BODY + 128;

/// A signal that is set or not, for all processes that hold its handle: "the data are there", "stop".
///
/// Who waits when it is set goes on, even if it is cleared at once. What a process wrote before it set the event is seen by who waited for it.
///
/// # Deaths
/// A killed waiter is nothing. A process that is killed inside `set` has set it or not; those who wait notice within a tenth of a second.
///
/// # Examples
/// ```
/// use pool_shm::sync::Event;
/// use std::time::Duration;
///
/// let stop = Event::new()?;
/// assert!(!stop.wait_timeout(Duration::from_millis(1)));
/// stop.clone().set(); // normally in another process
/// stop.wait();
/// stop.clear();
/// assert!(!stop.is_set());
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct Event {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
}

home::handle!(Event);

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new() -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, 0);
        Self::attach(home::create(label, END - BODY)?)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<()>(&segment, MAGIC, "event")?;
        Ok(Self {
            inner: Arc::new(Inner { segment }),
        })
    }

    /// Sets it and wakes everybody who waits.
    pub fn set(&self) {
        self.protocol().set();
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.protocol().clear();
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.protocol().is_set()
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        let set = self.protocol().wait(Wait::Forever);
        debug_assert!(set, "this wait ends with the event only");
    }

    /// Waits for `timeout` at most until it is set; `false` if it was not.
    #[must_use = "tells whether it was set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.protocol().wait(Wait::at_most(timeout))
    }

    fn protocol(&self) -> protocol::Signal<'_> {
        let fits = "every segment has a page at least";
        protocol::Signal {
            word: self.inner.segment.get(WORD).expect(fits),
            raised: self.inner.segment.get(RAISED).expect(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_cleared_at_once_is_not_missed() {
        let event = Event::new().unwrap();
        let ready = Event::new().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                // As `wait` begins: the count is read before the others are told.
                let protocol = event.protocol();
                let mut told = false;
                let before = protocol.word.load(std::sync::atomic::Ordering::Acquire);
                protocol.raised.wait_until(None, || {
                    if !told {
                        told = true;
                        ready.set();
                    }
                    let now = protocol.word.load(std::sync::atomic::Ordering::Acquire);
                    (now != before).then_some(())
                })
            });
            ready.wait();
            event.set();
            event.clear();
            assert_eq!(waiter.join().unwrap(), Some(()));
        });
        assert!(!event.is_set());
        assert!(!event.wait_timeout(Duration::ZERO));
    }
}
