//! Who wants to know when a task is done, though no thread waits for it: futures, callbacks, and handles that were dropped.
//!
//! The worker that finishes such a task finds the mark of a sleeper on its entry, and behind the mark the order to tell the
//! watcher, which reaps the entry, wakes futures itself and hands callbacks to the courier. All other tasks are reaped by the
//! threads that wait for them, or when entries run short.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;
use std::task::Waker;

use super::book::{Book, Failure, Outcome, TaskBook};
use super::core::Core;
use super::courier::{Callback, Resolution};
use crate::atomic::Ordering;
use crate::dispatch::word::ClaimWord;
use crate::error::TaskError;

/// Who follows a task.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    /// The watcher has to be told when the task is done.
    notify: bool,
    /// Nobody will ask for the result: the task is forgotten as soon as it is done.
    detached: bool,
    /// The task is told that nobody wants its result.
    cancelled: bool,
    /// The future that was polled last.
    future: Option<Waker>,
    /// Threads that wait for one of several tasks.
    threads: Vec<Waker>,
    callbacks: Vec<Callback>,
    /// Threads that sleep until this task is done. Whoever takes it over from the table wakes them: the worker has woken only
    /// those that had marked the entry by then.
    sleepers: u32,
}

impl Followers {
    /// A thread is going to sleep until the task is done, or has woken up.
    pub(super) fn count_sleeper(&mut self, sleeps: bool) {
        self.sleepers = if sleeps {
            self.sleepers + 1
        } else {
            self.sleepers.saturating_sub(1)
        };
    }

    /// What an entry says of the task: whether to tell the watcher, and whether the task is cancelled.
    pub(super) fn flags(&self) -> (bool, bool) {
        (self.notify, self.cancelled)
    }

    fn take_wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.future
            .take()
            .into_iter()
            .chain(std::mem::take(&mut self.threads))
    }
}

/// What a handle asks to be told by.
#[derive(Debug)]
pub(super) enum Follow {
    Future(Waker),
    Thread(Waker),
    Callback(Callback),
    /// Nothing: the task is to be forgotten when it is done.
    Detach,
}

impl Book {
    /// A thread is going to sleep until one of these tasks is done, or has woken up.
    pub(super) fn count_sleeper(&mut self, ids: &[u64], sleeps: bool) {
        for id in ids {
            if let Some(task) = self.tasks.get_mut(id) {
                task.followers.count_sleeper(sleeps);
            }
        }
    }
}

impl Core {
    /// Lets go of the book; the watcher is told if somebody has to be woken.
    pub(super) fn unlock(&self, book: MutexGuard<'_, Book>) {
        let anybody = !book.wakers.is_empty();
        drop(book);
        if anybody {
            self.kick();
        }
    }

    /// Adds a follower. One of a task that is done already is told at once.
    pub(super) fn follow(&self, book: &mut Book, id: u64, follow: Follow) {
        let buried = book.buried;
        let Some(task) = book.tasks.get_mut(&id) else {
            return;
        };
        let followers = &mut task.followers;
        match follow {
            Follow::Future(waker) => followers.future = Some(waker),
            Follow::Thread(waker) if followers.threads.iter().any(|w| w.will_wake(&waker)) => {}
            Follow::Thread(waker) => followers.threads.push(waker),
            Follow::Callback(callback) => followers.callbacks.push(callback),
            Follow::Detach => followers.detached = true,
        }
        followers.notify = true;
        let (done, entry) = (task.done, task.entry);
        if done || buried {
            self.note_done(book, id);
            if buried {
                self.courier.retire();
            }
            return;
        }
        let Some(entry) = entry else {
            return;
        };
        let table = self.control.tasks();
        // Before the mark: whoever finds the mark finds this.
        table.entries[entry].notify.store(1, Ordering::Relaxed);
        if let ClaimWord::Done(owner) = table.announce_sleep(entry) {
            self.finish_task(book, id, entry, owner.slot());
            self.publish_backlog(book);
        }
    }

    /// Tells the followers of a task that it is done, or will never be.
    pub(super) fn note_done(&self, book: &mut Book, id: u64) {
        let Some(task) = book.tasks.get_mut(&id) else {
            return;
        };
        let arguments = task.take_arguments();
        let limit = task.limit.take();
        let wakers = task.followers.take_wakers();
        let callbacks = std::mem::take(&mut task.followers.callbacks);
        let detached = task.followers.detached;
        if task.followers.sleepers > 0 {
            self.control.signal_event();
        }
        if !callbacks.is_empty() {
            let resolution = Resolution::of(task, book.failure.as_ref());
            self.courier.send(resolution, callbacks);
        }
        book.wakers.extend(wakers);
        book.limits.remove(limit);
        book.free_arguments(arguments);
        if detached {
            self.drop_task(book, id);
        }
    }

    /// Takes over every task that is done from the table. Whether there was one.
    pub(super) fn reap(&self, book: &mut Book) -> bool {
        let table = self.control.tasks();
        let done: Vec<(usize, u64, usize)> = book
            .entries
            .iter()
            .filter_map(|(entry, id)| match table.word(*entry) {
                ClaimWord::Done(owner) => Some((*entry, *id, owner.slot())),
                _ => None,
            })
            .collect();
        for (entry, id, slot) in &done {
            self.finish_task(book, *id, *entry, *slot);
        }
        !done.is_empty()
    }

    /// The pool is buried: tells the followers of all that will never be done.
    pub(super) fn abandon(&self, book: &mut Book) {
        self.reap(book);
        let left: Vec<u64> = book.tasks.keys().copied().collect();
        left.into_iter().for_each(|id| self.note_done(book, id));
        self.courier.retire();
    }

    /// Watcher: wakes whom the book names.
    pub(super) fn wake_followers(&self) {
        let wakers = std::mem::take(&mut self.book().wakers);
        for waker in wakers {
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::warn!("a waker of an executor has panicked");
            }
        }
    }

    /// Tells a task that has begun that nobody wants its result.
    pub(super) fn tell_cancelled(&self, book: &mut Book, id: u64) {
        if let Some(task) = book.tasks.get_mut(&id).filter(|task| !task.done) {
            task.followers.cancelled = true;
            if let Some(entry) = task.entry {
                let word = &self.control.tasks().entries[entry].cancelled;
                word.store(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes back a task that has not begun, and tells one that has. Whether it will never run.
    pub(super) fn cancel_task(&self, id: u64) -> bool {
        let mut book = self.book();
        let cancelled = self.cancel_pending(&mut book, id);
        self.unlock(book);
        cancelled
    }

    /// The same with the book at hand. The caller has [`Core::unlock`] it.
    pub(super) fn cancel_pending(&self, book: &mut Book, id: u64) -> bool {
        let Some(task) = book.tasks.get_mut(&id).filter(|task| !task.done) else {
            return false;
        };
        if let Some(entry) = task.entry {
            if !self.control.tasks().withdraw(entry) {
                self.tell_cancelled(book, id);
                return false;
            }
            book.entries.remove(&entry);
            task.entry = None;
        }
        resolve(task, TaskError::Cancelled);
        self.note_done(book, id);
        self.publish_backlog(book);
        true
    }
}

/// Gives every item of a task that has no result yet the same error.
pub(super) fn resolve(task: &mut TaskBook, error: TaskError) {
    match &mut task.outcome {
        Outcome::Streamed(gathered) => {
            while gathered.len() < task.items {
                gathered.push_error(error.clone());
            }
        }
        Outcome::InPlace { failed, .. } => {
            failed.extend((task.next..task.items).map(|item| (item, error.clone())));
        }
    }
    task.done = true;
}

impl Failure {
    /// The error of a task that will never run because of this failure.
    pub(super) fn task_error(&self) -> Option<TaskError> {
        matches!(self, Failure::Closed).then_some(TaskError::Cancelled)
    }
}
