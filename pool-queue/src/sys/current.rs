//! What tells this process from all others.

use crate::store::Owner;
use std::sync::{Mutex, PoisonError};

/// This process. It is asked for each time, since it may be a fork of the one that asked before.
pub(crate) fn current_process() -> Owner {
    static KNOWN: Mutex<Option<Owner>> = Mutex::new(None);
    let pid = std::process::id();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match *known {
        Some(owner) if owner.pid == pid => owner,
        _ => {
            let start = super::start_time(pid).unwrap_or(0);
            *known.insert(Owner { pid, start })
        }
    }
}
