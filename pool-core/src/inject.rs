//! Named points at which a test lets a process die: between any two steps of a protocol.
//!
//! Without the feature `inject` (and outside the models) a point is nothing.

/// Marks a step of a protocol.
#[inline(always)]
pub(crate) fn point(name: &'static str) {
    #[cfg(all(feature = "inject", not(loom)))]
    armed::point(name);
    #[cfg(all(test, loom))]
    model::point(name);
    #[cfg(not(any(all(feature = "inject", not(loom)), all(test, loom))))]
    let _ = name;
}

/// Says which life of its place in the pool this worker is.
#[cfg(all(feature = "inject", not(loom)))]
pub(crate) fn enter_life(generation: u32) {
    armed::LIFE.store(generation, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(all(feature = "inject", not(loom)))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Set once the worker knows it; before that no point is passed.
    pub(super) static LIFE: AtomicU32 = AtomicU32::new(0);

    /// `POOL_CORE_INJECT=name:n` kills a worker when it passes point `name` for the n-th time. Those that replace it are spared.
    fn plan() -> Option<&'static (String, u32)> {
        static PLAN: OnceLock<Option<(String, u32)>> = OnceLock::new();
        PLAN.get_or_init(|| {
            let value = std::env::var("POOL_CORE_INJECT").ok()?;
            let (name, count) = value.split_once(':')?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .as_ref()
    }

    pub(super) fn point(name: &str) {
        static PASSED: AtomicU32 = AtomicU32::new(0);
        if !crate::start::in_worker() || LIFE.load(Ordering::Relaxed) != 1 {
            return;
        }
        if let Some((wanted, count)) = plan()
            && wanted == name
            && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
        {
            crate::sys::kill_self();
        }
    }
}

#[cfg(all(test, loom))]
pub(crate) mod model {
    use std::cell::Cell;

    /// The payload of a simulated death.
    pub(crate) struct Died;

    // Loom's threads share one thread of the system.
    loom::thread_local! {
        static FUEL: Cell<Option<u32>> = Cell::new(None);
    }

    fn set(fuel: Option<u32>) {
        FUEL.with(|cell| cell.set(fuel));
    }

    /// Runs `body` as a process that dies at its `fuel`-th point, counted from 0. Tells whether it came to its end.
    pub(crate) fn mortal(fuel: u32, body: impl FnOnce()) -> bool {
        set(Some(fuel));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        set(None);
        match ended {
            Ok(()) => true,
            Err(payload) if payload.is::<Died>() => false,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    pub(super) fn point(_name: &str) {
        match FUEL.with(Cell::get) {
            Some(0) => std::panic::resume_unwind(Box::new(Died)),
            Some(left) => set(Some(left - 1)),
            None => {}
        }
    }
}
