//! A word that is changed by repeated compare-and-swap, for what the processor has no operation.

/// Replaces the bits of an atomic by what becomes of them, as one step, and gives the bits before. The new bits are computed again whenever somebody else
/// was faster.
macro_rules! change_bits {
    ($word:expr, |$bits:ident| $new:expr) => {{
        use $crate::atomic::Ordering;

        let mut $bits = $word.load(Ordering::Relaxed);
        loop {
            // SYNC: atomic-number. A change releases and acquires, whatever the load saw.
            let (succeeds, fails) = (Ordering::AcqRel, Ordering::Relaxed);
            match $word.compare_exchange_weak($bits, $new, succeeds, fails) {
                Ok(before) => break before,
                Err(now) => $bits = now,
            }
        }
    }};
}

pub(crate) use change_bits;
