//! What the handles of a pool, its watcher and the arrays that it borrowed share: the control segment and the book.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pool_shm::{Lessee, SegmentId};

use super::book::Book;
use super::courier::Courier;
use crate::atomic::{Ordering, fence};
use crate::dispatch::control::{Control, status};
use crate::dispatch::join;
use crate::start::StartMethod;
use crate::sys;
use crate::yielding::{YIELDS, Yielding};

/// The shared half of a pool.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) control: Control,
    book: Mutex<Book>,
    /// Wakes the watcher.
    pub(crate) kick: OwnedFd,
    pub(super) courier: Courier,
    /// What the workers are.
    method: StartMethod,
    /// Most items that a worker claims at once if the pool chooses.
    pub(super) most_at_once: u32,
    /// No call may begin any more.
    pub(super) closed: AtomicBool,
    /// The thread that runs the tasks, if no process and no thread of the pool does.
    pub(super) home: Option<ThreadId>,
    /// Whether threads that wait here let others run first.
    yielding: Yielding,
}

impl Core {
    pub(crate) fn new(
        control: Control,
        kick: OwnedFd,
        method: StartMethod,
        most_at_once: u32,
    ) -> Core {
        let book = Mutex::new(Book::new(&control));
        let home = (method == StartMethod::InProcess).then(|| std::thread::current().id());
        Core {
            control,
            book,
            kick,
            courier: Courier::default(),
            method,
            most_at_once,
            closed: AtomicBool::new(false),
            home,
            yielding: Yielding::default(),
        }
    }

    /// Whether the workers are processes, which can be killed one by one.
    pub(super) fn has_processes(&self) -> bool {
        !matches!(self.method, StartMethod::Thread | StartMethod::InProcess)
    }

    /// Whether the workers come and go; otherwise the calling thread is the only one.
    pub(super) fn has_staff_of_its_own(&self) -> bool {
        self.method != StartMethod::InProcess
    }

    /// The book. No code of users runs while it is locked, so a poisoned lock has a sound book behind it.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was published: the watcher has to bring workers back if some are away because they had nothing to do.
    pub(super) fn call_back(&self, book: &Book) {
        if !book.crew.away.is_empty() {
            self.kick();
        }
    }

    /// Makes the watcher look.
    pub(crate) fn kick(&self) {
        sys::eventfd_kick(self.kick.as_fd());
    }

    /// Waits until `ready`, at most `timeout`; whether it is. `announce` is called before the thread sleeps, `ready` after it.
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        mut ready: impl FnMut() -> bool,
        mut announce: impl FnMut(),
    ) -> bool {
        let (pauses, yields) = self.yielding.budget(YIELDS);
        for turn in 0..pauses + yields {
            if ready() {
                return true;
            }
            if self.run_here() {
                continue;
            }
            if turn < pauses {
                std::hint::spin_loop()
            } else if !self.yielding.give_way() {
                break;
            }
        }
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let seen = self.control.event();
            announce();
            if ready() {
                return true;
            }
            if self.run_here() {
                continue;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            self.control.wait_event(seen, left);
        }
    }

    /// Whether no worker may touch the memory of job `number` any more. The job was closed before.
    pub(crate) fn is_quiet(&self, number: u64) -> bool {
        !join::is_joined(
            self.control.slots().iter().map(|slot| &slot.report.joined),
            number,
        )
    }

    /// Frees the memory of closed jobs that no worker touches any more.
    pub(crate) fn free_retired(&self, book: &mut Book) {
        let retired = std::mem::take(&mut book.retired);
        for (place, number, memory) in retired {
            if self.is_quiet(number) {
                memory.into_iter().for_each(|span| book.arena.free(span));
            } else {
                book.retired.push((place, number, memory));
            }
        }
    }

    /// Asks every worker to unmap what it was lent and to let go of what it sent.
    pub(super) fn request_flush(&self) -> u32 {
        let asked = self
            .control
            .orders()
            .flush
            .fetch_add(1, Ordering::AcqRel)
            .wrapping_add(1); // SYNC: flush-asked
        self.control.ring_all();
        asked
    }

    /// The same; waits until each has, or is dead.
    fn flush(&self) {
        let asked = self.request_flush();
        self.wait(None, || self.have_flushed(asked), || ());
    }

    /// A worker that holds nothing need not be waited for: it maps a lent segment only for a chunk that it has claimed, and
    /// whoever freezes an array has seen the end of every chunk of it.
    fn have_flushed(&self, asked: u32) -> bool {
        // A worker is ready from the moment that it says so, which the book learns a little later, until its death is known.
        let mut ready = self
            .control
            .slots()
            .iter()
            .filter(|slot| slot.status.load(Ordering::Acquire) == status::READY); // SYNC: slot-status
        ready.all(|slot| {
            let report = &slot.report;
            let done = report.flushed.load(Ordering::Acquire); // SYNC: flush-done
            done.wrapping_sub(asked) as i32 >= 0 || report.holds.load(Ordering::Acquire) == 0 // SYNC: holds
        })
    }
}

impl Lessee for Core {
    fn release(&self, _id: SegmentId) {
        fence(Ordering::SeqCst);
        self.flush();
    }
}
