//! What is found when something wrote over a queue.

use super::shape::Position;

/// What is wrong with the shared memory of a queue: something wrote over it.
///
/// No operation of a queue can cause this, whatever process is killed while doing it. What the queue holds cannot be told any more: make a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Damage(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Kind {
    #[error(
        "the queue's memory is damaged: its head ({head:#x}) and its tail ({tail:#x}) do not fit its size; \
         something wrote over it, make a new queue"
    )]
    Positions { head: u64, tail: u64 },
    #[error(
        "the queue's memory is damaged: the message at the head has the header {header:#x}, which does not fit number {count} in {units} used units; \
         something wrote over it, make a new queue"
    )]
    Frame { header: u64, count: u32, units: u32 },
    #[error(
        "the queue's memory is damaged: {what} is {found}; something wrote over it, make a new queue"
    )]
    Store { what: &'static str, found: u64 },
    #[error(
        "the queue's lock is damaged (system error {code}); something wrote over it, make a new queue"
    )]
    Lock { code: i32 },
}

impl Damage {
    pub(super) fn positions(head: Position, tail: Position) -> Self {
        Self(Kind::Positions {
            head: head.pack(),
            tail: tail.pack(),
        })
    }

    pub(super) fn frame(header: u64, count: u32, units: u32) -> Self {
        Self(Kind::Frame {
            header,
            count,
            units,
        })
    }

    pub(crate) fn store(what: &'static str, found: u64) -> Self {
        Self(Kind::Store { what, found })
    }

    pub(crate) fn lock(code: i32) -> Self {
        Self(Kind::Lock { code })
    }
}
