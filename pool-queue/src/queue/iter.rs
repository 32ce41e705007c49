//! A queue as an iterator.

use super::errors::GetError;
use super::{Message, Queue};

/// What comes out of a queue until it is closed; from [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    pub(super) queue: &'a Queue<T>,
}

/// What is in a queue now; from [`Queue::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    pub(super) queue: &'a Queue<T>,
}

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        until_the_end(self.queue.get())
    }
}

impl<T: Message> Iterator for TryIter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        until_the_end(self.queue.try_get())
    }
}

impl<'a, T: Message> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

pub(crate) fn until_the_end<T>(got: Result<T, GetError>) -> Option<Result<T, GetError>> {
    match got {
        Err(GetError::Closed | GetError::Empty | GetError::Timeout) => None,
        got => Some(got),
    }
}
