//! Recordings: WAV files read into numbers, and one that is made.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use hound::{SampleFormat, WavReader};

use crate::failure::Failure;
use crate::riff::{Format, Head};

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
    /// Reads a WAV file: PCM of 8, 16, 24 or 32 bits or floats of 32 or 64, any number of channels. Of a file that was streamed, whose
    /// header does not know the length, everything is read.
    ///
    /// # Errors
    ///
    /// A [`Failure::input`] of one line that names the file, if it is missing, empty, no WAV file, cut off, holds no samples, or is encoded
    /// in another way.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let found = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
        if found.is_dir() {
            return Err(Failure::input(format!(
                "cannot read {name}: it is a directory"
            )));
        }
        let mut file = File::open(path)
            .map(BufReader::new)
            .map_err(|error| cannot_read(path, &error))?;
        let mut head = Head::read(&mut file).map_err(|error| cannot_read(path, &error))?;
        if head.bytes.is_empty() {
            return Err(Failure::input(format!("{name} is empty (0 bytes)")));
        }
        let encoded = match head.format.filter(|format| format.is_double()) {
            Some(format) => {
                doubles(&head, format, file).map_err(|error| cannot_read(path, &error))?
            }
            None => decoded(&mut head, file).map_err(|error| explain(path, &error))?,
        };
        encoded.checked(path)
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

/// Samples as they stand in a file, channel by channel, scaled to full scale 1.
struct Encoded {
    samples: Vec<f64>,
    channels: u16,
    rate: u32,
    description: String,
}

impl Encoded {
    /// Mixes them, if they are a recording.
    fn checked(self, path: &Path) -> Result<Recording, Failure> {
        let name = path.display();
        if self.rate == 0 {
            return Err(Failure::input(format!(
                "{name} says that it has 0 samples in a second"
            )));
        }
        if let Some(at) = self.samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Failure::input(format!(
                "{name}: sample {at} is not a finite number"
            )));
        }
        let samples = mix(&self.samples, usize::from(self.channels));
        if samples.is_empty() {
            return Err(Failure::input(format!("{name} holds no samples")));
        }
        Ok(Recording {
            samples,
            rate: self.rate,
            description: self.description,
        })
    }
}

/// What `hound` reads: everything but floats of 64 bits. A length that was not known becomes that of the file.
fn decoded(head: &mut Head, mut file: impl Read) -> Result<Encoded, hound::Error> {
    let mut streamed = Vec::new();
    if head.is_streamed() {
        file.read_to_end(&mut streamed)?;
        head.set_length(streamed.len());
    }
    let mut reader = WavReader::new(head.bytes.as_slice().chain(&streamed[..]).chain(file))?;
    let spec = reader.spec();
    let samples = match spec.sample_format {
        SampleFormat::Float => reader
            .samples::<f32>()
            .map(|sample| Ok(f64::from(sample?)))
            .collect::<Result<_, hound::Error>>()?,
        SampleFormat::Int => {
            let full_scale = f64::from(1_u32 << (spec.bits_per_sample - 1));
            reader
                .samples::<i32>()
                .map(|sample| Ok(f64::from(sample?) / full_scale))
                .collect::<Result<_, hound::Error>>()?
        }
    };
    let kind = match spec.sample_format {
        SampleFormat::Float => "float",
        SampleFormat::Int => "PCM",
    };
    Ok(Encoded {
        samples,
        channels: spec.channels,
        rate: spec.sample_rate,
        description: describe(spec.sample_rate, spec.bits_per_sample, kind, spec.channels),
    })
}

/// Floats of 64 bits, up to the end of the file if their length is not known.
fn doubles(head: &Head, format: Format, file: impl Read) -> io::Result<Encoded> {
    let length = head.length.filter(|_| !head.is_streamed()).map(u64::from);
    let mut bytes = Vec::new();
    file.take(length.unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    if length.is_some_and(|length| (bytes.len() as u64) < length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (samples, _) = bytes.as_chunks();
    Ok(Encoded {
        samples: samples
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes))
            .collect(),
        channels: format.channels,
        rate: format.rate,
        description: describe(format.rate, 64, "float", format.channels),
    })
}

fn mix(samples: &[f64], channels: usize) -> Vec<f64> {
    let mean = |frame: &[f64]| frame.iter().sum::<f64>() / frame.len() as f64;
    samples.chunks_exact(channels.max(1)).map(mean).collect()
}

fn describe(rate: u32, bits: u16, kind: &str, channels: u16) -> String {
    let channels = match channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more} channels"),
    };
    format!("{rate} Hz, {bits}-bit {kind}, {channels}")
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let name = path.display();
    // The end of the file is an error without a code of the system.
    Failure::input(if error.raw_os_error().is_none() {
        format!("{name} is truncated: it ends before the data that its header announces")
    } else {
        format!("cannot read {name}: {error}")
    })
}

fn explain(path: &Path, error: &hound::Error) -> Failure {
    let name = path.display();
    Failure::input(match error {
        hound::Error::IoError(error) => return cannot_read(path, error),
        hound::Error::FormatError(what) => format!("{name} is no valid WAV file: {what}"),
        hound::Error::Unsupported | hound::Error::InvalidSampleFormat | hound::Error::TooWide => {
            format!(
                "{name} is encoded in a way that is not supported; PCM of 8, 16, 24 or 32 bits and floats of 32 or 64 bits are"
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
