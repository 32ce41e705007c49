//! Ends that go to other processes, and waiting for several ends.

use super::channel::Channel;
use crate::queue::fingerprint;
use crate::sys;
use pool_shm::transfer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What can be waited for: ends that receive, and whatever else has a descriptor that becomes readable.
pub trait Pollable: AsFd + Sync {
    /// Whether there is something that the descriptor does not show, since it was read ahead.
    fn has_bytes(&self) -> bool {
        false
    }
}

/// Waits until one of several ends has a message that begins to come, or has come to the end of file, for `timeout` at most (`None`: as long as it takes). Gives the positions of all that have.
///
/// # Errors
/// If the system cannot wait, for lack of memory.
///
/// ```
/// use pool_queue::pipe::{self, Pollable};
///
/// let (a, far_a) = pool_queue::pipe::<u8, u8>()?;
/// let (b, far_b) = pool_queue::pipe::<String, String>()?;
/// far_b.send("ready".to_owned())?;
/// assert_eq!(pipe::wait(&[&a, &b], None)?, [1]);
/// drop(far_a);
/// assert_eq!(pipe::wait(&[&a, &b], None)?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(ends: &[&dyn Pollable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut ready: Vec<bool> = ends.iter().map(|end| end.has_bytes()).collect();
    // With something there already, the others are only looked at.
    let deadline = if ready.contains(&true) {
        Some(Instant::now())
    } else {
        timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    };
    let fds: Vec<BorrowedFd<'_>> = ends.iter().map(|end| end.as_fd()).collect();
    let polled = sys::wait_ready(&fds, false, deadline)?;
    for (known, new) in ready.iter_mut().zip(polled) {
        *known |= new;
    }
    let places = ready.iter().enumerate().filter(|&(_, &ready)| ready);
    Ok(places.map(|(place, _)| place).collect())
}

/// An end whose type tells what it is.
pub(super) trait Travels {}

/// An end on its way: a descriptor of the process that had it, and what was read ahead.
#[derive(Serialize, Deserialize)]
struct Traveller {
    kind: u64,
    pid: u32,
    fd: i32,
    socket: u64,
    #[serde(with = "serde_bytes")]
    ahead: Vec<u8>,
}

pub(super) fn serialize<E: Travels, S: Serializer>(
    channel: &Channel,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let failed = |reason: String| {
        transfer::note_failure(&reason);
        serde::ser::Error::custom(reason)
    };
    let ahead = channel.at_rest().ok_or_else(|| {
        failed("a part of a message, or one with descriptors, is on its way through this end of the pipe; receive or flush it before the end is sent".to_owned())
    })?;
    let socket = sys::socket_identity(channel.socket.as_fd());
    let socket = socket.map_err(|error| failed(error.to_string()))?;
    transfer::keep(Arc::clone(&channel.socket) as Arc<_>);
    let traveller = Traveller {
        kind: fingerprint::<E>(),
        pid: std::process::id(),
        fd: channel.socket.as_raw_fd(),
        socket,
        ahead,
    };
    traveller.serialize(serializer)
}

pub(super) fn deserialize<'de, E: Travels, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Channel, D::Error> {
    let traveller = Traveller::deserialize(deserializer)?;
    arrive::<E>(traveller).map_err(|reason| {
        transfer::note_failure(&reason);
        serde::de::Error::custom(reason)
    })
}

fn arrive<E: Travels>(traveller: Traveller) -> Result<Channel, String> {
    let Traveller { pid, fd, .. } = traveller;
    if traveller.kind != fingerprint::<E>() {
        return Err(format!(
            "the end of a pipe has other messages than {}",
            std::any::type_name::<E>()
        ));
    }
    let socket = sys::fetch(pid, fd).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the process {pid} does not let this one take the end of its pipe ({error}); if /proc/sys/kernel/yama/ptrace_scope is 1, it must allow that with prctl(PR_SET_PTRACER)"
        ),
        _ => format!("the end of the pipe of the process {pid} is gone ({error}); it must keep it until it is taken"),
    })?;
    match sys::socket_identity(socket.as_fd()) {
        Ok(found) if found == traveller.socket => Ok(Channel::new(socket, traveller.ahead)),
        _ => Err(format!(
            "descriptor {fd} of the process {pid} is something else now; it must keep the end of the pipe until it is taken"
        )),
    }
}
