//! A panic of a task becomes an error that travels.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;

use crate::error::{RemotePanic, TaskError};

thread_local! {
    static LAST: RefCell<Option<RemotePanic>> = const { RefCell::new(None) };
}

/// Makes panics of this process silent and kept: where it happened is known only while it happens.
pub(crate) fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let location = info.location().map(ToString::to_string);
        LAST.set(Some(RemotePanic::new(
            message(info.payload()),
            location,
            backtrace,
        )));
    }));
}

/// The error for a panic that was caught with this payload.
pub(crate) fn error_of(payload: &(dyn Any + Send)) -> TaskError {
    // What was kept is of another panic if the task caught that one, and this one was resumed.
    let kept = LAST
        .take()
        .filter(|kept| kept.message == message(payload))
        .unwrap_or_else(|| RemotePanic::new(message(payload), None, None));
    TaskError::Panicked(kept)
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
