//! What the pool asks of the operating system. Everything above this module is portable; each platform file has the same list
//! of functions.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod image;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod worker;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use {image::*, linux::*, worker::*};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "pool-core runs on 64-bit Linux today; another platform needs a file in pool-core/src/sys with the functions of linux.rs, image.rs and worker.rs"
);
