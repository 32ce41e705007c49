//! What the fuzz targets reach of this crate: functions that take any bytes, and panic if a promise is broken. Under `--cfg fuzzing`
//! only; not part of the interface.

use crate::dispatch::record;

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
}
