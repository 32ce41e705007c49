//! Pools inside a test, each under a guard: the spectra against the definition, and nothing left behind.

use std::f64::consts::TAU;

use ndarray::{ArrayView1, Axis, Ix2};
use num_complex::Complex64;
use pool_core::{Pool, StartMethod};
use pool_examples::leftovers::Leftovers;
use pool_examples::spectrum::{Peak, highest, initialize, level_block, transform_block};
use pool_examples::transform::{Settings, Window, level};
use pool_shm::SharedArray;

const METHODS: [StartMethod; 3] = [
    StartMethod::ForkServer,
    StartMethod::Spawn,
    StartMethod::Thread,
];

fn signal() -> Vec<f64> {
    let tones = [(3.0, 0.5), (11.0, 0.25), (27.0, 0.125)];
    let at = |i: usize| {
        tones
            .iter()
            .map(|(turns, height)| height * (TAU * turns * i as f64 / 64.0).cos())
            .sum()
    };
    (0..500).map(at).collect()
}

/// An amplitude: what is at a frequency and at the negative one, which has the conjugate, unless they are the same.
fn amplitude(samples: &[f64], settings: Settings, frame: usize, bin: usize) -> Complex64 {
    let positive = direct(samples, settings, frame, bin);
    match (settings.fft_size - bin) % settings.fft_size {
        same if same == bin => positive,
        negative => positive + direct(samples, settings, frame, negative).conj(),
    }
}

/// One value of the transform by its definition, with a Hann window in the middle of whose frame sample `frame * hop` stands.
fn direct(samples: &[f64], settings: Settings, frame: usize, bin: usize) -> Complex64 {
    let size = settings.fft_size;
    let (mut sum, mut weights) = (Complex64::ZERO, 0.0);
    for i in 0..size {
        let weight = (std::f64::consts::PI * i as f64 / size as f64)
            .sin()
            .powi(2);
        weights += weight;
        let at = (frame * settings.hop + i).checked_sub(size / 2);
        let sample = at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
        sum += Complex64::from_polar(
            weight * sample,
            -TAU * (bin * i % size) as f64 / size as f64,
        );
    }
    sum / weights
}

#[test]
fn the_workers_spectra_are_what_the_definition_says() {
    let samples = signal();
    let settings = Settings {
        fft_size: 64,
        hop: 16,
        window: Window::Hann,
    };
    let shape = (settings.frames(samples.len()), settings.bins());
    for method in METHODS {
        let guard = Leftovers::watch();
        let frozen = SharedArray::from_array(&ArrayView1::from(&samples))
            .unwrap()
            .freeze()
            .unwrap();
        let builder = Pool::builder().workers(3).start_method(method);
        let pool = builder
            .initializer(initialize, (frozen, settings))
            .build()
            .unwrap();
        let mut spectra = SharedArray::<Complex64, Ix2>::zeros(shape).unwrap();
        pool.map_blocks(transform_block, spectra.axis_chunks_mut(Axis(0), 3))
            .unwrap();
        for ((frame, bin), value) in spectra.view().indexed_iter() {
            let difference = (value - amplitude(&samples, settings, frame, bin)).norm();
            assert!(
                difference < 1e-12,
                "{method} frame {frame} bin {bin}: {difference}"
            );
        }

        let mut levels = SharedArray::<f32, Ix2>::zeros(shape).unwrap();
        let blocks = (
            spectra.axis_chunks(Axis(0), 5),
            levels.axis_chunks_mut(Axis(0), 5),
        );
        let peaks = pool.map_blocks(level_block, blocks).unwrap();
        let every = levels.view();
        let every = every.indexed_iter().map(|((frame, bin), level)| Peak {
            level: *level,
            frame,
            bin,
        });
        assert_eq!(
            highest(peaks.into_iter().flatten()),
            highest(every),
            "{method}"
        );
        assert!(
            spectra
                .view()
                .iter()
                .zip(levels.view())
                .all(|(value, found)| level(*value) == *found)
        );
        drop((pool, spectra, levels));
        guard.assert_none();
    }
}

#[test]
fn a_pool_that_is_dropped_leaves_nothing() {
    for method in METHODS {
        let guard = Leftovers::watch();
        for workers in [1, 4] {
            let pool = Pool::builder()
                .workers(workers)
                .start_method(method)
                .build()
                .unwrap();
            assert_eq!(pool.map(|x: u64| x * x, 0..5).unwrap(), [0, 1, 4, 9, 16]);
            assert_eq!(
                pool.apply(|text: String| text.len(), "four".to_owned())
                    .unwrap(),
                4
            );
        }
        guard.assert_none();
    }
}

#[test]
fn a_matrix_populated_by_workers_is_frozen_and_leaves_nothing() {
    for method in METHODS {
        let guard = Leftovers::watch();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let mut matrix = SharedArray::<f64, Ix2>::zeros((20, 3)).unwrap();
        let fill = |mut block: pool_shm::BlockMut<'_, f64, Ix2>| {
            let start = block.start() as f64;
            block.view_mut().fill(start);
        };
        pool.map_blocks(fill, matrix.axis_chunks_mut(Axis(0), 7))
            .unwrap();
        let frozen = matrix.freeze().unwrap();
        let sums = pool
            .map(
                |data: pool_shm::FrozenArray<f64, Ix2>| data.view().sum(),
                [frozen.clone(), frozen],
            )
            .unwrap();
        assert_eq!(sums, [3.0 * (7.0 * 7.0 + 6.0 * 14.0); 2], "{method}");
        drop(pool);
        guard.assert_none();
    }
}
