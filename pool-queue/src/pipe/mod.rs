//! Connections of two ends: typed messages and raw bytes, with a clear end of file.
//!
//! [`pipe()`] makes both ends of a connection that goes both ways, [`one_way`] one that goes one way; [`wait`] waits for several.
//!
//! A queue is for many producers and consumers; a pipe is for two processes that talk to each other, each of which must notice at once when the other one is gone.
//!
//! ```
//! let (here, there) = pool_queue::pipe::<u32, String>()?;
//! here.send(7)?; // normally `there` is in another process: it may be a task's argument
//! assert_eq!(there.recv()?, 7);
//! there.send("seven".to_owned())?;
//! assert_eq!(here.recv()?, "seven");
//! drop(there);
//! assert!(here.recv().unwrap_err().is_closed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channel;
mod ends;
mod errors;
mod frame;
mod incoming;
mod outgoing;
mod travel;
mod verbs;

pub use ends::{End, Receiver, Sender, one_way, pipe};
pub use errors::{RecvError, SendError};
pub use travel::{Pollable, wait};
