//! A place where so many parties meet.

use super::RawMutex;
use super::home::{self, BODY, Label};
use super::protocol::{self, Broke, MAX_PARTIES, Turn};
use super::wait::Wait;
use crate::{Segment, ShmError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"barrier1";
const PHASE: usize = BODY;
const MOVED: usize = BODY + 64;
const GATE: usize = BODY + 128;
const PLACES: usize = GATE + RawMutex::SIZE;
const WHAT: &str = "barrier";

/// A place where so many parties, in any processes, wait for each other; it can be used again and again.
///
/// The last one to come may run an action before any goes on. A party whose time is over breaks the barrier for all, as does one whose action panics, and
/// [`abort`](Self::abort); [`reset`](Self::reset) begins anew.
///
/// # Deaths
/// A party that dies while it waits has never come: the barrier waits on for as many living ones, such as a repeated task. One that dies in the action breaks
/// the barrier. One that never comes is not known to the barrier: wait with a timeout where that can happen.
///
/// # Examples
/// ```
/// use pool_shm::sync::Barrier;
///
/// let barrier = Barrier::new(3)?;
/// let turns: Vec<_> = std::thread::scope(|scope| {
///     let parties = [(); 3].map(|()| scope.spawn(|| barrier.clone().wait()));
///     parties.map(|party| party.join().unwrap()).into_iter().collect::<Result<_, _>>()
/// })?;
/// assert_eq!(turns.iter().filter(|turn| turn.is_leader()).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Barrier {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
    gate: RawMutex,
    places: Box<[RawMutex]>,
}

/// What a party learns when all have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierTurn(Turn);

/// Why a party does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, or was reset while this party waited.
    Broken,
    /// Not all parties came in time; this has broken the barrier if this party had come.
    Timeout,
    /// The action used its own barrier.
    Deadlock,
    /// The words of the barrier are none any more.
    Damaged {
        /// The error number of the system.
        code: i32,
    },
}

home::handle!(Barrier);

impl Barrier {
    /// The most parties that it can have.
    pub const MAX: usize = MAX_PARTIES;

    /// A barrier for so many parties.
    ///
    /// # Errors
    /// `is_mismatch` unless there are 1 to [`MAX`](Self::MAX) parties; and as for [`Segment::create`].
    pub fn new(parties: usize) -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, parties);
        let count = home::count(label, Self::MAX, WHAT)?;
        let segment = home::create(label, PLACES - BODY + count * RawMutex::SIZE)?;
        RawMutex::init(&segment, GATE)?;
        RawMutex::init_many(&segment, PLACES, count)?;
        Self::attach(segment)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        let label = home::check::<()>(&segment, MAGIC, WHAT)?;
        let count = home::count(label, Self::MAX, WHAT)?;
        let gate = RawMutex::attach(&segment, GATE)?;
        let places = RawMutex::attach_many(&segment, PLACES, count)?;
        Ok(Self {
            inner: Arc::new(Inner {
                segment,
                gate,
                places,
            }),
        })
    }

    /// Waits until all parties have come.
    ///
    /// # Errors
    /// [`BarrierError::Broken`], [`BarrierError::Damaged`].
    pub fn wait(&self) -> Result<BarrierTurn, BarrierError> {
        self.wait_with(|| ())
    }

    /// Waits for `timeout` at most. A time that ends while the action runs waits for the action.
    ///
    /// # Errors
    /// [`BarrierError::Timeout`]; and those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierTurn, BarrierError> {
        self.wait_timeout_with(timeout, || ())
    }

    /// Waits until all parties have come; if this one is the last it runs `action` before any goes on.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Panics
    /// As `action` does; that breaks the barrier.
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierTurn, BarrierError> {
        Self::turn(self.protocol().wait(Wait::Forever, action))
    }

    /// Waits for `timeout` at most, with an action.
    ///
    /// # Errors
    /// As for [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Panics
    /// As `action` does; that breaks the barrier.
    pub fn wait_timeout_with(
        &self,
        timeout: Duration,
        action: impl FnOnce(),
    ) -> Result<BarrierTurn, BarrierError> {
        Self::turn(self.protocol().wait(Wait::at_most(timeout), action))
    }

    /// Breaks the barrier: who waits, and who comes, gets [`BarrierError::Broken`]. Waits for an action that is run.
    ///
    /// # Errors
    /// [`BarrierError::Deadlock`] from inside the action; [`BarrierError::Damaged`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        Ok(self.protocol().abort()?)
    }

    /// Begins anew, broken or not; who waits gets [`BarrierError::Broken`]. Waits for an action that is run.
    ///
    /// # Errors
    /// As for [`abort`](Self::abort).
    pub fn reset(&self) -> Result<(), BarrierError> {
        Ok(self.protocol().reset()?)
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.protocol().is_broken()
    }

    /// How many parties must come.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.inner.places.len()
    }

    /// How many parties have come and wait.
    ///
    /// # Errors
    /// As for [`abort`](Self::abort).
    pub fn waiting(&self) -> Result<usize, BarrierError> {
        Ok(self.protocol().count()?)
    }

    fn turn(outcome: Result<Turn, Broke>) -> Result<BarrierTurn, BarrierError> {
        Ok(outcome.map(BarrierTurn)?)
    }

    fn protocol(&self) -> protocol::Barrier<'_> {
        let fits = "every segment has a page at least";
        protocol::Barrier {
            gate: &self.inner.gate,
            places: &self.inner.places,
            phase: self.inner.segment.get(PHASE).expect(fits),
            moved: self.inner.segment.get(MOVED).expect(fits),
        }
    }
}

impl BarrierTurn {
    /// Whether this party was the last to come, the one that ran the action.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0.leader
    }

    /// A number from 0 on and less than the number of parties, which no other party of this round has.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index
    }
}

impl From<Broke> for BarrierError {
    fn from(broke: Broke) -> Self {
        match broke {
            Broke::Broken => BarrierError::Broken,
            Broke::Timeout => BarrierError::Timeout,
            Broke::Deadlock => BarrierError::Deadlock,
            Broke::Damaged(code) => BarrierError::Damaged { code },
        }
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BarrierError::Broken => f.write_str(
                "the barrier is broken: a party gave up, its action failed, or somebody aborted or reset it; `reset` begins anew",
            ),
            BarrierError::Timeout => f.write_str(
                "not all parties came in time, so the barrier is broken; one may have died before it came",
            ),
            BarrierError::Deadlock => {
                f.write_str("the action of the barrier used the barrier itself")
            }
            BarrierError::Damaged { code } => write!(
                f,
                "the barrier is damaged (system error {code}); something wrote over its words in shared memory, make a new one"
            ),
        }
    }
}

impl std::error::Error for BarrierError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const PARTIES: usize = 3;

    #[test]
    fn all_meet_and_one_acts_each_round() {
        let barrier = Barrier::new(PARTIES).unwrap();
        let acted = AtomicU32::new(0);
        let party = || {
            for round in 1..=100 {
                let act = || {
                    acted.fetch_add(1, Ordering::Relaxed);
                };
                let turn = barrier.wait_with(act).unwrap();
                assert!(turn.index() < PARTIES);
                assert_eq!(acted.load(Ordering::Relaxed), round);
                barrier.wait().unwrap();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..PARTIES {
                scope.spawn(party);
            }
        });
        assert_eq!(barrier.waiting(), Ok(0));
    }

    #[test]
    fn more_threads_than_parties_take_turns() {
        let barrier = Barrier::new(2).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| barrier.wait().unwrap());
            }
        });
    }

    #[test]
    fn a_timeout_breaks_it_and_a_reset_mends_it() {
        let barrier = Barrier::new(2).unwrap();
        let late = barrier.wait_timeout(Duration::from_millis(2));
        assert_eq!(late, Err(BarrierError::Timeout));
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| barrier.wait().unwrap());
            barrier.wait().unwrap();
        });
    }

    #[test]
    fn who_waits_learns_of_abort_and_reset() {
        for end in [Barrier::abort, Barrier::reset] {
            let barrier = Barrier::new(2).unwrap();
            std::thread::scope(|scope| {
                let party = scope.spawn(|| barrier.wait());
                while barrier.waiting().unwrap() == 0 {
                    std::thread::yield_now();
                }
                end(&barrier).unwrap();
                assert_eq!(party.join().unwrap(), Err(BarrierError::Broken));
            });
        }
    }

    #[test]
    fn a_panic_of_the_action_breaks_it() {
        let barrier = Barrier::new(1).unwrap();
        let panics = || barrier.wait_with(|| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(barrier.is_broken());
        barrier.reset().unwrap();
        let nested = barrier.wait_with(|| {
            assert_eq!(barrier.abort(), Err(BarrierError::Deadlock));
        });
        assert!(nested.unwrap().is_leader());
    }
}
