//! A pool of workers in the manager's process, for all clients.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use pool_core::remote::{Function, Handler};
use pool_core::{Pool, PoolError, Sendable, Task, TaskError};

use super::call::{call, produce, result_of, wrong_type};
use super::proxy;
use crate::manager::engine::Produced;
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::threads::Invocation;
use crate::manager::value::{self, Object};

/// A pool that belongs to a manager: every process that has the proxy shares its workers.
///
/// Arguments and results go through the manager; for large data give tasks proxies or shared arrays.
pub struct PoolProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(PoolProxy);

impl PoolProxy {
    /// Runs `task` for every argument, and returns the results in order. Calls of several clients run side by side.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] with the first task that failed; the manager is gone.
    pub fn map<F, A, Form>(
        &self,
        task: F,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<F::Output>, ManagerError>
    where
        F: Task<(), A, Form, Output: Sendable>,
        A: Sendable,
        Form: 'static,
    {
        let arguments: Vec<A> = arguments.into_iter().collect();
        let function = Function::of::<Maps<A, Form>, F>(task);
        call(&self.object, function, &arguments)
    }

    /// Runs one task.
    ///
    /// # Errors
    ///
    /// As for [`map`](Self::map).
    pub fn apply<F, A, Form>(&self, task: F, argument: A) -> Result<F::Output, ManagerError>
    where
        F: Task<(), A, Form, Output: Sendable>,
        A: Sendable,
        Form: 'static,
    {
        let function = Function::of::<Applies<A, Form>, F>(task);
        call(&self.object, function, &argument)
    }
}

impl Manager {
    /// A pool of so many workers in the manager's process.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Call`] if it cannot be made; [`ManagerError::OtherExecutable`]; the manager is gone.
    pub fn pool(&self, workers: usize) -> Result<PoolProxy, ManagerError> {
        let function = Function::of::<Makes, _>(());
        let object = self.host_by::<PoolProxy, usize>(function, &workers, true)?;
        Ok(PoolProxy::of(object))
    }
}

struct Makes;

impl Handler<()> for Makes {
    fn handle((): (), context: &mut dyn Any) {
        produce(context, |invocation| {
            let workers: usize = value::decode_bytes(&invocation.argument)?;
            let pool = Pool::builder().workers(workers).build();
            let pool = Arc::new(pool.map_err(failed)?);
            Ok(Produced::Value(Arc::new(Mutex::new(Box::new(pool)))))
        });
    }
}

struct Maps<A, Form>(PhantomData<(A, Form)>);

impl<A: Sendable, Form: 'static, F> Handler<F> for Maps<A, Form>
where
    F: Task<(), A, Form, Output: Sendable>,
{
    fn handle(task: F, context: &mut dyn Any) {
        produce(context, |invocation| {
            let arguments: Vec<A> = value::decode_bytes(&invocation.argument)?;
            let pool = pool_of(invocation)?;
            result_of(&pool.map(task, arguments).map_err(failed)?)
        });
    }
}

struct Applies<A, Form>(PhantomData<(A, Form)>);

impl<A: Sendable, Form: 'static, F> Handler<F> for Applies<A, Form>
where
    F: Task<(), A, Form, Output: Sendable>,
{
    fn handle(task: F, context: &mut dyn Any) {
        produce(context, |invocation| {
            let argument: A = value::decode_bytes(&invocation.argument)?;
            let pool = pool_of(invocation)?;
            result_of(&pool.apply(task, argument).map_err(failed)?)
        });
    }
}

/// The pool of the object. It is used without the object's lock, so that calls run side by side.
fn pool_of(invocation: &mut Invocation) -> Result<Arc<Pool>, ManagerError> {
    let cell = invocation.cell.take().ok_or(ManagerError::NoFunction)?;
    let value = cell.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = value.downcast_ref::<Arc<Pool>>().ok_or_else(wrong_type)?;
    Ok(Arc::clone(pool))
}

fn failed(error: PoolError) -> ManagerError {
    let message = error.to_string();
    let task = error.task().map(|(_, error)| error.clone());
    ManagerError::Call(task.unwrap_or(TaskError::Initializer { message }))
}
