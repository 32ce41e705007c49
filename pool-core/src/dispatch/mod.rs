//! How work gets to the workers and results get back: shared words, and the protocols on them. `README.md` in this folder
//! has the states and the arguments.

#[cfg(not(loom))]
pub(crate) mod arena;
pub(crate) mod claim;
pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod control;
#[cfg_attr(
    all(test, loom),
    expect(dead_code, reason = "the models cut into chunks of one item")
)]
pub(crate) mod cut;
pub(crate) mod join;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod order;
pub(crate) mod park;
#[cfg(not(loom))]
pub(crate) mod record;
pub(crate) mod stream;
pub(crate) mod tasks;
pub(crate) mod word;
