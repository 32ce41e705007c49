//! The mappings of this process: at most one per segment and kind of access.
//!
//! A robust mutex may only be unlocked through the mapping through which it
//! was locked, and a second mapping costs page tables and page faults, so
//! attaching to what is already mapped gives the existing mapping.

use super::SegmentId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Living mappings of one kind of access by segment.
pub(crate) struct Registry<M> {
    living: Mutex<Option<HashMap<SegmentId, Weak<M>>>>,
}

impl<M> Registry<M> {
    pub(crate) const fn new() -> Self {
        Registry {
            living: Mutex::new(None),
        }
    }

    /// The mapping of `id`, if there is one.
    pub(crate) fn find(&self, id: SegmentId) -> Option<Arc<M>> {
        self.lock().as_ref()?.get(&id)?.upgrade()
    }

    /// The mapping of `id`; made by `map` if there is none. Of two threads
    /// that attach at once, one maps and the other waits for it.
    pub(crate) fn find_or_map<E>(
        &self,
        id: SegmentId,
        map: impl FnOnce() -> Result<M, E>,
    ) -> Result<Arc<M>, E> {
        let mut living = self.lock();
        let living = living.get_or_insert_default();
        if let Some(mapping) = living.get(&id).and_then(Weak::upgrade) {
            return Ok(mapping);
        }
        let mapping = Arc::new(map()?);
        living.insert(id, Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// Forgets the mapping of `id` if it is dead. Called as one ends.
    pub(crate) fn forget(&self, id: SegmentId) {
        if let Some(living) = self.lock().as_mut()
            && living.get(&id).is_some_and(|weak| weak.strong_count() == 0)
        {
            living.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<SegmentId, Weak<M>>>> {
        // Every operation leaves the map whole, so a panic in one does not
        // matter to the next.
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
