//! What a worker is doing, as far as the book and its slot tell: for those who ask, and for diagnosis.

use std::sync::Arc;

use super::book::Book;
use super::core::Core;
use crate::atomic::Ordering;
use crate::current::SINGLE;
use crate::identity::Descriptor;

/// The task that a worker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doing {
    /// What [`Current::index`](crate::Current::index) says there.
    pub(crate) index: u64,
    /// The name of its job; of the function if the job has none.
    pub(crate) name: Arc<str>,
}

impl Core {
    /// The task that the worker in `slot` runs; none if it runs none. A worker that goes on meanwhile can make it the task before.
    pub(super) fn doing(&self, book: &Book, slot: usize) -> Option<Doing> {
        let report = &self.control.slot(slot).report;
        let item = report.item.load(Ordering::Acquire); // SYNC: item-begun
        if item.is_multiple_of(2) {
            return None;
        }
        let item = u64::from(item / 2);
        let joined = report.joined.load(Ordering::Relaxed);
        let job = book.jobs.iter().flatten().find(|job| job.number == joined);
        let (base, descriptor, name) = match job.filter(|_| joined != 0) {
            Some(job) => (job.first_index, job.descriptor, &job.name),
            None => {
                let entry = self.control.tasks().claimed_in(slot)?;
                let task = book.tasks.get(book.entries.get(&entry)?)?;
                (task.base & !SINGLE, task.descriptor, &task.name)
            }
        };
        let function = || {
            let found: Option<&Descriptor> = Descriptor::find(descriptor);
            found.map_or("", |found| (found.name)()).into()
        };
        let name = name.clone().unwrap_or_else(function);
        Some(Doing {
            index: base + item,
            name,
        })
    }
}
