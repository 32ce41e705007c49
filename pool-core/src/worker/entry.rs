//! The entry functions: one copy per task, argument, result and state type, each named by a constant descriptor.

use std::any::{Any, type_name};
use std::marker::PhantomData;

use ndarray::Ix1;
use pool_shm::{AttachedCut, AxisChunksMut, Blocks, Element};

use super::call::{Belongings, Call, Input, argument, decode};
use crate::atomic::Ordering;
use crate::error::TaskError;
use crate::identity::{Descriptor, conjure};
use crate::index::integer;
use crate::plain::{self, Results};
use crate::task::{BlockTask, Sendable, Task};

/// A task over encoded arguments.
pub(crate) struct Values<F, S, A, Form>(PhantomData<(F, S, A, Form)>);

impl<F, S: 'static, A: Sendable, Form: 'static> Values<F, S, A, Form>
where
    F: Task<S, A, Form, Output: Sendable>,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        // Arrays that are arguments of many tasks stay mapped from one to the next.
        let mut leases = std::mem::take(&mut call.belongings.leases);
        leases.scope(|| Self::run_in_scope(call));
        call.belongings.leases = leases;
    }

    fn run_in_scope(call: &mut Call<'_>) {
        let task = conjure::<F>();
        let Input::Values {
            bytes,
            items,
            results,
            ..
        } = call.input
        else {
            unreachable!("values are run by tasks")
        };
        let run =
            |state: &mut S, item: u32| Ok(task.run(state, argument::<A>(bytes, items, item)?));
        let Some((offset, size)) = results.zip(plain::size::<F::Output>()) else {
            return call.each(|call, item| {
                let result = run(call.state::<S>(), item)?;
                call.emit(&result)
            });
        };
        match Results::new(call.link.control.segment(), offset, items as usize, size) {
            Ok(results) => call.each_in_place(results, |state, _, item| run(state, item)),
            Err(error) => call.fail_all(&TaskError::EncodeResult {
                message: error.to_string(),
            }),
        }
    }
}

/// A task over a range of integers.
pub(crate) struct Indices<F, S, A, Form>(PhantomData<(F, S, A, Form)>);

impl<F, S: 'static, A: Sendable, Form: 'static> Indices<F, S, A, Form>
where
    F: Task<S, A, Form, Output: Sendable>,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        let task = conjure::<F>();
        let Input::Job { base, results, .. } = call.input else {
            unreachable!("a task over integers runs in jobs")
        };
        let argument = move |item: u32| {
            integer::<A>(base, item.into()).expect("a task over integers takes integers")
        };
        match results {
            Some(results) => call.each_in_place(results, move |state: &mut S, _, item| {
                Ok(task.run(state, argument(item)))
            }),
            None => call.each(|call, item| {
                let result = task.run(call.state::<S>(), argument(item));
                call.emit(&result)
            }),
        }
    }
}

/// The blocks of an array whose elements are results: one each.
pub(crate) type Places<'a, T> = AxisChunksMut<'a, T, Ix1>;

/// A task over a range of integers whose results are the elements of an array.
pub(crate) struct IndicesInto<F, S, A, Form>(PhantomData<(F, S, A, Form)>);

impl<F, S: 'static, A: 'static, Form: 'static> IndicesInto<F, S, A, Form>
where
    F: Task<S, A, Form, Output: Element>,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        let Input::Job {
            number,
            first_index,
            base,
            plan,
            ..
        } = call.input
        else {
            unreachable!("a task over integers runs in jobs")
        };
        if let Err(error) = attach::<Places<'static, F::Output>>(call, number, plan) {
            return call.fail_all(&error);
        }
        let task = conjure::<F>();
        call.each_into(
            |attached, items| {
                let attached: &AttachedCut<F::Output, Ix1> = attached.downcast_ref()?;
                let first = usize::try_from(first_index).ok()?;
                let index = |item: u32| first.checked_add(item as usize);
                let places = index(items.start)?..index(items.end)?;
                // SAFETY: as for the blocks below, for each of the items; attached above, as the array was lent.
                unsafe { Places::span(attached, places) }
            },
            move |state: &mut S, item| {
                let argument = integer::<A>(base, item.into());
                task.run(
                    state,
                    argument.expect("a task over integers takes integers"),
                )
            },
        );
    }
}

/// A task over the blocks of arrays.
pub(crate) struct OverBlocks<F, S, B, Form>(PhantomData<(F, S, B, Form)>);

impl<F, S: 'static, B: Blocks, Form: 'static> OverBlocks<F, S, B, Form>
where
    F: BlockTask<S, B, Form, Output: Sendable>,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        let Input::Job {
            number,
            base,
            plan,
            results,
            ..
        } = call.input
        else {
            unreachable!("blocks are run in jobs")
        };
        if let Err(error) = attach::<B>(call, number, plan) {
            return call.fail_all(&error);
        }
        let task = conjure::<F>();
        let run = move |state: &mut S, attached: Option<&dyn Any>, item: u32| {
            let attached: &B::Attached = attached
                .and_then(|attached| attached.downcast_ref())
                .expect("attached above");
            let index = base as usize + item as usize;
            // SAFETY: this worker has claimed the chunk of item `item` by compare-and-swap and alone runs it until it is done or
            // this process is dead; the pool's caller keeps the arrays borrowed until every claimed chunk has ended.
            let block = unsafe { B::block(attached, index) };
            let block = block.ok_or_else(|| TaskError::DecodeArgument {
                message: format!("there is no block {index}"),
            })?;
            Ok(task.run(state, block))
        };
        match results {
            Some(results) => call.each_in_place(results, run),
            None => call.each(|call, item| {
                let Belongings {
                    state, attached, ..
                } = &mut *call.belongings;
                let state = state
                    .downcast_mut()
                    .expect("the pool's type says what its workers' state is");
                let result = run(
                    state,
                    attached.as_ref().map(|(_, attached)| &**attached),
                    item,
                )?;
                call.emit(&result)
            }),
        }
    }
}

/// Maps the arrays of the job, unless this worker has them already.
fn attach<B: Blocks>(call: &mut Call<'_>, number: u64, plan: &[u8]) -> Result<(), TaskError> {
    let belongings = &mut *call.belongings;
    if belongings
        .attached
        .as_ref()
        .is_some_and(|(attached, _)| *attached == number)
    {
        return Ok(());
    }
    belongings.attached = None;
    let plan: B::Plan = decode(plan)?;
    call.link.report.holds.store(1, Ordering::Release); // SYNC: holds
    let attached = B::attach(&plan, &mut belongings.leases);
    let attached = attached.map_err(|error| TaskError::DecodeArgument {
        message: error.to_string(),
    })?;
    belongings.attached = Some((number, Box::new(attached)));
    Ok(())
}

/// An initializer: makes the state of a worker from its argument.
pub(crate) struct Initializer<F, A, S>(PhantomData<(F, A, S)>);

impl<F, A: Sendable, S: 'static> Initializer<F, A, S>
where
    F: Fn(A) -> Result<S, String> + Copy + 'static,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        let Input::Initializer { bytes } = call.input else {
            unreachable!("an initializer is run once, before any task")
        };
        let make = conjure::<F>();
        call.each(|call, _| {
            let made =
                make(decode(bytes)?).map_err(|message| TaskError::Initializer { message })?;
            call.belongings.state = Box::new(made);
            Ok(())
        });
    }
}

/// An exit hook: takes the state of a worker that leaves.
pub(crate) struct ExitHook<F, S, R>(PhantomData<(F, S, R)>);

impl<F, S: 'static, R: Sendable> ExitHook<F, S, R>
where
    F: Fn(S) -> R + Copy + 'static,
{
    pub(crate) const DESCRIPTOR: &'static Descriptor = &Descriptor::new(Self::run, type_name::<F>);

    fn run(call: &mut Call<'_>) {
        let hook = conjure::<F>();
        call.each(|call, _| {
            let state = std::mem::replace(&mut call.belongings.state, Box::new(()));
            let state = state
                .downcast()
                .expect("the pool's type says what its workers' state is");
            let result = hook(*state);
            call.emit(&result)
        });
    }
}

/// Bytes of a result that a job writes in place; none if it goes through the stream.
pub(crate) fn in_place<R: 'static>() -> Option<usize> {
    plain::size::<R>()
}
