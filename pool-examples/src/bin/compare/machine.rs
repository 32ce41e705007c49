//! On what was measured, and how quiet it was.

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::case::Setting;

/// The machine and the run, as far as figures depend on them.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// This machine, with how noisy it was before and after.
    pub(crate) fn here(setting: &Setting, noise: [Noise; 2]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut lines = vec![
            ("date", date()),
            ("processor", format!("{} ({cores} to be used)", processor())),
            ("memory", format!("{} GiB", memory() >> 20)),
            ("kernel", format!("Linux {}", kernel.trim())),
            (
                "compiler",
                version("rustc").unwrap_or_else(|| "unknown".to_owned()),
            ),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("workers", setting.workers.to_string()),
            (
                "run",
                if setting.quick { "quick" } else { "full" }.to_owned(),
            ),
            ("noise before", noise[0].text()),
            ("noise after", noise[1].text()),
        ];
        match &setting.python {
            Some(python) => lines.push(("peers from Python", python.versions().to_owned())),
            None => lines.push((
                "left out",
                "peers from Python (`--with-python` measures them)".to_owned(),
            )),
        }
        Self { lines }
    }
}

/// How evenly the processor ran for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// The longest of equal pieces of work, divided by the median.
    longest: f64,
    /// The share of pieces that took more than 1.1 times the median, in percent.
    late: f64,
    /// Processes that could run, on average over a minute.
    load: f64,
}

impl Noise {
    fn text(self) -> String {
        format!(
            "{:.0} % of equal pieces of work took 1.1 times the median or more, the longest {:.1} times; load {:.2}",
            self.late, self.longest, self.load
        )
    }
}

/// Does 400 equal pieces of work of about half a millisecond.
pub(crate) fn noise() -> Noise {
    let mut times: Vec<f64> = (0..400)
        .map(|piece| {
            let start = Instant::now();
            let mut value = piece + 1_u64;
            for _ in 0..300_000 {
                value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) + 1);
            }
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let late = times.iter().filter(|&&time| time > 1.1 * median).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Noise {
        longest: times[times.len() - 1] / median,
        late: 100.0 * late as f64 / times.len() as f64,
        load: load
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or(f64::NAN),
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':']))
        .to_owned()
}

/// Memory in kibibytes.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total
        .and_then(|total| total.trim().split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Today, in UTC, as `2026-11-24`.
fn date() -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// The first line that `program --version` prints.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(
        String::from_utf8(output.stdout)
            .ok()?
            .lines()
            .next()?
            .to_owned(),
    )
}
