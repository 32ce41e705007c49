//! Keeping segments alive while their handles travel.
//!
//! A handle names a descriptor of the process that made it. Whoever sends one
//! must keep that descriptor open until the receiver has attached. [`export`]
//! collects, while a message is being encoded, every segment whose handle went
//! into it.
//!
//! ```
//! use pool_shm::{transfer, Segment};
//!
//! let segment = Segment::create(100)?;
//! let (bytes, exports) = transfer::export(|| postcard::to_allocvec(&segment));
//! drop(segment); // `exports` keeps it alive
//! let again: Segment = postcard::from_bytes(&bytes?)?;
//! drop(exports); // the receiver has attached
//! assert!(again.len() >= 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A receiver that decodes later than it receives takes the segments over
//! first, by [`hold`]: the sender need not wait for it then.

use crate::error::ShmError;
use crate::segment::{Registry, SegmentFile, SegmentHandle, SegmentId};
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Segments whose handles are under way. Dropping it lets them go.
///
/// It keeps descriptors, not mappings, so it does not stop an array from being
/// frozen.
#[derive(Default)]
pub struct Exports {
    files: Vec<Arc<SegmentFile>>,
    /// What else must live as long; from [`keep`].
    others: Vec<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports")
            .field("segments", &self.handles())
            .field("others", &self.others.len())
            .finish()
    }
}

impl Exports {
    /// Whether no handle was serialised.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.others.is_empty()
    }

    /// Descriptors of the segments, to be sent along with the message; for a
    /// receiver to [`hold_received`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|file| file.fd())
    }

    /// Handles of the segments, for a receiver to [`hold`].
    #[must_use]
    pub fn handles(&self) -> Vec<SegmentHandle> {
        self.files.iter().map(|file| file.handle()).collect()
    }

    fn add(&mut self, file: &Arc<SegmentFile>) {
        if !self.files.iter().any(|kept| Arc::ptr_eq(kept, file)) {
            self.files.push(Arc::clone(file));
        }
    }
}

/// Runs `f` and collects every segment whose handle this thread serialises in
/// it.
///
/// Calls may be nested; a handle belongs to the innermost one.
pub fn export<R>(f: impl FnOnce() -> R) -> (R, Exports) {
    take_failure(); // of something else
    OPEN.with_borrow_mut(|open| open.push(Exports::default()));
    let frame = Frame;
    let result = f();
    (result, frame.finish())
}

/// Segments that were received and are not attached yet. Dropping it lets them
/// go, which does not affect what has attached meanwhile.
#[derive(Debug, Default)]
pub struct Held {
    files: Vec<Arc<SegmentFile>>,
}

static HELD: Registry<SegmentFile> = Registry::new();

/// Opens the segments behind `handles` and keeps them: while the result lives,
/// whatever in this process attaches to one of them finds it here, even if the
/// sender has let it go or has died.
///
/// # Errors
///
/// As for [`Segment::attach`](crate::Segment::attach), for the first that
/// cannot be opened.
///
/// ```
/// use pool_shm::{transfer, Segment};
///
/// let segment = Segment::create(100)?;
/// let handle = segment.handle();
/// let held = transfer::hold(&[handle.clone()])?;
/// drop(segment);
/// assert!(Segment::attach(&handle).is_ok());
/// drop(held);
/// assert!(Segment::attach(&handle).is_err());
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub fn hold(handles: &[SegmentHandle]) -> Result<Held, ShmError> {
    let mut held = Held::default();
    for handle in handles {
        let file = HELD.find_or_map(handle.id(), || SegmentFile::open(handle))?;
        file.check(handle)?;
        held.files.push(file);
    }
    Ok(held)
}

/// The same for descriptors of segments that were received themselves: whatever
/// names one of these segments finds it, whoever has made its handle.
///
/// # Errors
///
/// As for [`Segment::from_fd`](crate::Segment::from_fd), for the first that is
/// no segment.
///
/// ```
/// use pool_shm::{transfer, Segment};
///
/// let segment = Segment::create(100)?;
/// let (handle, fd) = (segment.handle(), segment.fd().try_clone_to_owned()?);
/// drop(segment);
/// let held = transfer::hold_received([fd])?; // normally in another process
/// assert!(Segment::attach(&handle).is_ok());
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn hold_received(fds: impl IntoIterator<Item = OwnedFd>) -> Result<Held, ShmError> {
    let mut held = Held::default();
    for fd in fds {
        let file = SegmentFile::from_fd(fd)?;
        let file = HELD.find_or_map(file.id(), || Ok::<_, ShmError>(file))?;
        held.files.push(file);
    }
    Ok(held)
}

impl Held {
    /// Handles of the segments, as this process keeps them now.
    #[must_use]
    pub fn handles(&self) -> Vec<SegmentHandle> {
        self.files.iter().map(|file| file.handle()).collect()
    }
}

/// Has something else live until the message that is being encoded was
/// received: it goes into the innermost [`export`] of this thread, if there is
/// one. For values whose serialised form names what only their process has, a
/// descriptor of a socket, say.
pub fn keep(other: Arc<dyn Any + Send + Sync>) {
    OPEN.with_borrow_mut(|open| {
        if let Some(exports) = open.last_mut() {
            exports.others.push(other);
        }
    });
}

/// The file that `handle` means: a held one, or opened from its sender.
pub(crate) fn reach(handle: &SegmentHandle) -> Result<Arc<SegmentFile>, ShmError> {
    match HELD.find(handle.id()) {
        Some(file) => file.check(handle).map(|()| file),
        None => SegmentFile::open(handle).map(Arc::new),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let ids: Vec<SegmentId> = self.files.drain(..).map(|file| file.id()).collect();
        ids.into_iter().for_each(|id| HELD.forget(id));
    }
}

/// Adds a segment to the innermost collection of this thread, if there is one.
pub(crate) fn collect(file: &Arc<SegmentFile>) {
    OPEN.with_borrow_mut(|open| {
        if let Some(exports) = open.last_mut() {
            exports.add(file);
        }
    });
}

/// Why the last serialising or deserialising of a handle by this thread failed,
/// if that was not asked for yet.
///
/// Compact formats, postcard among them, keep no text in their errors: whoever
/// encodes or decodes a message asks here for the cause.
///
/// ```
/// use pool_shm::{transfer, Segment};
///
/// let segment = Segment::create(100)?;
/// let bytes = postcard::to_allocvec(&segment)?;
/// drop(segment);
/// assert!(postcard::from_bytes::<Segment>(&bytes).is_err());
/// assert!(transfer::take_failure().is_some_and(|cause| cause.contains("gone")));
/// assert_eq!(transfer::take_failure(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn take_failure() -> Option<String> {
    FAILURE.take()
}

/// Keeps the cause of a failure for [`take_failure`]: for whoever writes or reads what names something of another process.
pub fn note_failure(text: &str) {
    FAILURE.set(Some(text.to_owned()));
}

thread_local! {
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// The collections under way in this thread, innermost last.
    static OPEN: RefCell<Vec<Exports>> = const { RefCell::new(Vec::new()) };
}

/// Takes a collection off again, also when `f` panics.
struct Frame;

impl Frame {
    fn finish(self) -> Exports {
        std::mem::forget(self);
        pop()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        pop();
    }
}

fn pop() -> Exports {
    OPEN.with_borrow_mut(Vec::pop).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    #[test]
    fn nothing_is_collected_outside() {
        let segment = Segment::create(1).unwrap();
        postcard::to_allocvec(&segment).unwrap();
        let ((), exports) = export(|| ());
        assert!(exports.is_empty());
    }

    #[test]
    fn each_segment_is_collected_once_by_the_innermost() {
        let [a, b] = [0, 0].map(|len| Segment::create(len).unwrap());
        let (inner, outer) = export(|| {
            postcard::to_allocvec(&a).unwrap();
            export(|| postcard::to_allocvec(&[&b, &b]).unwrap()).1
        });
        assert_eq!((inner.files.len(), outer.files.len()), (1, 1));
        assert!(inner.files[0].id() == b.id() && outer.files[0].id() == a.id());
    }

    #[test]
    fn other_things_live_as_long() {
        let thing = Arc::new(5);
        keep(thing.clone()); // nobody collects: nothing is kept
        let ((), exports) = export(|| keep(thing.clone()));
        assert_eq!(Arc::strong_count(&thing), 2);
        assert!(!exports.is_empty() && exports.handles().is_empty());
        drop(exports);
        assert_eq!(Arc::strong_count(&thing), 1);
    }

    #[test]
    fn a_panic_leaves_no_collection_behind() {
        let result = std::panic::catch_unwind(|| export(|| panic!("on purpose")));
        assert!(result.is_err());
        assert!(OPEN.with_borrow(Vec::is_empty));
    }
}
