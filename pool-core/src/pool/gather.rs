//! What becomes of the results of a call.

use std::sync::Arc;

use ndarray::ArrayViewMut1;
use pool_shm::Element;

use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::plain::Written;
use crate::sys;

/// Takes the results of a call, in order.
pub(crate) trait Gather<R> {
    /// The results of a whole wave without errors.
    fn plain(&mut self, results: &Written<'_>);
    /// One item.
    fn item(&mut self, item: Result<R, TaskError>);
    /// How many items there will be.
    fn expect(&mut self, items: u64) -> Result<(), PoolError>;
    /// Whether the rest is not wanted any more.
    fn has_enough(&self) -> bool;
    /// Whether the first error ends the call.
    const FAILS_FAST: bool;
}

/// All results, or the first error.
#[derive(Debug)]
pub(crate) struct AllOrError<R> {
    values: Vec<R>,
    seen: u64,
    error: Option<(u64, TaskError)>,
}

impl<R> Default for AllOrError<R> {
    fn default() -> Self {
        AllOrError {
            values: Vec::new(),
            seen: 0,
            error: None,
        }
    }
}

impl<R: 'static> Gather<R> for AllOrError<R> {
    fn plain(&mut self, results: &Written<'_>) {
        results.append_to(&mut self.values);
        self.seen += results.count() as u64;
    }

    fn item(&mut self, item: Result<R, TaskError>) {
        match item {
            Ok(value) => self.values.push(value),
            // What was cancelled because of an error is none itself.
            Err(error) if self.error.is_none() && error != TaskError::Cancelled => {
                self.error = Some((self.seen, error))
            }
            Err(_) => {}
        }
        self.seen += 1;
    }

    fn expect(&mut self, items: u64) -> Result<(), PoolError> {
        reserve(&mut self.values, items)?;
        sys::prefer_huge_pages(self.values.spare_capacity_mut());
        Ok(())
    }

    fn has_enough(&self) -> bool {
        self.error.is_some()
    }

    const FAILS_FAST: bool = true;
}

impl<R> AllOrError<R> {
    /// What a call of the job `name` returns.
    pub(crate) fn finish(self, job: Option<Arc<str>>) -> Result<Vec<R>, PoolError> {
        match self.error {
            None => Ok(self.values),
            Some((index, error)) => Err(PoolErrorKind::Task { index, job, error }.into()),
        }
    }
}

/// Each item's own result.
#[derive(Debug)]
pub(crate) struct Each<R>(pub(crate) Vec<Result<R, TaskError>>);

impl<R: 'static> Gather<R> for Each<R> {
    fn plain(&mut self, results: &Written<'_>) {
        let mut values = Vec::new();
        results.append_to(&mut values);
        self.0.extend(values.into_iter().map(Ok));
    }

    fn item(&mut self, item: Result<R, TaskError>) {
        self.0.push(item);
    }

    fn expect(&mut self, items: u64) -> Result<(), PoolError> {
        reserve(&mut self.0, items)
    }

    fn has_enough(&self) -> bool {
        false
    }

    const FAILS_FAST: bool = false;
}

/// Results of encoded arguments on their way into an array, or the first error. Those of integers are written there by the workers.
#[derive(Debug)]
pub(crate) struct IntoArray<'a, R> {
    output: ArrayViewMut1<'a, R>,
    seen: usize,
    error: Option<(u64, TaskError)>,
}

impl<'a, R> IntoArray<'a, R> {
    pub(crate) fn new(output: ArrayViewMut1<'a, R>) -> Self {
        IntoArray {
            output,
            seen: 0,
            error: None,
        }
    }

    /// What a call of the job `name` returns; how many results there were.
    pub(crate) fn finish(self, job: Option<Arc<str>>) -> Result<usize, PoolError> {
        match self.error {
            None => Ok(self.seen),
            Some((index, error)) => Err(PoolErrorKind::Task { index, job, error }.into()),
        }
    }
}

impl<R: Element> Gather<R> for IntoArray<'_, R> {
    fn plain(&mut self, results: &Written<'_>) {
        let mut values = Vec::new();
        results.append_to(&mut values);
        values.into_iter().for_each(|value| self.item(Ok(value)));
    }

    fn item(&mut self, item: Result<R, TaskError>) {
        match (item, self.output.get_mut(self.seen)) {
            (Ok(value), Some(place)) => *place = value,
            (Err(error), _) if self.error.is_none() && error != TaskError::Cancelled => {
                self.error = Some((self.seen as u64, error));
            }
            _ => {}
        }
        self.seen += 1;
    }

    fn expect(&mut self, _items: u64) -> Result<(), PoolError> {
        Ok(())
    }

    fn has_enough(&self) -> bool {
        self.error.is_some() || self.seen > self.output.len()
    }

    const FAILS_FAST: bool = true;
}

/// Memory for the results, or an error instead of an abort.
fn reserve<T>(results: &mut Vec<T>, items: u64) -> Result<(), PoolError> {
    let count = usize::try_from(items).unwrap_or(usize::MAX);
    results.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        PoolErrorKind::TooLarge {
            what: "the vector of results",
            bytes,
        }
        .into()
    })
}
