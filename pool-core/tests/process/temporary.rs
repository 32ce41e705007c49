//! The folder for temporary files, where a fork server and its pool meet once: where there is none that does, a clear error on every
//! path, and whatever needs no such folder works.

use pool_core::{Pool, PoolError, Process, StartMethod};
use tempfile::TempDir;

use crate::common::{self, Leftovers, parent_of};

/// Runs `body` in a process of its own that has this folder for temporary files.
fn with_folder<R: serde::Serialize + serde::de::DeserializeOwned + 'static>(
    folder: &str,
    body: impl Fn(()) -> R + Copy + 'static,
) -> R {
    let process = Process::builder().env("TMPDIR", folder).spawn(body, ());
    process.unwrap().join().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn build(method: StartMethod) -> Result<Pool, PoolError> {
    Pool::builder().workers(1).start_method(method).build()
}

/// What `build` says, whether it leaves descriptors or children behind, and whether other processes can be started.
fn refused(method: StartMethod) -> (String, bool) {
    let before = descriptors();
    let errors = (0..3).map(|_| build(method).map(drop).unwrap_err());
    let errors: Vec<PoolError> = errors.collect();
    let error = &errors[2];
    assert!(error.is_start(), "{error}");
    let leaves_nothing = descriptors() == before;
    // These need no folder.
    let pool = build(StartMethod::Spawn).unwrap();
    assert_eq!(pool.apply(|i: u8| i + 1, 1).unwrap(), 2);
    assert_eq!(Process::spawn(|i: u8| i + 1, 1).unwrap().join(), Ok(2));
    (error.to_string(), leaves_nothing)
}

#[test]
fn a_folder_that_does_not_do_is_the_error_of_build() {
    let guard = Leftovers::watch();
    let long = format!("/tmp/{}", "x".repeat(120));
    let file = std::env::current_exe().unwrap();
    let (long, file) = (long.as_str(), file.to_str().unwrap());
    // Not there; where nobody can write, not even root; not a folder; too long for a socket.
    for folder in ["/nowhere", "/proc", file, long] {
        for (error, leaves_nothing) in [
            with_folder(folder, |()| refused(StartMethod::ForkServer)),
            with_folder(folder, |()| refused(StartMethod::Fork)),
        ] {
            assert!(
                error.contains(folder) && error.contains("TMPDIR"),
                "{error}"
            );
            assert!(leaves_nothing, "{error}");
        }
    }
    guard.assert_none();
}

/// Kills the only worker until the pool has another one; its process id.
fn replaced(pool: &Pool) -> u32 {
    let before = pool.workers()[0].pid;
    let died = pool.apply(|()| std::process::abort(), ()).map(|(): ()| ());
    assert!(died.unwrap_err().task().is_some());
    let after = pool.apply(|()| std::process::id(), ()).unwrap();
    assert_ne!(after, before);
    after
}

/// Builds, loses the folder, then a worker, then the fork server if there is one; what the pool says then.
fn loses_its_folder(method: StartMethod) -> Option<String> {
    let folder = TempDir::new().unwrap();
    // SAFETY: this process was started for this test alone, and has one thread yet.
    unsafe { std::env::set_var("TMPDIR", folder.path()) };
    let pool = build(method).unwrap();
    drop(folder);
    let worker = replaced(&pool);
    if method == StartMethod::Spawn {
        return None;
    }
    let server = common::Process::of_ours(parent_of(worker)).unwrap();
    server.kill();
    server.await_end();
    let mut calls = std::iter::repeat_with(|| pool.apply(|i: u32| i, 1));
    let error = calls.find_map(|result| result.err().filter(PoolError::is_start));
    Some(error.unwrap().to_string())
}

#[test]
fn a_folder_that_is_gone_when_a_worker_or_the_fork_server_is_replaced() {
    let guard = Leftovers::watch();
    assert_eq!(
        Process::spawn(|()| loses_its_folder(StartMethod::Spawn), ())
            .unwrap()
            .join(),
        Ok(None)
    );
    let by_server = |()| loses_its_folder(StartMethod::ForkServer);
    let error = Process::spawn(by_server, ()).unwrap().join().unwrap();
    let error = error.unwrap();
    assert!(error.contains("TMPDIR"), "{error}");
    guard.assert_none();
}
