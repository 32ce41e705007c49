//! What can be a task: a `fn` item, or a closure that captures nothing.
//!
//! Such a value has no bytes: its type alone says which code runs, so nothing of it has to be sent. The worker, a process of
//! the same executable, makes the value anew from its type.

use pool_shm::Blocks;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What travels between the pool's process and its workers: an argument of a task or its result.
///
/// Implemented for everything that serde can write and read without borrowing, shared arrays among it. A task that takes `&str` or
/// another reference is refused ("implementation of `Deserialize` is not general enough"): let it take a `String`, or whatever owns
/// the data. An error type without serde, as `std::env::VarError`, is turned into text in the task.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "not serialisable, or it borrows",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; instead of a reference send an owned value, an index, or a `FrozenArray`"
)]
pub trait Sendable: Serialize + DeserializeOwned + 'static {}
impl<T: Serialize + DeserializeOwned + 'static> Sendable for T {}

/// Marks the form `fn(A) -> R`. Never written by users: the compiler infers it.
#[derive(Debug)]
pub struct Stateless;
/// Marks the form `fn(&mut S, A) -> R`, where `S` is what the pool's initializer returned.
#[derive(Debug)]
pub struct Stateful;

/// A function that can be run by a worker of a pool with state `S`: `fn(A) -> R` or `fn(&mut S, A) -> R`.
///
/// What cannot be a task does not compile. A closure that captures something (`cargo build` refuses it; `cargo check` does not get
/// that far):
///
/// ```compile_fail,E0080
/// let pool = pool_core::Pool::new(1).unwrap();
/// let factor = 3;
/// pool.map(move |x: i32| factor * x, 0..3).unwrap();
/// ```
///
/// An argument that is borrowed:
///
/// ```compile_fail,E0277
/// fn sum(numbers: &[f64]) -> f64 {
///     numbers.iter().sum()
/// }
/// let pool = pool_core::Pool::new(1).unwrap();
/// pool.apply(sum, &[1.0, 2.0][..]).unwrap();
/// ```
///
/// An argument, or a result, that serde can neither write nor read:
///
/// ```compile_fail,E0277
/// struct Sample(f64);
/// let pool = pool_core::Pool::new(1).unwrap();
/// pool.map(|sample: Sample| sample.0, [Sample(1.0)]).unwrap();
/// ```
///
/// ```compile_fail,E0277
/// struct Sample(f64);
/// let pool = pool_core::Pool::new(1).unwrap();
/// pool.map(|x: u32| Sample(x.into()), 0..3).unwrap();
/// ```
///
/// A state that is not what the initializer returns:
///
/// ```compile_fail,E0277
/// fn add(state: &mut f64, x: f64) -> f64 {
///     *state + x
/// }
/// let pool = pool_core::Pool::builder().initializer(|text: String| text, String::new()).build().unwrap();
/// pool.map(add, [1.0, 2.0]).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task of this pool for arguments of type `{A}`",
    label = "no task for `{A}`",
    note = "a task is a `fn` item, or a closure that captures nothing: `fn(A) -> R`, or `fn(&mut S, A) -> R` with `S` = `{S}`, what the initializer returned",
    note = "what a closure would capture goes into its argument, or into the state that the initializer makes in every worker"
)]
pub trait Task<S, A, Form>: Copy + 'static {
    /// What the task returns.
    type Output;
    /// Runs the task.
    fn run(&self, state: &mut S, argument: A) -> Self::Output;
}

impl<F, S, A, R> Task<S, A, Stateless> for F
where
    F: Fn(A) -> R + Copy + 'static,
{
    type Output = R;
    fn run(&self, _state: &mut S, argument: A) -> R {
        self(argument)
    }
}

impl<F, S, A, R> Task<S, A, Stateful> for F
where
    F: Fn(&mut S, A) -> R + Copy + 'static,
{
    type Output = R;
    fn run(&self, state: &mut S, argument: A) -> R {
        self(state, argument)
    }
}

/// A function that can be run over the blocks of arrays cut as `B`: `fn(Block) -> R` or `fn(&mut S, Block) -> R`.
///
/// `Block` is a [`pool_shm::BlockMut`], a [`pool_shm::Block`], or a tuple of them for several arrays cut alike.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task of this pool over these blocks",
    label = "does not take these blocks",
    note = "write `fn(BlockMut<'_, T, D>) -> R`, or `fn(&mut S, BlockMut<'_, T, D>) -> R` with `S` = `{S}`; for a tuple of cut arrays the argument is a tuple of blocks",
    note = "a closure must capture nothing, and its argument needs a written type: `|mut block: BlockMut<'_, f64, Ix2>| …`"
)]
pub trait BlockTask<S, B: Blocks, Form>: Copy + 'static {
    /// What the task returns.
    type Output;
    /// Runs the task.
    fn run(&self, state: &mut S, block: B::Block<'_>) -> Self::Output;
}

impl<F, S, B, R> BlockTask<S, B, Stateless> for F
where
    B: Blocks,
    F: for<'a> Fn(B::Block<'a>) -> R + Copy + 'static,
{
    type Output = R;
    fn run(&self, _state: &mut S, block: B::Block<'_>) -> R {
        self(block)
    }
}

impl<F, S, B, R> BlockTask<S, B, Stateful> for F
where
    B: Blocks,
    F: for<'a> Fn(&mut S, B::Block<'a>) -> R + Copy + 'static,
{
    type Output = R;
    fn run(&self, state: &mut S, block: B::Block<'_>) -> R {
        self(state, block)
    }
}
