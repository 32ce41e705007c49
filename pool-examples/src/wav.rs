//! Recordings: WAV files read into numbers, and one that is made.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use hound::{SampleFormat, WavReader};

use crate::failure::Failure;

/// A recording, mixed to one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The samples, full scale from -1 to 1; several channels are averaged.
    pub samples: Vec<f64>,
    /// Samples in a second; at least 1.
    pub rate: u32,
    /// What it was read from or made as: format and channels, for a caption.
    pub description: String,
}

impl Recording {
    /// Reads a WAV file: PCM of 8, 16, 24 or 32 bits or floats of 32, any number of channels.
    ///
    /// # Errors
    ///
    /// A [`Failure::input`] of one line that names the file, if it is missing, empty, no WAV file, cut off, holds no samples, or is encoded
    /// in another way.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let file = fs::metadata(path)
            .map_err(|error| Failure::input(format!("cannot read {name}: {error}")))?;
        if file.is_dir() {
            return Err(Failure::input(format!(
                "cannot read {name}: it is a directory"
            )));
        }
        if file.is_file() && file.len() == 0 {
            return Err(Failure::input(format!("{name} is empty (0 bytes)")));
        }
        let reader = WavReader::open(path).map_err(|error| explain(path, &error))?;
        let spec = reader.spec();
        if spec.sample_rate == 0 {
            return Err(Failure::input(format!(
                "{name} says that it has 0 samples in a second"
            )));
        }
        let samples = interleaved(reader).map_err(|error| explain(path, &error))?;
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Failure::input(format!(
                "{name}: sample {at} is not a finite number"
            )));
        }
        let samples = mix(&samples, usize::from(spec.channels));
        if samples.is_empty() {
            return Err(Failure::input(format!("{name} holds no samples")));
        }
        Ok(Self {
            samples,
            rate: spec.sample_rate,
            description: describe(spec),
        })
    }

    /// Four seconds of three tones at 16 kHz: one that rises from 100 Hz to 7 kHz, one that wavers about 2 kHz, and a click every half second.
    pub fn chirp() -> Self {
        let (rate, seconds) = (16_000_u32, 4);
        let samples = (0..rate * seconds)
            .map(|i| chirp_at(f64::from(i) / f64::from(rate), f64::from(seconds)));
        Self {
            samples: samples.collect(),
            rate,
            description: "a chirp made by this program".to_owned(),
        }
    }

    /// How long it lasts, in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }
}

/// The chirp at second `t` of `seconds`.
fn chirp_at(t: f64, seconds: f64) -> f64 {
    let (low, high) = (100.0, 7_000.0);
    // The phase is the integral of the frequency.
    let rising = TAU * (low * t + (high - low) * t * t / (2.0 * seconds));
    let wavering = TAU * 2_000.0 * t + 150.0 * (TAU * 1.5 * t).sin();
    let since_click = t % 0.5;
    let click = (-since_click * 400.0).exp() * (TAU * 4_000.0 * since_click).sin();
    0.5 * rising.sin() + 0.05 * wavering.sin() + 0.4 * click
}

/// All samples as they stand in the file, channel by channel, scaled to full scale 1.
fn interleaved(mut reader: WavReader<impl std::io::Read>) -> Result<Vec<f64>, hound::Error> {
    let spec = reader.spec();
    match spec.sample_format {
        SampleFormat::Float => reader
            .samples::<f32>()
            .map(|sample| Ok(f64::from(sample?)))
            .collect(),
        SampleFormat::Int => {
            let full_scale = f64::from(1_u32 << (spec.bits_per_sample - 1));
            reader
                .samples::<i32>()
                .map(|sample| Ok(f64::from(sample?) / full_scale))
                .collect()
        }
    }
}

fn mix(samples: &[f64], channels: usize) -> Vec<f64> {
    let mean = |frame: &[f64]| frame.iter().sum::<f64>() / frame.len() as f64;
    samples.chunks_exact(channels.max(1)).map(mean).collect()
}

fn describe(spec: hound::WavSpec) -> String {
    let kind = match spec.sample_format {
        SampleFormat::Float => "float",
        SampleFormat::Int => "PCM",
    };
    let channels = match spec.channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more} channels"),
    };
    format!(
        "{} Hz, {}-bit {kind}, {channels}",
        spec.sample_rate, spec.bits_per_sample
    )
}

fn explain(path: &Path, error: &hound::Error) -> Failure {
    let name = path.display();
    Failure::input(match error {
        // hound tells the end of the file by an error of its own kind, without a code of the system.
        hound::Error::IoError(error) if error.raw_os_error().is_none() => {
            format!("{name} is truncated: it ends before the data that its header announces")
        }
        hound::Error::IoError(error) => format!("cannot read {name}: {error}"),
        hound::Error::FormatError(what) => format!("{name} is no valid WAV file: {what}"),
        hound::Error::Unsupported | hound::Error::InvalidSampleFormat | hound::Error::TooWide => {
            format!(
                "{name} is encoded in a way that is not supported; PCM of 8, 16, 24 or 32 bits and floats of 32 bits are"
            )
        }
        hound::Error::UnfinishedSample => {
            format!("{name} is truncated: its last frame lacks channels")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged() {
        assert_eq!(mix(&[1.0, 0.0, 0.5, -0.5, 0.25, 0.75], 2), [0.5, 0.0, 0.5]);
        assert_eq!(mix(&[1.0, 2.0], 1), [1.0, 2.0]);
    }

    #[test]
    fn the_chirp_stays_within_full_scale() {
        let chirp = Recording::chirp();
        assert_eq!((chirp.samples.len(), chirp.seconds()), (64_000, 4.0));
        assert!(chirp.samples.iter().all(|sample| sample.abs() <= 1.0));
    }
}
