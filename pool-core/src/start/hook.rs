//! The entrance of workers: before `main`, from the section of constructors.

use std::sync::atomic::{AtomicBool, Ordering};

use super::boot;

static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// Whether this process was started by a pool to work for it.
pub(crate) fn in_worker() -> bool {
    IN_WORKER.load(Ordering::Relaxed)
}

/// Whether this process may make pools: it is no worker that was started but never entered.
pub(crate) fn is_entered() -> bool {
    in_worker() || std::env::var_os(boot::VARIABLE).is_none()
}

/// Enters the worker if this process was started as one, and never returns then; does nothing otherwise.
///
/// Only needed in programs that switch the feature `auto-start` off: as the first line of `main`. With the feature, which is
/// on by default, a worker is entered before `main`.
pub fn init() {
    if let Some(parent) = claim() {
        boot::enter(parent);
    }
}

/// Takes the mark of a worker out of the environment, so that its own children do not carry it; the pool's process.
fn claim() -> Option<u32> {
    let value = std::env::var(boot::VARIABLE).ok()?;
    if crate::sys::is_privileged() {
        return None;
    }
    // SAFETY: called before `main` or as its first line, while there is one thread.
    unsafe { std::env::remove_var(boot::VARIABLE) };
    IN_WORKER.store(true, Ordering::Relaxed);
    Some(value.parse().unwrap_or(0))
}

#[cfg(feature = "auto-start")]
mod auto {
    use std::ffi::{c_char, c_int};
    use std::panic::catch_unwind;

    use crate::sys;

    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTRANCE: sys::Constructor = entrance;

    /// Called by the loader like any constructor.
    extern "C" fn entrance(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        // A panic must not leave a function that C calls.
        let entered = catch_unwind(|| {
            if let Some(parent) = super::claim() {
                sys::run_later_constructors(entrance, argc, argv, envp);
                super::boot::enter(parent);
            }
        });
        if entered.is_err() {
            std::process::abort();
        }
    }
}
