//! A panic of a task becomes an error that travels.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::backtrace;
use crate::current;
use crate::error::{RemotePanic, TaskError};

thread_local! {
    /// Panics of this thread are errors that travel, though it is no worker of a pool.
    static TRAVELS: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<RemotePanic>> = const { RefCell::new(None) };
}

/// The last panic of a thread that a task has started: the task may resume it as its own.
static LAST_ELSEWHERE: Mutex<Option<RemotePanic>> = Mutex::new(None);

/// Keeps panics of this process: where one happened is known only while it happens. Those of tasks are silent, since they travel;
/// those of threads that tasks have started are reported as ever.
pub(crate) fn keep_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let backtrace = backtrace::capture();
        let location = info.location().map(ToString::to_string);
        let panic = RemotePanic::new(message(info.payload()), location, backtrace);
        if current::is_worker() || TRAVELS.get() {
            LAST.set(Some(panic));
        } else {
            *elsewhere() = Some(panic);
            report(info);
        }
    }));
}

/// Panics of this thread are caught and told to the handle of its process.
pub(crate) fn panics_of_this_thread_travel() {
    TRAVELS.set(true);
}

fn elsewhere() -> MutexGuard<'static, Option<RemotePanic>> {
    LAST_ELSEWHERE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The error for a panic that was caught with this payload.
pub(crate) fn error_of(payload: &(dyn Any + Send)) -> TaskError {
    let text = message(payload);
    // What was kept is of another panic if the task caught that one, and this one was resumed.
    let same = |kept: &RemotePanic| kept.message == text;
    let kept = LAST.take().filter(same);
    let kept = kept.or_else(|| elsewhere().take_if(|kept| same(kept)));
    TaskError::Panicked(kept.unwrap_or_else(|| RemotePanic::new(text.clone(), None, None)))
}

fn message(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => match payload.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "a payload that is neither `&str` nor `String`".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_become_messages() {
        let cases: [(Box<dyn Any + Send>, &str); 3] = [
            (Box::new("plain"), "plain"),
            (Box::new(String::from("owned")), "owned"),
            (Box::new(7), "neither"),
        ];
        for (payload, part) in cases {
            let TaskError::Panicked(panic) = error_of(&*payload) else {
                panic!("not a panic")
            };
            assert!(panic.message.contains(part));
        }
    }
}
