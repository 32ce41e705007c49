//! A process that holds objects for others, and proxies to use them from anywhere.
//!
//! The page of the protocol, with states and argument, is `README.md` in this folder. [`engine`] is the server without its sockets;
//! [`server`] gives it sockets and threads; [`session`] is the other end; [`proxy`] is what programs use.

mod address;
mod engine;
mod error;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod handle;
mod message;
pub(crate) mod proxy;
mod server;
mod session;
mod threads;
mod value;

pub use address::Address;
pub use error::ManagerError;
pub use handle::{Manager, ManagerBuilder};
pub use server::Lifetime;
