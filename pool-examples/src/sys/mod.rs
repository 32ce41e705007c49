//! The system calls of this crate, the same functions for every platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    is_same_file, kill, limit_private_memory, open_process, resume, stop, wait_exit,
};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{
    is_same_file, kill, limit_private_memory, open_process, resume, stop, wait_exit,
};
