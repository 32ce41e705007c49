//! How a task is named between processes of the same executable: by where its descriptor stands.
//!
//! For every task the compiler lays a constant [`Descriptor`] into memory that nothing can write any more. Its distance from
//! the start of the executable is the same in every process, wherever the executable was loaded. A worker believes such a
//! distance only if it leads into that memory, is aligned, and a descriptor's mark stands there: so together they are the
//! table of entry points, and a corrupt word can name no other code.

use crate::sys;
use crate::worker::Call;

/// A kind of entry function. Each has a mark of its own, so that one is never taken for another.
pub(crate) trait Entry: Copy + 'static {
    const MARK: [u64; 2];
}

/// The entry function of a pool's task: runs what `Call` describes.
type TaskEntry = fn(&mut Call<'_>);

impl Entry for TaskEntry {
    const MARK: [u64; 2] = [0x7c4d_91e6_0b5a_f3d8, 0x1f86_d2b7_a94c_35e1];
}

/// A task as the process that runs it sees it.
#[derive(Debug)]
#[repr(C, align(16))]
pub(crate) struct Descriptor<E = TaskEntry> {
    mark: [u64; 2],
    pub(crate) run: E,
    /// The task's name in the source, for messages.
    pub(crate) name: fn() -> &'static str,
}

impl<E: Entry> Descriptor<E> {
    pub(crate) const fn new(run: E, name: fn() -> &'static str) -> Descriptor<E> {
        Descriptor {
            mark: E::MARK,
            run,
            name,
        }
    }

    /// The name of this descriptor in every process of this executable; none if it is not part of the main executable.
    pub(crate) fn identity(&'static self) -> Option<u64> {
        let address = std::ptr::from_ref(self) as usize;
        is_constant::<E>(address).then(|| address.wrapping_sub(sys::image().base) as u64)
    }

    /// The descriptor of that name, if there is one.
    pub(crate) fn find(identity: u64) -> Option<&'static Descriptor<E>> {
        let address = sys::image()
            .base
            .wrapping_add(usize::try_from(identity).ok()?);
        if !address.is_multiple_of(align_of::<Descriptor<E>>()) || !is_constant::<E>(address) {
            return None;
        }
        // SAFETY: the range is mapped, readable, aligned for u64, and written by nobody while the program runs.
        let mark = unsafe { *(address as *const [u64; 2]) };
        // SAFETY: the mark stands in constant memory of this executable only at the start of a descriptor of this kind.
        (mark == E::MARK).then(|| unsafe { &*(address as *const Descriptor<E>) })
    }
}

/// Whether a whole descriptor at `address` lies in memory of the main executable that cannot be written.
fn is_constant<E>(address: usize) -> bool {
    let Some(end) = address.checked_add(size_of::<Descriptor<E>>()) else {
        return false;
    };
    sys::image()
        .read_only
        .iter()
        .any(|range| range.start <= address && end <= range.end)
}

/// Makes the one value of the type of a task, which has no bytes.
pub(crate) fn conjure<F: Copy + 'static>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a task must be a `fn` item or a closure that captures nothing, so `move` is of no help: pass what it captures as its argument, or make it in the initializer"
        );
    }
    // SAFETY: a value of a type without bytes needs none. `conjure` is called only for the type of a task of which the caller
    // has handed over a value, in this process or in the one that sent its name, and `Copy` says that values are there to be
    // multiplied.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(_: &mut Call<'_>) {}
    static KNOWN: Descriptor = Descriptor::new(run as TaskEntry, || "known");

    #[test]
    fn a_descriptor_is_found_by_its_name() {
        let identity = KNOWN.identity().unwrap();
        assert!(std::ptr::eq(<Descriptor>::find(identity).unwrap(), &KNOWN));
    }

    #[test]
    fn other_places_are_no_tasks() {
        let identity = KNOWN.identity().unwrap();
        for wrong in [
            0,
            1,
            identity + 8,
            identity + 16,
            identity ^ (1 << 40),
            u64::MAX,
            u64::MAX - 15,
        ] {
            assert!(<Descriptor>::find(wrong).is_none(), "{wrong:#x}");
        }
    }

    #[test]
    fn a_descriptor_of_another_kind_is_not_taken_for_this_one() {
        #[derive(Clone, Copy)]
        struct Other;
        impl Entry for Other {
            const MARK: [u64; 2] = [1, 2];
        }
        let identity = KNOWN.identity().unwrap();
        assert!(Descriptor::<Other>::find(identity).is_none());
    }

    #[test]
    fn a_descriptor_on_the_heap_has_no_name() {
        let leaked: &'static Descriptor =
            Box::leak(Box::new(Descriptor::new(run as TaskEntry, || "leaked")));
        assert_eq!(leaked.identity(), None);
    }
}
