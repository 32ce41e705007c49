//! Values of the user's own types, hosted by the manager.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use pool_core::Sendable;
use pool_core::remote::{Function, Handler};

use super::{forms, proxy};
use crate::manager::engine::Produced;
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Blob, Make, Reply, Request};
use crate::manager::session::unexpected;
use crate::manager::threads::Invocation;
use crate::manager::value::{self, Object};

/// A function that can be called on a hosted value of type `T`: `T::method`, a `fn` item, or a closure that captures nothing.
///
/// Its first parameter is `&mut T` or `&T`. `A` is the rest: a value for one more parameter, a tuple for several, `()` for none. The compiler
/// infers `Form`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called on a hosted `{T}` with arguments `{A}`",
    note = "write `fn(&mut T) -> R`, `fn(&mut T, A) -> R` or `fn(&mut T, A, B) -> R`, or the same with `&T`; several arguments go as a tuple, none as `()`"
)]
pub trait Method<T, A, Form>: Copy + 'static {
    /// What it returns.
    type Output;
    /// Calls it.
    fn call(self, target: &mut T, argument: A) -> Self::Output;
}

macro_rules! form {
    ($form:ident, ($($mutability:tt)?), ($($name:ident: $argument:ident),*), $all:ty, $pattern:pat) => {
        impl<F, T, R $(, $argument)*> Method<T, $all, forms::$form> for F
        where
            F: Fn(& $($mutability)? T $(, $argument)*) -> R + Copy + 'static,
        {
            type Output = R;
            fn call(self, target: &mut T, $pattern: $all) -> R {
                self(target $(, $name)*)
            }
        }
    };
}

form!(Changing, (mut), (a: A), A, a);
form!(Reading, (), (a: A), A, a);
form!(ChangingAlone, (mut), (), (), ());
form!(ReadingAlone, (), (), (), ());
form!(ChangingWithTwo, (mut), (a: A, b: B), (A, B), (a, b));
form!(ReadingWithTwo, (), (a: A, b: B), (A, B), (a, b));
form!(ChangingWithThree, (mut), (a: A, b: B, c: C), (A, B, C), (a, b, c));
form!(ReadingWithThree, (), (a: A, b: B, c: C), (A, B, C), (a, b, c));

/// A value of type `T` that a manager hosts.
///
/// Calls of one object run one after the other, those of several side by side. A call that panics is an error with its text, and poisons the
/// object: later calls fail too, until [`clear_poison`](Proxy::clear_poison).
///
/// ```
/// use pool_queue::Manager;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Histogram {
///     bins: Vec<u64>,
/// }
///
/// impl Histogram {
///     fn add(&mut self, bin: usize) {
///         if self.bins.len() <= bin {
///             self.bins.resize(bin + 1, 0);
///         }
///         self.bins[bin] += 1;
///     }
///     fn total(&self) -> u64 {
///         self.bins.iter().sum()
///     }
/// }
///
/// let manager = Manager::start()?;
/// let histogram = manager.host(Histogram::default())?;
/// histogram.call(Histogram::add, 3)?;
/// assert_eq!(histogram.call(Histogram::total, ())?, 1);
/// # Ok::<(), pool_queue::ManagerError>(())
/// ```
pub struct Proxy<T> {
    pub(super) object: Arc<Object>,
    holds: PhantomData<fn(T) -> T>,
}

proxy!(Proxy<T>);

impl<T: Send + 'static> Proxy<T> {
    /// Calls `method` on the value, in the manager's process, and returns what it returns.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] with the text of a panic; [`ManagerError::Poisoned`] after one; [`ManagerError::OtherExecutable`]; an argument or
    /// result that cannot be serialised; the manager is gone.
    pub fn call<F, A, Form>(&self, method: F, argument: A) -> Result<F::Output, ManagerError>
    where
        F: Method<T, A, Form, Output: Sendable>,
        A: Sendable,
        Form: 'static,
    {
        let function = Function::of::<Calls<T, A, Form>, F>(method);
        call(&self.object, function, &argument)
    }

    /// Calls work again, on whatever the panic has left.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn clear_poison(&self) -> Result<(), ManagerError> {
        let request = Request::ClearPoison(self.object.id);
        self.object.session.call(&request).map(drop)
    }
}

/// Has the server run a function over an object.
pub(super) fn call<A: Sendable, R: Sendable>(
    object: &Object,
    function: Function,
    argument: &A,
) -> Result<R, ManagerError> {
    let request = Request::Call {
        object: object.id,
        function: function.name().ok_or(ManagerError::NoFunction)?,
        argument: value::encode(&object.session, argument)?,
    };
    match object.session.call(&request)? {
        Reply::Value(Some(blob)) => value::decode(&object.session, blob),
        other => Err(unexpected(other)),
    }
}

impl Manager {
    /// Hosts a value of any type: it moves into the manager's process, where [`Proxy::call`] runs functions on it.
    ///
    /// # Errors
    ///
    /// [`ManagerError::OtherExecutable`] if the manager runs another program; a value that cannot be serialised; the manager is gone.
    pub fn host<T: Sendable + Send>(&self, value: T) -> Result<Proxy<T>, ManagerError> {
        let function = Function::of::<Hosts<T>, _>(());
        self.host_by::<Proxy<T>, T>(function, &value, false)
            .map(Proxy::of)
    }

    /// Makes a hosted object by a function of ours.
    pub(super) fn host_by<P, A: Sendable>(
        &self,
        function: Function,
        argument: &A,
        parallel: bool,
    ) -> Result<Arc<Object>, ManagerError> {
        let argument = value::encode(&self.session, argument)?;
        let function = function.name().ok_or(ManagerError::NoFunction)?;
        self.make::<P>(Make::Hosted {
            function,
            argument,
            parallel,
        })
    }
}

/// Makes a hosted value out of its serialised form.
struct Hosts<T>(PhantomData<T>);

impl<T: Sendable + Send> Handler<()> for Hosts<T> {
    fn handle((): (), context: &mut dyn Any) {
        produce(context, |invocation| {
            let value: T = value::decode_bytes(&invocation.argument)?;
            Ok(Produced::Value(Arc::new(Mutex::new(Box::new(value)))))
        });
    }
}

/// Calls a method.
struct Calls<T, A, Form>(PhantomData<(T, A, Form)>);

impl<T: Send + 'static, A: Sendable, Form: 'static, F> Handler<F> for Calls<T, A, Form>
where
    F: Method<T, A, Form, Output: Sendable>,
{
    fn handle(method: F, context: &mut dyn Any) {
        produce(context, |invocation| {
            let argument: A = value::decode_bytes(&invocation.argument)?;
            let cell = invocation.cell.take().ok_or(ManagerError::NoFunction)?;
            // The server keeps account of panics.
            let mut value = cell.lock().unwrap_or_else(PoisonError::into_inner);
            let target = value.downcast_mut::<T>().ok_or_else(wrong_type)?;
            let result = method.call(target, argument);
            drop(value);
            result_of(&result)
        });
    }
}

/// What a call brings back. Its proxies get leases: their values are dropped before the client has them.
pub(super) fn result_of<R: Sendable>(result: &R) -> Result<Produced, ManagerError> {
    let bytes = value::encode_bytes(result)?;
    Ok(Produced::Result(Blob {
        bytes,
        refs: Vec::new(),
    }))
}

pub(super) fn wrong_type() -> ManagerError {
    ManagerError::refused("the function is for objects of another type")
}

/// Runs `body` over what the server hands a function.
pub(super) fn produce(
    context: &mut dyn Any,
    body: impl FnOnce(&mut Invocation) -> Result<Produced, ManagerError>,
) {
    if let Some(invocation) = context.downcast_mut::<Invocation>() {
        invocation.produced = Some(body(invocation));
    }
}
