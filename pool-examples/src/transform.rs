//! The short-time Fourier transform of one recording, frame by frame.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use num_complex::Complex64;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

/// How a frame fades in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Window {
    /// A raised cosine: the usual one.
    Hann,
    /// A raised cosine that does not quite reach zero: a narrower peak.
    Hamming,
    /// Three cosines: the least leakage to far frequencies.
    Blackman,
    /// None: the narrowest peak, the most leakage.
    Rectangular,
}

impl Window {
    /// Its `n` factors, periodic.
    pub fn factors(self, n: usize) -> Vec<f64> {
        let terms: &[f64] = match self {
            Self::Hann => &[0.5, -0.5],
            Self::Hamming => &[0.54, -0.46],
            Self::Blackman => &[0.42, -0.5, 0.08],
            Self::Rectangular => &[1.0],
        };
        let factor = |i: usize| {
            let cosines = terms.iter().enumerate();
            cosines
                .map(|(k, term)| term * (TAU * k as f64 * i as f64 / n as f64).cos())
                .sum()
        };
        (0..n).map(factor).collect()
    }
}

/// What a transform looks like: plain data that travels to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Samples in a frame, at least 2.
    pub fft_size: usize,
    /// Samples from the middle of a frame to the middle of the next, at least 1.
    pub hop: usize,
    /// How a frame fades in and out.
    pub window: Window,
}

impl Settings {
    /// Frames of a recording of `samples` samples: frame `k` has its middle at sample `k * hop`.
    pub fn frames(&self, samples: usize) -> usize {
        samples.div_ceil(self.hop)
    }

    /// Frequencies of a frame: from 0 to half the sampling rate.
    pub fn bins(&self) -> usize {
        self.fft_size / 2 + 1
    }
}

/// The settings made ready to run: window, plan and buffers.
pub struct Transform {
    settings: Settings,
    factors: Vec<f64>,
    plan: Arc<dyn RealToComplex<f64>>,
    input: Vec<f64>,
    output: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

impl Transform {
    /// Prepares a transform.
    ///
    /// # Panics
    ///
    /// The frame has fewer than 2 samples.
    pub fn new(settings: Settings) -> Self {
        assert!(
            settings.fft_size >= 2,
            "a frame has at least 2 samples, not {}",
            settings.fft_size
        );
        let plan = RealFftPlanner::new().plan_fft_forward(settings.fft_size);
        Self {
            settings,
            factors: settings.window.factors(settings.fft_size),
            input: plan.make_input_vec(),
            output: plan.make_output_vec(),
            scratch: plan.make_scratch_vec(),
            plan,
        }
    }

    /// The spectrum of frame `frame` of `samples`: one complex amplitude for each frequency, full scale 1.
    ///
    /// What lies before the first sample or after the last counts as silence.
    ///
    /// # Panics
    ///
    /// Never: all buffers have the lengths that the plan asked for.
    pub fn frame(&mut self, samples: &[f64], frame: usize) -> &[Complex64] {
        // Sample `i` of the frame is sample `start + i - half` of the recording.
        let (start, half) = (frame * self.settings.hop, self.settings.fft_size / 2);
        for (i, (value, factor)) in self.input.iter_mut().zip(&self.factors).enumerate() {
            let at = (start + i).checked_sub(half);
            *value = at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0) * factor;
        }
        self.plan
            .process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch)
            .expect("the buffers were made by the plan");
        let sum = self.factors.iter().sum::<f64>();
        for (bin, value) in self.output.iter_mut().enumerate() {
            *value *= sides(bin, self.settings.fft_size) / sum;
        }
        &self.output
    }
}

/// Of a sine of amplitude 1, half is at its frequency, half at the negative one. At 0 and at half the sampling rate both are the same.
fn sides(bin: usize, fft_size: usize) -> f64 {
    if bin == 0 || 2 * bin == fft_size {
        1.0
    } else {
        2.0
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The level of an amplitude in decibels, 0 for a sine of full scale, never below -200.
///
/// ```
/// use num_complex::Complex64;
/// use pool_examples::transform::level;
///
/// assert_eq!(level(Complex64::new(0.0, -0.1)), -20.0);
/// assert_eq!(level(Complex64::new(0.0, 0.0)), -200.0);
/// ```
pub fn level(amplitude: Complex64) -> f32 {
    (20.0 * amplitude.norm().log10()).max(-200.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The amplitude by its definition: a frequency, and the negative one unless it is the same, which has the conjugate.
    fn direct(samples: &[f64], settings: Settings, frame: usize, bin: usize) -> Complex64 {
        let positive = one_sided(samples, settings, frame, bin);
        let mirrored = (settings.fft_size - bin) % settings.fft_size;
        if mirrored == bin {
            return positive;
        }
        positive + one_sided(samples, settings, frame, mirrored).conj()
    }

    /// The transform by its definition.
    fn one_sided(samples: &[f64], settings: Settings, frame: usize, bin: usize) -> Complex64 {
        let factors = settings.window.factors(settings.fft_size);
        let term = |i: usize| {
            let at = (frame * settings.hop + i) as isize - (settings.fft_size / 2) as isize;
            let sample = usize::try_from(at)
                .ok()
                .and_then(|at| samples.get(at))
                .copied()
                .unwrap_or(0.0);
            let turn = -TAU * (bin * i) as f64 / settings.fft_size as f64;
            Complex64::from_polar(sample * factors[i], turn)
        };
        let sum: Complex64 = (0..settings.fft_size).map(term).sum();
        sum / factors.iter().sum::<f64>()
    }

    #[test]
    fn every_frame_is_what_the_definition_says() {
        let samples: Vec<f64> = (0..300)
            .map(|i| ((i * i) as f64 * 0.013).sin() + 0.2)
            .collect();
        for window in [
            Window::Hann,
            Window::Hamming,
            Window::Blackman,
            Window::Rectangular,
        ] {
            for fft_size in [2, 31, 64] {
                let settings = Settings {
                    fft_size,
                    hop: 17,
                    window,
                };
                let mut transform = Transform::new(settings);
                for frame in 0..settings.frames(samples.len()) {
                    let spectrum = transform.frame(&samples, frame);
                    assert_eq!(spectrum.len(), settings.bins());
                    for (bin, value) in spectrum.iter().enumerate() {
                        let difference = (value - direct(&samples, settings, frame, bin)).norm();
                        assert!(
                            difference < 1e-12,
                            "{settings:?} frame {frame} bin {bin}: {difference}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_sine_of_full_scale_has_level_zero() {
        let settings = Settings {
            fft_size: 256,
            hop: 128,
            window: Window::Hann,
        };
        let samples: Vec<f64> = (0..1024)
            .map(|i| (TAU * 16.0 * f64::from(i) / 256.0).sin())
            .collect();
        let mut transform = Transform::new(settings);
        let spectrum = transform.frame(&samples, 4);
        assert!(level(spectrum[16]).abs() < 1e-5);
        assert!(level(spectrum[64]) < -150.0);
    }

    #[test]
    fn constants_and_the_highest_frequency_have_their_level() {
        for fft_size in [2, 31, 64] {
            for window in [Window::Rectangular, Window::Hann, Window::Blackman] {
                let settings = Settings {
                    fft_size,
                    hop: 100,
                    window,
                };
                let mut transform = Transform::new(settings);
                let constant = level(transform.frame(&[0.5; 200], 1)[0]);
                assert!((constant + 6.0206).abs() < 1e-3, "{settings:?}: {constant}");
                let alternating: Vec<f64> = (0..200).map(|i| [1.0, -1.0][i % 2]).collect();
                let highest = level(transform.frame(&alternating, 1)[fft_size / 2]);
                if fft_size % 2 == 0 {
                    assert!(highest.abs() < 1e-3, "{settings:?}: {highest}");
                }
            }
        }
    }

    #[test]
    fn frames_cover_the_whole_recording() {
        let settings = Settings {
            fft_size: 64,
            hop: 10,
            window: Window::Hann,
        };
        assert_eq!(
            [0, 1, 10, 11, 100].map(|samples| settings.frames(samples)),
            [0, 1, 1, 2, 10]
        );
        assert_eq!(settings.bins(), 33);
    }
}
