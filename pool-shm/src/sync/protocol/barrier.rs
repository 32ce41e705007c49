//! A barrier: one word that says which phase it is and how the last ones ended, and a robust lock for each party that waits.
//!
//! Whoever waits holds one of the locks with the number of the phase in its note, so the parties that wait are those that the kernel knows alive: an
//! arrival ends with the life of who arrived. The word is changed by single stores under a lock of its own, so a death leaves nothing to repair but an
//! action that was begun.

use crate::atomic::{AtomicU64, Ordering};
use crate::sync::wait::Wait;
use crate::sync::{EventCount, LockError, RawMutex, RawMutexGuard};

/// The most parties that a barrier can have: an arrival looks at the lock of each.
pub(crate) const MAX_PARTIES: usize = 1024;

/// The locks and the word.
#[derive(Clone, Copy)]
pub(crate) struct Barrier<'a> {
    /// Held by who changes the phase.
    pub(crate) gate: &'a RawMutex,
    /// One for each party.
    pub(crate) places: &'a [RawMutex],
    pub(crate) phase: &'a AtomicU64,
    pub(crate) moved: &'a EventCount,
}

/// What a party learns when all have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The place it had; no two parties of a phase have the same.
    pub(crate) index: usize,
    /// Whether it was the last to come, which ran the action.
    pub(crate) leader: bool,
}

/// Why a party does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broke {
    /// The barrier is broken, or was reset.
    Broken,
    /// Not all came in time; this has broken the barrier.
    Timeout,
    /// The action called its own barrier.
    Deadlock,
    /// A lock is no lock any more.
    Damaged(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Filling,
    /// All are there, the last one runs the action.
    Acting,
    Broken,
}

/// The word, taken apart.
///
/// Bits 0-1: status; 2-31: number of the phase; 32-63: how the phases before it ended, the last one in the lowest bit, 1 if all went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    status: Status,
    number: u32,
    history: u32,
}

const NUMBERS: u32 = (1 << 30) - 1;

impl Phase {
    fn decode(word: u64) -> Self {
        let low = (word & u64::from(u32::MAX)) as u32;
        Self {
            status: match low & 3 {
                0 => Status::Filling,
                1 => Status::Acting,
                _ => Status::Broken,
            },
            number: low >> 2,
            history: (word >> 32) as u32,
        }
    }

    fn encode(self) -> u64 {
        let status = match self.status {
            Status::Filling => 0,
            Status::Acting => 1,
            Status::Broken => 2,
        };
        u64::from(self.history) << 32 | u64::from(self.number << 2 | status)
    }

    fn with(self, status: Status) -> Self {
        Self { status, ..self }
    }

    /// The phase after this one, which all have `passed` or not.
    #[must_use]
    fn next(self, passed: bool) -> Self {
        Self {
            status: Status::Filling,
            number: (self.number + 1) & NUMBERS,
            history: self.history << 1 | u32::from(passed),
        }
    }

    /// How `number`, an earlier phase or this one, ended; none if it has not.
    fn outcome(self, number: u32) -> Option<Result<(), Broke>> {
        let behind = self.number.wrapping_sub(number) & NUMBERS;
        let passed = match behind {
            0 if self.status == Status::Broken => false,
            0 => return None,
            // Forgotten after so many resets: it cannot have been the last one to pass.
            _ => self.history.checked_shr(behind - 1).unwrap_or(0) & 1 == 1,
        };
        Some(if passed { Ok(()) } else { Err(Broke::Broken) })
    }

    /// What the note of a party's lock says in this phase; 0 is said by none.
    fn note(self) -> u64 {
        u64::from(self.number) + 1
    }
}

/// A party that has come.
struct Arrival<'a> {
    index: usize,
    number: u32,
    place: Option<RawMutexGuard<'a>>,
    moved: &'a EventCount,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        drop(self.place.take());
        // Somebody may wait for a place.
        self.moved.notify_all();
    }
}

/// Breaks the barrier unless the action ends.
struct Acting<'a> {
    barrier: Barrier<'a>,
    phase: Phase,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        self.barrier.store(self.phase);
    }
}

impl<'a> Barrier<'a> {
    /// Waits until all have come; the last one runs `action` before any goes on.
    pub(crate) fn wait(self, wait: Wait, action: impl FnOnce()) -> Result<Turn, Broke> {
        let (arrival, gate) = self.arrive(wait)?;
        if self.waiting(arrival.number) == self.places.len() {
            return Ok(self.lead(arrival, gate, action));
        }
        drop(gate);
        let index = arrival.index;
        let ended = wait.look(self.moved, || self.outcome(arrival.number));
        let outcome = match ended {
            Some(outcome) => outcome,
            None => self.give_up(arrival.number),
        };
        outcome.map(|()| Turn {
            index,
            leader: false,
        })
    }

    /// How many wait: those that have come in this phase and live.
    pub(crate) fn count(self) -> Result<usize, Broke> {
        let _gate = self.gate(Wait::Forever)?;
        Ok(self.waiting(self.load().number))
    }

    /// Whether it is broken.
    pub(crate) fn is_broken(self) -> bool {
        self.load().status == Status::Broken
    }

    /// Breaks it.
    pub(crate) fn abort(self) -> Result<(), Broke> {
        let _gate = self.gate(Wait::Forever)?;
        self.store(self.load().with(Status::Broken));
        Ok(())
    }

    /// Begins anew; who waits gets [`Broke::Broken`].
    pub(crate) fn reset(self) -> Result<(), Broke> {
        let _gate = self.gate(Wait::Forever)?;
        self.store(self.load().next(false));
        Ok(())
    }

    fn load(self) -> Phase {
        // SYNC: barrier-moved
        Phase::decode(self.phase.load(Ordering::Acquire))
    }

    /// Only who holds the gate calls this.
    fn store(self, phase: Phase) {
        // SYNC: barrier-moved
        self.phase.store(phase.encode(), Ordering::Release);
        self.moved.notify_all();
    }

    /// The gate. Who died with it left a whole word, or an action that was begun: that breaks the barrier.
    fn gate(self, wait: Wait) -> Result<RawMutexGuard<'a>, Broke> {
        let (gate, _) = LockError::split::<()>(wait.lock(self.gate)).map_err(Broke::from)?;
        let phase = self.load();
        if phase.status == Status::Acting {
            self.store(phase.with(Status::Broken));
        }
        Ok(gate)
    }

    /// Takes a place, and the gate with it.
    fn arrive(self, wait: Wait) -> Result<(Arrival<'a>, RawMutexGuard<'a>), Broke> {
        wait.look(self.moved, || self.try_arrive(wait).transpose())
            .unwrap_or(Err(Broke::Timeout))
    }

    fn try_arrive(self, wait: Wait) -> Result<Option<(Arrival<'a>, RawMutexGuard<'a>)>, Broke> {
        let gate = self.gate(wait)?;
        let phase = self.load();
        if phase.status == Status::Broken {
            return Err(Broke::Broken);
        }
        for (index, place) in self.places.iter().enumerate() {
            match LockError::split::<()>(place.try_lock()) {
                Ok((lock, _)) => {
                    place.note().store(phase.note(), Ordering::Relaxed);
                    let arrival = Arrival {
                        index,
                        number: phase.number,
                        place: Some(lock),
                        moved: self.moved,
                    };
                    return Ok(Some((arrival, gate)));
                }
                Err(LockError::WouldBlock) => {}
                Err(error) => return Err(Broke::from(error)),
            }
        }
        // More threads than parties: those of the phase before are still leaving.
        Ok(None)
    }

    /// How many living parties have come in the phase of this number. Only who holds the gate calls this.
    fn waiting(self, number: u32) -> usize {
        let waits = |place: &&RawMutex| {
            // Anybody may have a lock for an instant while it looks, but that needs the gate. One that leaves has an older number.
            let held = LockError::split::<()>(place.try_lock()).is_err();
            held && place.note().load(Ordering::Relaxed) == u64::from(number) + 1
        };
        self.places.iter().filter(waits).count()
    }

    fn lead(self, arrival: Arrival<'a>, gate: RawMutexGuard<'a>, action: impl FnOnce()) -> Turn {
        let phase = self.load();
        self.phase
            .store(phase.with(Status::Acting).encode(), Ordering::Relaxed);
        let mut acting = Acting {
            barrier: self,
            phase: phase.with(Status::Broken),
        };
        action();
        acting.phase = phase.next(true);
        drop(acting);
        drop(gate);
        Turn {
            index: arrival.index,
            leader: true,
        }
    }

    /// How the phase of this number ended, if it has; looks after a leader that died in its action.
    fn outcome(self, number: u32) -> Option<Result<(), Broke>> {
        let phase = self.load();
        if phase.status == Status::Acting && phase.number == number {
            // Taking the gate is all it needs; it is refused while the leader lives.
            drop(self.gate(Wait::No));
            return self.load().outcome(number);
        }
        phase.outcome(number)
    }

    /// The time is over: breaks the barrier, unless the phase has ended meanwhile.
    fn give_up(self, number: u32) -> Result<(), Broke> {
        let _gate = self.gate(Wait::Forever)?;
        let phase = self.load();
        if let Some(outcome) = phase.outcome(number) {
            return outcome;
        }
        self.store(phase.with(Status::Broken));
        Err(Broke::Timeout)
    }
}

impl<G> From<LockError<G>> for Broke {
    fn from(error: LockError<G>) -> Self {
        match error {
            LockError::OwnerDied(_) => Broke::Broken,
            LockError::WouldBlock | LockError::Timeout => Broke::Timeout,
            LockError::Deadlock => Broke::Deadlock,
            LockError::Damaged { code } => Broke::Damaged(code),
        }
    }
}

#[cfg(all(test, loom))]
impl Barrier<'_> {
    /// A party that is killed while it waits.
    pub(crate) fn come_and_die(self) {
        let (mut arrival, gate) = self.arrive(Wait::Forever).expect("there is a place");
        drop(gate);
        arrival.place.take().expect("held").die();
        std::mem::forget(arrival);
    }

    /// A party that is killed in its action.
    pub(crate) fn lead_and_die(self) {
        let (mut arrival, gate) = self.arrive(Wait::Forever).expect("there is a place");
        let acting = self.load().with(Status::Acting);
        self.phase.store(acting.encode(), Ordering::Relaxed);
        gate.die();
        arrival.place.take().expect("held").die();
        std::mem::forget(arrival);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_phase_survives_its_encoding() {
        let mut phase = Phase::decode(0);
        for round in 0..100 {
            for status in [Status::Filling, Status::Acting, Status::Broken] {
                assert_eq!(
                    Phase::decode(phase.with(status).encode()),
                    phase.with(status)
                );
            }
            phase = phase.next(round % 3 == 0);
        }
    }

    #[test]
    fn an_outcome_is_remembered_while_others_go_on() {
        let first = Phase::decode(u64::from(NUMBERS << 2));
        assert_eq!(first.outcome(first.number), None);
        let (passed, broken) = (first.next(true), first.next(false));
        assert_eq!(passed.number, 0, "numbers go round");
        assert_eq!(passed.outcome(first.number), Some(Ok(())));
        assert_eq!(passed.next(false).outcome(first.number), Some(Ok(())));
        assert_eq!(
            broken.next(true).outcome(first.number),
            Some(Err(Broke::Broken))
        );
        let broken = passed.with(Status::Broken);
        assert_eq!(broken.outcome(passed.number), Some(Err(Broke::Broken)));
        assert_eq!(broken.outcome(first.number), Some(Ok(())));
    }
}
