//! What the fuzz targets reach of this crate: functions that take any bytes, and panic if a promise is broken. Under `--cfg fuzzing`
//! only; not part of the interface.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::dispatch::control::Control;
use crate::dispatch::record;
use crate::{pool, process, start, worker};

/// Reads `bytes` as the records of a worker's stream: each is refused, or lies within the bytes.
pub fn records(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let before = rest.len();
        match record::take(&mut rest) {
            Ok(Some(_)) => assert!(rest.len() < before, "a record takes no bytes"),
            Ok(None) | Err(_) => {
                assert!(rest.len() <= before);
                break;
            }
        }
    }
    let mut rest = bytes;
    while let Some(item) = record::take_item(&mut rest) {
        assert!(item.len() <= bytes.len());
    }
    pool::collect::fuzz(bytes);
}

/// Reads `bytes` as what a process is told at its start: the message of a pool, or the order of a single process; or as what a single
/// process says of its end.
pub fn messages(bytes: &[u8]) {
    start::boot::fuzz(bytes);
    process::child::fuzz(bytes);
    process::outcome::fuzz(bytes);
}

/// Puts `bytes` into the words that describe jobs, claims and tasks, and does with them what workers and the pool do.
pub fn words(bytes: &[u8]) {
    static CONTROL: OnceLock<Control> = OnceLock::new();
    let control = CONTROL.get_or_init(|| {
        let control = Control::create(2).expect("memory for a control segment");
        let (arena, _) = control.arena();
        let reserved = control.segment().reserve(arena..arena + (1 << 16));
        reserved.expect("memory for a piece of the arena");
        control.orders().slots.store(2, Ordering::Relaxed);
        control
    });
    let mut words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    worker::job::fuzz(control, || words.next().unwrap_or(0));
}
