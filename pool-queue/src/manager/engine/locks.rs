//! Semaphores, conditions and barriers.
//!
//! Each is a small state; waiting is the engine's. What a dead client held is free again, and the next holder of a condition's lock is told.

use std::collections::{HashMap, VecDeque};

use super::effects::{Owner, Who};
use crate::manager::error::ManagerError;
use crate::manager::message::{BarrierOp, ConditionOp, Phase, Reply, SemaphoreOp};

type Outcome = Result<Reply, ManagerError>;

#[derive(Debug)]
pub(crate) struct Semaphore {
    available: u64,
    bound: Option<u64>,
    /// What each client has taken and would give back if it died.
    held: HashMap<u64, u64>,
}

impl Semaphore {
    pub(crate) fn new(permits: u64, bound: Option<u64>) -> Semaphore {
        Semaphore {
            available: permits,
            bound,
            held: HashMap::new(),
        }
    }

    pub(crate) fn attempt(&mut self, who: Who, op: &SemaphoreOp) -> Option<Outcome> {
        match *op {
            SemaphoreOp::Acquire { permits } => {
                if self.bound.is_some_and(|bound| permits > bound) {
                    let reason = "more permits are asked for than the semaphore has";
                    return Some(Err(ManagerError::refused(reason)));
                }
                self.available = self.available.checked_sub(permits)?;
                let held = self.held.entry(who.session).or_default();
                *held = held.saturating_add(permits);
                Some(Ok(Reply::Done))
            }
            SemaphoreOp::Release { permits } => {
                let most = self.bound.unwrap_or(u64::MAX);
                let sum = self.available.checked_add(permits);
                let Some(sum) = sum.filter(|sum| *sum <= most) else {
                    return Some(Err(ManagerError::TooManyReleases));
                };
                self.available = sum;
                self.let_go(who.session, permits);
                Some(Ok(Reply::Done))
            }
            SemaphoreOp::Forget { permits } => {
                self.let_go(who.session, permits);
                Some(Ok(Reply::Done))
            }
            SemaphoreOp::Available => Some(Ok(Reply::Number(self.available))),
        }
    }

    fn let_go(&mut self, session: u64, permits: u64) {
        if let Some(held) = self.held.get_mut(&session) {
            *held = held.saturating_sub(permits);
            if *held == 0 {
                self.held.remove(&session);
            }
        }
    }

    pub(crate) fn forget(&mut self, session: u64) {
        let held = self.held.remove(&session).unwrap_or_default();
        self.available = self.available.saturating_add(held);
    }
}

/// A condition and its lock.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    owner: Option<Owner>,
    died: bool,
    came: u64,
    /// Who waits to be notified, first come first.
    waiting: VecDeque<u64>,
}

impl Condition {
    pub(crate) fn attempt(&mut self, who: Who, op: &mut ConditionOp) -> Option<Outcome> {
        match op {
            ConditionOp::Acquire { holder } => {
                let me = (who.session, *holder);
                if self.owner == Some(me) {
                    return Some(Err(ManagerError::Deadlock));
                }
                self.take(me)
                    .map(|owner_died| Ok(Reply::Locked { owner_died }))
            }
            ConditionOp::Release { holder } => Some(self.check((who.session, *holder)).map(|()| {
                self.owner = None;
                Reply::Done
            })),
            ConditionOp::Notify { holder, count } => {
                Some(self.check((who.session, *holder)).map(|()| {
                    let count = (*count).min(self.waiting.len() as u64);
                    self.waiting.drain(..count as usize);
                    Reply::Number(count)
                }))
            }
            ConditionOp::Wait { holder, phase } => self.wait((who.session, *holder), phase),
        }
    }

    fn wait(&mut self, me: Owner, phase: &mut Phase) -> Option<Outcome> {
        match *phase {
            Phase::Begin => {
                if let Err(error) = self.check(me) {
                    return Some(Err(error));
                }
                self.owner = None;
                self.came += 1;
                self.waiting.push_back(self.came);
                *phase = Phase::Waiting(self.came);
                None
            }
            Phase::Waiting(ticket) if self.waiting.contains(&ticket) => None,
            Phase::Waiting(_) => {
                *phase = Phase::Back { notified: true };
                self.wait(me, phase)
            }
            Phase::Back { notified } => {
                let owner_died = self.take(me)?;
                Some(Ok(Reply::Numbers(notified.into(), owner_died.into())))
            }
        }
    }

    fn take(&mut self, me: Owner) -> Option<bool> {
        if self.owner.is_some() {
            return None;
        }
        self.owner = Some(me);
        Some(std::mem::take(&mut self.died))
    }

    fn check(&self, me: Owner) -> Result<(), ManagerError> {
        if self.owner == Some(me) {
            Ok(())
        } else {
            Err(ManagerError::NotHeld)
        }
    }

    /// The time of a waiter is over: it goes back for the lock, however long that takes. Whether it has to.
    pub(crate) fn time_over(&mut self, phase: &mut Phase) -> bool {
        match *phase {
            Phase::Waiting(ticket) => {
                let before = self.waiting.len();
                self.waiting.retain(|other| *other != ticket);
                let notified = self.waiting.len() == before;
                *phase = Phase::Back { notified };
                true
            }
            Phase::Back { .. } => true,
            Phase::Begin => false,
        }
    }

    /// A waiter is gone: what it was notified of is the next one's.
    pub(crate) fn abandon(&mut self, phase: Phase) {
        match phase {
            Phase::Waiting(ticket) if self.waiting.contains(&ticket) => {
                self.waiting.retain(|other| *other != ticket);
            }
            Phase::Waiting(_) | Phase::Back { notified: true } => {
                self.waiting.pop_front();
            }
            Phase::Begin | Phase::Back { notified: false } => {}
        }
    }

    pub(crate) fn forget(&mut self, session: u64) {
        if self.owner.is_some_and(|(owner, _)| owner == session) {
            self.owner = None;
            self.died = true;
        }
    }
}

/// A barrier. Those who wait are of the current generation.
#[derive(Debug)]
pub(crate) struct Barrier {
    parties: u64,
    generation: u64,
    /// The last generation that was complete.
    passed: u64,
    arrived: u64,
    broken: bool,
}

impl Barrier {
    pub(crate) fn new(parties: u64) -> Barrier {
        Barrier {
            parties: parties.max(1),
            generation: 1,
            passed: 0,
            arrived: 0,
            broken: false,
        }
    }

    pub(crate) fn attempt(&mut self, op: &mut BarrierOp) -> Option<Outcome> {
        match op {
            BarrierOp::Wait { arrived } => self.wait(arrived),
            BarrierOp::Abort => {
                self.broken = true;
                Some(Ok(Reply::Done))
            }
            BarrierOp::Reset => {
                self.generation += 1;
                self.arrived = 0;
                self.broken = false;
                Some(Ok(Reply::Done))
            }
            BarrierOp::State => Some(Ok(Reply::Numbers(self.arrived, self.broken.into()))),
        }
    }

    fn wait(&mut self, mine: &mut Option<(u64, u64)>) -> Option<Outcome> {
        let Some((generation, index)) = *mine else {
            if self.broken {
                return Some(Err(ManagerError::Broken));
            }
            let index = self.arrived;
            *mine = Some((self.generation, index));
            self.arrived += 1;
            if self.arrived < self.parties {
                return None;
            }
            self.passed = self.generation;
            self.generation += 1;
            self.arrived = 0;
            return Some(Ok(Reply::Number(index)));
        };
        if generation == self.passed {
            Some(Ok(Reply::Number(index)))
        } else if self.broken || generation != self.generation {
            Some(Err(ManagerError::Broken))
        } else {
            None
        }
    }

    /// One of those who waited is gone, or has no more time.
    pub(crate) fn abandon(&mut self, mine: Option<(u64, u64)>) {
        if mine.is_some_and(|(generation, _)| generation == self.generation) {
            self.broken = true;
        }
    }
}
