//! What an operation does to the lives of other objects.

use crate::manager::message::{Blob, Holder};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) session: u64,
    pub(crate) connection: u64,
}

/// A thread of a client: no other client can speak for it, since the session is not for the client to choose.
pub(crate) type Owner = (u64, Holder);

/// The proxies that came into an object's keeping, and those that left it.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) kept: Vec<u64>,
    pub(crate) released: Vec<u64>,
}

impl Effects {
    /// The object keeps a value.
    pub(crate) fn keep(&mut self, blob: &Blob) {
        self.kept.extend_from_slice(&blob.refs);
    }

    /// The object keeps a value no more.
    pub(crate) fn release(&mut self, blob: &Blob) {
        self.released.extend_from_slice(&blob.refs);
    }
}
