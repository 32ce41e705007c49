//! The ends of pipes.

use super::channel::Channel;
use super::errors::{RecvError, SendError};
use super::travel::{Pollable, Travels, deserialize, serialize};
use super::verbs::{receiving, sending};
use crate::queue::Message;
use crate::sys;
use crate::wait::Wait;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// One end of a connection that goes both ways: sends `A`, receives `B`; from [`pipe()`].
///
/// # Guarantees
/// * **Order and boundaries**: messages come whole, in the order in which they were sent, empty ones too, of any length.
/// * **End of file**: when the other end is dropped, or its process ends or is killed, what it had sent can be received, and then comes [`RecvError::Closed`]. A message that
///   it had not sent to its end is [`RecvError::Truncated`].
/// * **Threads**: both directions may be used at once. In each of them one thread at a time; a second one waits for the first, also in the `_timeout` forms.
///
/// # Handles
/// An end is no value that can be cloned, but it can be a task's argument (or its part): serialise it, drop it here, and use it there. The task's process takes the descriptor from this one (`pidfd_getfd`). Where the
/// kernel's Yama restricts that (`ptrace_scope` 1, the default of some distributions), a child may not take it from its parent: the error says so, and the parent can allow it
/// with `prctl(PR_SET_PTRACER)`. Through a queue or a pipe an end cannot travel: nothing would keep it meanwhile.
pub struct End<A, B> {
    channel: Channel,
    messages: PhantomData<fn(A) -> B>,
}

/// The sending end of a connection that goes one way; from [`one_way`]. What is said of [`End`] holds.
pub struct Sender<T> {
    channel: Channel,
    message: PhantomData<fn(T)>,
}

/// The receiving end of a connection that goes one way; from [`one_way`]. What is said of [`End`] holds.
pub struct Receiver<T> {
    channel: Channel,
    message: PhantomData<fn() -> T>,
}

/// Both ends of a connection that goes both ways.
///
/// # Errors
/// If this process may open no more descriptors.
///
/// ```
/// let (here, there) = pool_queue::pipe::<Vec<f64>, f64>()?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         while let Ok(numbers) = there.recv() {
///             there.send(numbers.iter().sum()).expect("somebody waits for it");
///         }
///     });
///     here.send(vec![1.0, 2.5]).expect("somebody receives");
///     assert_eq!(here.recv().expect("an answer"), 3.5);
///     here.send_bytes(b"raw").expect("bytes can always be sent");
///     drop(here); // the other end comes to the end of file
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe<A: Message, B: Message>() -> io::Result<(End<A, B>, End<B, A>)> {
    let (one, other) = sys::socket_pair()?;
    Ok((End::of(channel(one)), End::of(channel(other))))
}

/// Both ends of a connection that goes one way.
///
/// # Errors
/// If this process may open no more descriptors.
///
/// ```
/// let (sender, receiver) = pool_queue::pipe::one_way::<String>()?;
/// sender.send("a message".to_owned())?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, "a message");
/// assert!(receiver.recv().unwrap_err().is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn one_way<T: Message>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (from, to) = sys::socket_pair()?;
    sys::shut(from.as_fd(), false)?;
    sys::shut(to.as_fd(), true)?;
    Ok((Sender::of(channel(from)), Receiver::of(channel(to))))
}

fn channel(socket: OwnedFd) -> Channel {
    Channel::new(socket, Vec::new())
}

sending!(End<A, B>, A);
receiving!(End<A, B>, B);
sending!(Sender<T>, T);
receiving!(Receiver<T>, T);

macro_rules! an_end {
    ($end:ident<$($message:ident),*>, $field:ident) => {
        impl<$($message),*> $end<$($message),*> {
            fn of(channel: Channel) -> Self {
                Self {
                    channel,
                    $field: PhantomData,
                }
            }
        }

        impl<$($message),*> fmt::Debug for $end<$($message),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("socket", &self.channel.socket)
                    .finish_non_exhaustive()
            }
        }

        impl<$($message),*> AsFd for $end<$($message),*> {
            /// The socket, to be waited for together with others; what was read ahead is not seen there.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.channel.socket.as_fd()
            }
        }

        impl<$($message: Message),*> serde::Serialize for $end<$($message),*> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize::<Self, S>(&self.channel, serializer)
            }
        }

        impl<'de, $($message: Message),*> serde::Deserialize<'de> for $end<$($message),*> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize::<Self, D>(deserializer).map(Self::of)
            }
        }

        impl<$($message: Message),*> Travels for $end<$($message),*> {}
    };
}

an_end!(End<A, B>, messages);
an_end!(Sender<T>, message);
an_end!(Receiver<T>, message);

impl<A: Message, B: Message> Pollable for End<A, B> {
    fn has_bytes(&self) -> bool {
        self.channel.has_bytes()
    }
}

impl<T: Message> Pollable for Receiver<T> {
    fn has_bytes(&self) -> bool {
        self.channel.has_bytes()
    }
}
