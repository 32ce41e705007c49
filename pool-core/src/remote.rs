//! Functions of this executable that another process of it may have run: what services build on that run code for others.
//!
//! Hidden from the documentation: it is for the crates above this one and may change with them. A function is named as a task is
//! (`identity.rs`): by the place of its descriptor in memory that nothing can write. Descriptors of this kind have a mark of their
//! own, so no task can be called through it.

use std::any::{Any, type_name};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use crate::codec::explain;
use crate::error::TaskError;
use crate::identity::{Descriptor, Entry, conjure};
use crate::process::ProcessBuilder;
use crate::{sys, worker};

/// Runs a function over whatever its service hands it.
type Run = fn(&mut dyn Any);

/// The kind of its own; a type of its own, so that no other signature can take its mark.
#[derive(Clone, Copy, Debug)]
struct Remote(Run);

impl Entry for Remote {
    const MARK: [u64; 2] = [0x96e1_4d27_c8f3_5ab0, 0x3ac5_7b90_12de_f864];
}

/// How a service runs functions of the type `F`, which have no bytes.
pub trait Handler<F>: 'static {
    /// Runs `function` over `context`, which the service made.
    fn handle(function: F, context: &mut dyn Any);
}

/// A function that can be run by name.
#[derive(Clone, Copy, Debug)]
pub struct Function(&'static Descriptor<Remote>);

struct Entrance<H, F>(PhantomData<(H, F)>);

impl<H: Handler<F>, F: Copy + 'static> Entrance<H, F> {
    const DESCRIPTOR: &'static Descriptor<Remote> =
        &Descriptor::new(Remote(Self::run), type_name::<F>);

    fn run(context: &mut dyn Any) {
        H::handle(conjure::<F>(), context);
    }
}

impl Function {
    /// The function that runs `function` as `H` says. Taking the value shows that there is one.
    pub fn of<H: Handler<F>, F: Copy + 'static>(_function: F) -> Function {
        Function(Entrance::<H, F>::DESCRIPTOR)
    }

    /// Its name in every process of this executable; none if it stands in a library that was loaded later.
    pub fn name(self) -> Option<u64> {
        self.0.identity()
    }

    /// The function of that name.
    pub fn find(name: u64) -> Option<Function> {
        Descriptor::find(name).map(Function)
    }

    /// How the source calls it, for messages.
    pub fn text(self) -> &'static str {
        (self.0.name)()
    }

    /// Runs it.
    pub fn run(self, context: &mut dyn Any) {
        (self.0.run.0)(context);
    }
}

/// Tells this executable from every other.
pub fn executable() -> u64 {
    sys::image().identity
}

/// Runs `body`; a panic of it is an error that says where it was, and is not printed in processes that this crate has started.
///
/// # Errors
///
/// The panic.
pub fn catch<R>(body: impl FnOnce() -> R) -> Result<R, TaskError> {
    worker::panics_of_this_thread_travel();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| worker::error_of(&*payload))
}

/// Makes the process that the builder starts a service: interrupts at the terminal do not end it; if `outlives`, the end of the program
/// does not either. (The end of its handle does.)
pub fn service(builder: ProcessBuilder, outlives: bool) -> ProcessBuilder {
    builder.service(outlives)
}
