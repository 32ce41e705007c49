//! How much a worker may still do before it asks to be replaced.

use std::time::{Duration, Instant};

use super::Terms;
use crate::dispatch::order::Wish;
use crate::sys;

/// How much time there is at least between two looks at a worker's memory, each of which takes some microseconds.
const LOOKS: Duration = Duration::from_millis(1);

/// What is left of what a worker may do.
#[derive(Debug)]
pub(super) struct Quota {
    /// Tasks; `u64::MAX` stands for no limit.
    tasks: u64,
    memory: Option<u64>,
    looked: Instant,
    spent: bool,
}

impl Quota {
    pub(super) fn new(terms: &Terms) -> Quota {
        Quota {
            tasks: terms.max_tasks.unwrap_or(u64::MAX),
            memory: terms.max_memory,
            looked: Instant::now(),
            spent: false,
        }
    }

    /// Whether the worker may claim nothing more.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    /// `tasks` more are about to be run. What to ask for now, so that a replacement gets ready meanwhile.
    pub(super) fn begin(&mut self, tasks: u32) -> Option<Wish> {
        if self.tasks == u64::MAX {
            return None;
        }
        self.tasks = self.tasks.saturating_sub(tasks.into());
        self.spend_if(self.tasks == 0, Wish::MaxTasks)
    }

    /// They were run. What to ask for now.
    pub(super) fn end(&mut self) -> Option<Wish> {
        if self.memory.is_none() || self.looked.elapsed() < LOOKS {
            return None;
        }
        self.look()
    }

    /// Looks at the worker's memory. What to ask for now.
    pub(super) fn look(&mut self) -> Option<Wish> {
        let most = self.memory?;
        self.looked = Instant::now();
        let has = sys::own_memory().unwrap_or(0);
        self.spend_if(has > most, Wish::MaxMemory)
    }

    fn spend_if(&mut self, condition: bool, wish: Wish) -> Option<Wish> {
        let newly = condition && !self.spent;
        self.spent |= condition;
        newly.then_some(wish)
    }
}
