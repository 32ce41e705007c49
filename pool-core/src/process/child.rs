//! The process itself: gets its order, runs the function, says how that went.

use std::any::type_name;
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pool_shm::transfer::{self, Exports};
use serde::{Deserialize, Serialize};

use super::builder::{Ends, Service};
use super::outcome::OutcomeFile;
use crate::codec;
use crate::error::TaskError;
use crate::identity::{Descriptor, Entry, conjure};
use crate::nest::Nest;
use crate::start::boot::{self, Place};
use crate::task::Sendable;
use crate::{start, sys, worker};

/// Changes with every change of [`Order`].
const VERSION: u32 = 2;
/// Exit status after a panic, as every Rust program has it.
const PANICKED: i32 = 101;

/// What a started process is told. Two descriptors come with it: for its outcome, and its life-line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    version: u32,
    /// Of the executable.
    identity: u64,
    descriptor: u64,
    argument: Place,
    name: String,
    nest: Nest,
    service: Option<Service>,
}

impl Order {
    pub(super) fn new(
        descriptor: u64,
        argument: Place,
        name: String,
        nest: Nest,
        service: Option<Service>,
    ) -> Order {
        Order {
            version: VERSION,
            identity: sys::image().identity,
            descriptor,
            argument,
            name,
            nest,
            service,
        }
    }

    /// Reads the order, if it is one for this executable.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Order> {
        let order: Order = postcard::from_bytes(bytes).map_err(io::Error::other)?;
        let own = sys::image().identity;
        if (order.version, order.identity) != (VERSION, own) {
            return Err(io::Error::other(format!(
                "the order is version {} for executable {:016x}, this is version {VERSION} of {own:016x}: was the program replaced?",
                order.version, order.identity
            )));
        }
        Ok(order)
    }
}

/// What a function returned: its encoded value or why there is none, and what the value refers to.
#[derive(Debug)]
pub(crate) struct Returned {
    value: Result<Vec<u8>, TaskError>,
    exports: Exports,
}

/// The entry function of a single process.
pub(super) type Run = fn(&[u8]) -> Returned;

impl Entry for Run {
    const MARK: [u64; 2] = [0x2b83_f07d_5c61_9ae4, 0xd094_6e3b_a1f7_582c];
}

/// One copy per task, argument and value type.
pub(super) struct Main<F, A, R>(PhantomData<(F, A, R)>);

impl<F, A: Sendable, R: Sendable> Main<F, A, R>
where
    F: Fn(A) -> R + Copy + 'static,
{
    pub(super) const DESCRIPTOR: &'static Descriptor<Run> =
        &Descriptor::new(Self::run as Run, type_name::<F>);

    fn run(bytes: &[u8]) -> Returned {
        let task = conjure::<F>();
        returned(|| Ok(task(worker::decode(bytes)?)))
    }
}

/// Runs `body` and encodes its value. A panic of either is an error.
fn returned<R: Sendable>(body: impl FnOnce() -> Result<R, TaskError>) -> Returned {
    let (value, exports) = transfer::export(|| {
        let value = catch_unwind(AssertUnwindSafe(|| {
            let mut bytes = Vec::new();
            codec::append(&body()?, &mut bytes)
                .map_err(|message| TaskError::EncodeResult { message })?;
            Ok(bytes)
        }));
        value.unwrap_or_else(|payload| Err(worker::error_of(&*payload)))
    });
    Returned { value, exports }
}

/// The executed process's end: becomes what the order says, and never returns.
pub(crate) fn enter(parent: u32) -> ! {
    match receive() {
        Ok((order, descriptor, outcome, lifeline, socket)) => {
            let run = || (descriptor.run)(&order.argument.read());
            let fds = (lifeline.as_fd(), socket.as_fd());
            serve((&order.name, order.nest, order.service), &outcome, fds, run)
        }
        Err(error) => {
            boot::refuse(parent, boot::PROCESS_VARIABLE, &error);
            sys::exit_now(boot::FAILED)
        }
    }
}

type Received = (
    Order,
    &'static Descriptor<Run>,
    OutcomeFile,
    OwnedFd,
    OwnedFd,
);

fn receive() -> io::Result<Received> {
    let socket = sys::take_stdin()?;
    let (bytes, fds) = sys::receive_with_fds(socket.as_fd(), boot::LIMIT)?;
    let [outcome, lifeline] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|fds| io::Error::other(format!("{} descriptors came instead of 2", fds.len())))?;
    let order = Order::read(&bytes)?;
    let descriptor = Descriptor::find(order.descriptor).ok_or_else(|| {
        io::Error::other(format!("there is no function at {:#x}", order.descriptor))
    })?;
    sys::close_others(&[outcome.as_fd(), lifeline.as_fd(), socket.as_fd()]);
    Ok((
        order,
        descriptor,
        OutcomeFile::received(outcome),
        lifeline,
        socket,
    ))
}

/// The forked process's end.
pub(super) fn continue_as<R: Sendable>(
    (name, nest, service): (&str, Nest, Option<Service>),
    env: &[(String, String)],
    ends: &Ends,
    body: impl FnOnce() -> R,
) -> Infallible {
    start::after_fork();
    for (name, value) in env {
        sys::set_variable(name, value);
    }
    if let Err(error) = sys::take_stdin() {
        boot::refuse(std::process::id(), "fork", &error);
        sys::exit_now(boot::FAILED)
    }
    let fds = (ends.lifeline.as_fd(), ends.theirs.as_fd());
    serve((name, nest, service), &ends.outcome, fds, || {
        returned(|| Ok(body()))
    })
}

/// Runs the function, says how it went, and ends.
fn serve(
    (name, nest, service): (&str, Nest, Option<Service>),
    outcome: &OutcomeFile,
    (lifeline, socket): (BorrowedFd<'_>, BorrowedFd<'_>),
    run: impl FnOnce() -> Returned,
) -> ! {
    worker::keep_panics();
    worker::panics_of_this_thread_travel();
    sys::worker_signals();
    if service.is_none() {
        sys::heed_interrupts();
    }
    sys::set_name(name, "");
    nest.enter_process();
    let tied = !service.is_some_and(|service| service.outlives);
    let _line = tied.then(|| boot::tie(lifeline));
    let Returned { value, exports } = run();
    boot::flush_output();
    let code = if value.is_ok() { 0 } else { PANICKED };
    let said = outcome.write(value, exports.handles()).or_else(|error| {
        let message = format!("there is no room for it ({error})");
        outcome.write(Err(TaskError::EncodeResult { message }), Vec::new())
    });
    if said.is_ok() && !exports.is_empty() {
        // The value names segments of this process, which must stay until the handle has them, or is gone.
        let offered = sys::write_byte(socket);
        while offered.is_ok() && sys::read_byte(socket).is_ok_and(|byte| byte.is_some()) {}
    }
    sys::exit_now(if said.is_ok() { code } else { boot::FAILED })
}

/// For the fuzz target: any bytes are read as an order.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(order) = Order::read(bytes) {
        let _ = Descriptor::<Run>::find(order.descriptor);
    }
}
