//! A ring of two bytes, a writer that waits for room and a reader that is told when there is something.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::{Event, Kernel, check};
use crate::atomic::Ordering;
use crate::dispatch::park::Futex;
use crate::dispatch::stream::{RingBytes, StreamReader, StreamWords, StreamWriter};
use crate::inject::model::mortal;

const LEN: usize = 2;

#[derive(Default)]
struct Bytes([UnsafeCell<u8>; LEN]);

impl RingBytes for &Bytes {
    fn len(&self) -> u64 {
        LEN as u64
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        for (cell, byte) in self.0[offset as usize..].iter().zip(bytes) {
            // SAFETY: the positions give this place to the writer; loom checks it.
            cell.with_mut(|cell| unsafe { *cell = *byte });
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        for (cell, byte) in self.0[offset as usize..].iter().zip(bytes) {
            // SAFETY: the positions give this place to the reader; loom checks it.
            *byte = cell.with(|cell| unsafe { *cell });
        }
    }
}

struct Stream {
    words: StreamWords,
    bytes: Bytes,
    room: Kernel,
    event: Event,
}

impl Stream {
    fn new() -> Arc<Stream> {
        Arc::new(Stream {
            words: StreamWords::default(),
            bytes: Bytes::default(),
            room: Kernel::new(),
            event: Event::new(),
        })
    }

    /// Sends everything, as a worker does.
    fn send(&self, mut input: &[u8]) {
        let mut writer = StreamWriter::new(&self.words, &self.bytes);
        loop {
            let written = writer.write(input);
            input = &input[written..];
            if input.is_empty() {
                return self.event.signal();
            }
            if let Some(seen) = writer.announce_starved() {
                self.event.signal();
                self.room.wait(writer.room(), seen);
            }
        }
    }

    fn read(&self, output: &mut Vec<u8>) {
        let reader = StreamReader::new(&self.words, &self.bytes);
        if reader.has_bytes() && reader.read(output).expect("the positions are sound") {
            self.room.wake(reader.room());
        }
    }
}

#[test]
fn a_starved_writer_gets_room_and_every_byte_arrives_in_order() {
    check(3, || {
        let stream = Stream::new();
        let writer = {
            let stream = stream.clone();
            thread::spawn(move || stream.send(b"abcde"))
        };
        let mut output = Vec::new();
        loop {
            let seen = stream.event.seen();
            stream.read(&mut output);
            if output.len() == 5 {
                break;
            }
            stream.event.wait(seen);
        }
        assert_eq!(output, b"abcde");
        assert!(!StreamWriter::new(&stream.words, &stream.bytes).is_half_full());
        writer.join().expect("sends everything");
    });
}

#[test]
fn what_a_dead_writer_published_is_whole_and_the_next_one_goes_on() {
    for fuel in 0..4 {
        check(3, move || {
            let stream = Stream::new();
            let writer = {
                let stream = stream.clone();
                thread::spawn(move || {
                    mortal(fuel, || {
                        let mut writer = StreamWriter::new(&stream.words, &stream.bytes);
                        writer.write(b"a");
                        writer.write(b"b");
                    });
                })
            };
            let mut output = Vec::new();
            stream.read(&mut output);
            writer.join().expect("dies or ends");
            stream.read(&mut output);
            assert!(b"ab".starts_with(&output));
            assert!(
                output.len() as u32 >= fuel / 2,
                "what was published is there"
            );
            StreamReader::new(&stream.words, &stream.bytes).reset();
            let mut successor = StreamWriter::new(&stream.words, &stream.bytes);
            assert_eq!(successor.write(b"xyz"), LEN);
            let mut rest = Vec::new();
            stream.read(&mut rest);
            assert_eq!(rest, b"xy");
            assert_eq!(stream.words.starved.load(Ordering::Relaxed), 0);
        });
    }
}
