//! Any bytes as what clients send: cut into frames, read as requests, and done.

use std::time::{Duration, Instant};

use super::engine::{Completion, Engine, Job, Settings};
use super::error::ManagerError;
use super::frame::{self, Decoder};
use super::message::Request;

/// The first byte of each piece says which connection it comes on, and whether that ends after it; the second how long the piece is.
pub(crate) fn clients(mut bytes: &[u8]) {
    let mut engine = Engine::new(Settings {
        manager: 1,
        executable: 1,
        lease: Duration::from_millis(10),
        limit: 1 << 20,
    });
    let mut now = Instant::now();
    let mut decoders: Vec<Option<Decoder>> = (0..4).map(|_| None).collect();
    let greeting = Request::Hello {
        executable: 1,
        session: None,
    };
    let greeting = postcard::to_stdvec(&greeting).unwrap_or_default();
    while let [head, len, rest @ ..] = bytes {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        let place = usize::from(head & 3);
        let connection = place as u64;
        let Some(decoder) = decoders.get_mut(place) else {
            continue;
        };
        let decoder = decoder.get_or_insert_with(|| {
            engine.open(connection);
            engine.frame(connection, 1, 0, &greeting, now);
            Decoder::new(1 << 20)
        });
        // Half of the pieces are bodies already: few bytes by chance are a frame.
        if head & 4 == 0 {
            let mut framed = Vec::new();
            frame::append(7, piece, &mut framed);
            decoder.feed(&framed);
        } else {
            decoder.feed(piece);
        }
        let mut is_over = head & 8 != 0;
        while !is_over && !engine.is_busy(connection) {
            match decoder.next() {
                Ok(Some(frame)) => engine.frame(connection, 1, frame.request, &frame.body, now),
                Ok(None) => break,
                Err(_) => is_over = true,
            }
        }
        if is_over {
            engine.closed(connection);
            decoders[place] = None;
        }
        now += Duration::from_millis(u64::from(head >> 4));
        engine.tick(now);
        fail_jobs(&mut engine);
    }
    for connection in 0..4 {
        engine.closed(connection);
    }
    fail_jobs(&mut engine);
    engine.tick(now + Duration::from_secs(1));
    assert!(engine.is_empty(), "something stays that nobody knows");
}

fn fail_jobs(engine: &mut Engine) {
    let (_, jobs) = engine.take_outputs();
    for job in jobs {
        if let Job::Run { ticket, .. } = job {
            let result = Err(ManagerError::NoFunction);
            engine.finish(Completion { ticket, result });
        }
    }
}
