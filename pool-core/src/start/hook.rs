//! The entrance of workers: before `main`, from the section of constructors.

use std::sync::atomic::{AtomicBool, Ordering};

use super::boot;
use crate::error::{PoolError, PoolErrorKind};
use crate::process;

static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// Whether this process was started by a pool to work for it.
pub(crate) fn in_worker() -> bool {
    IN_WORKER.load(Ordering::Relaxed)
}

/// This process is a fresh copy of one that runs the program's `main`, and does not go on with that.
pub(crate) fn after_fork() {
    IN_WORKER.store(true, Ordering::Relaxed);
}

/// Checks that this process may be copied: it has one thread. What it has printed is written out, lest the copy write it too.
pub(crate) fn before_fork() -> Result<(), PoolError> {
    use std::io::Write;
    let threads = crate::sys::other_threads();
    if !threads.is_empty() {
        return Err(PoolErrorKind::Threads { threads }.into());
    }
    // A closed standard output is no reason to fail.
    let _ = std::io::stdout().flush();
    Ok(())
}

/// Whether this process may make pools: it is no worker that was started but never entered.
pub(crate) fn is_entered() -> bool {
    let is_marked = |variable| std::env::var_os(variable).is_some();
    in_worker() || !(is_marked(boot::VARIABLE) || is_marked(boot::PROCESS_VARIABLE))
}

/// Enters the worker if this process was started as one, and never returns then; does nothing otherwise.
///
/// Only needed in programs that switch the feature `auto-start` off: as the first line of `main`. With the feature, which is
/// on by default, a worker is entered before `main`.
pub fn init() {
    if let Some(enter) = claim() {
        enter();
    }
}

/// Takes the mark of a worker or of a single process out of the environment, so that its own children do not carry it; what becomes of
/// this process.
fn claim() -> Option<impl FnOnce()> {
    let parent_by = |variable| Some((variable, std::env::var(variable).ok()?));
    let (variable, value) =
        parent_by(boot::VARIABLE).or_else(|| parent_by(boot::PROCESS_VARIABLE))?;
    if crate::sys::is_privileged() {
        return None;
    }
    // SAFETY: called before `main` or as its first line, while there is one thread.
    unsafe { std::env::remove_var(variable) };
    IN_WORKER.store(true, Ordering::Relaxed);
    let parent = value.parse().unwrap_or(0);
    Some(move || match variable {
        boot::VARIABLE => boot::enter(parent),
        _ => process::enter(parent),
    })
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
            if let Some(enter) = super::claim() {
                sys::run_later_constructors(entrance, argc, argv, envp);
                enter();
            }
        });
        if entered.is_err() {
            std::process::abort();
        }
    }
}
