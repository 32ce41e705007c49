//! What became of items whose consumer did not report them done.

/// Why an item was not reported done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// The process that had it has ended, or was killed.
    Died,
    /// It dropped the [`Claim`](super::Claim).
    Dropped,
}

/// An item that its consumer did not report done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The process that had it.
    pub pid: u32,
    /// Why.
    pub cause: LossCause,
}

/// All such items in the life of a queue; from [`JoinableQueue::losses`](super::JoinableQueue::losses).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Losses {
    /// How many there were.
    pub total: u64,
    /// The latest of them, up to 64, oldest first.
    pub latest: Vec<Loss>,
}

const DROPPED: u64 = 1 << 32;

/// A loss as it stands in the log.
pub(super) fn entry(pid: u32, cause: LossCause) -> u64 {
    match cause {
        LossCause::Died => pid.into(),
        LossCause::Dropped => u64::from(pid) | DROPPED,
    }
}

impl Loss {
    /// From the log.
    pub(super) fn of(entry: u64) -> Self {
        let cause = match entry & DROPPED {
            0 => LossCause::Died,
            _ => LossCause::Dropped,
        };
        let pid = u32::try_from(entry & u64::from(u32::MAX)).unwrap_or_default();
        Self { pid, cause }
    }
}
