//! What is measured, in what unit, and what is aimed at.

use pool_examples::failure::Failure;

use crate::python::Python;

/// The name under which this project's own figures stand.
pub(crate) const OURS: &str = "pool";

/// What holds for a whole run.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) workers: usize,
    pub(crate) quick: bool,
    /// The peers from Python, if they were asked for.
    pub(crate) python: Option<Python>,
}

impl Setting {
    /// `full`, or `quick` in a quick run.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// In what a case is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds for each task or operation.
    Nanoseconds,
    /// Microseconds for each call.
    Microseconds,
    /// Milliseconds for the whole.
    Milliseconds,
    /// 10^9 bytes in a second.
    Gigabytes,
    /// 10^6 messages in a second.
    Millions,
    /// 1024 bytes.
    Kibibytes,
    /// Percent of one processor.
    Percent,
}

impl Unit {
    /// As it stands in tables.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Gigabytes => "GB/s",
            Self::Millions => "M/s",
            Self::Kibibytes => "KiB",
            Self::Percent => "%",
        }
    }

    /// Whether more is better.
    pub(crate) fn is_rate(self) -> bool {
        matches!(self, Self::Gigabytes | Self::Millions)
    }

    /// The figure for `count` operations that took `seconds` together; for [`Unit::Gigabytes`] `count` is bytes.
    pub(crate) fn figure(self, seconds: f64, count: f64) -> f64 {
        match self {
            Self::Nanoseconds => seconds / count * 1e9,
            Self::Microseconds => seconds / count * 1e6,
            Self::Milliseconds => seconds / count * 1e3,
            Self::Gigabytes => count / seconds / 1e9,
            Self::Millions => count / seconds / 1e6,
            Self::Kibibytes => count / 1024.0,
            Self::Percent => seconds / count * 100.0,
        }
    }
}

/// What this project aims at in a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Our figure is at most so much.
    AtMost(f64),
    /// Our figure is at least so much.
    AtLeast(f64),
    /// Our figure divided by the peer's is at most so much.
    AtMostTimes(f64, &'static str),
    /// Our figure divided by the peer's is at least so much.
    AtLeastTimes(f64, &'static str),
    /// The figure is there to be compared; nothing is promised.
    None,
}

/// One who measures a case.
pub(crate) struct Contender {
    /// [`OURS`] or the peer's name.
    pub(crate) name: &'static str,
    /// Measures one round and gives the figure, in the unit of the case.
    pub(crate) round: Round,
}

/// One round of a contender.
pub(crate) type Round = Box<dyn FnMut() -> Result<f64, Failure>>;

impl Contender {
    pub(crate) fn new(
        name: &'static str,
        round: impl FnMut() -> Result<f64, Failure> + 'static,
    ) -> Self {
        Self {
            name,
            round: Box::new(round),
        }
    }
}

/// Makes the contenders of a case; they live until it has been measured.
pub(crate) type Contenders = Box<dyn Fn(&Setting) -> Result<Vec<Contender>, Failure>>;

/// One thing to measure.
pub(crate) struct Case {
    /// A word or two with hyphens, by which it is chosen.
    pub(crate) name: &'static str,
    /// The heading under which it stands.
    pub(crate) group: &'static str,
    /// What is measured, for tables.
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    /// Rounds of a full run; a quick run has a third of them, at least three.
    pub(crate) rounds: usize,
    pub(crate) contenders: Contenders,
    /// How peers from Python name it, if they have it.
    pub(crate) python: &'static [&'static str],
    /// Where it stands on the axis of a picture of growth.
    pub(crate) growth: Option<Growth>,
    /// It takes too long for a quick run.
    pub(crate) is_long: bool,
}

/// One point of a picture that shows how a figure grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) picture: &'static str,
    pub(crate) axis: &'static str,
    pub(crate) at: f64,
}

/// A line of a group's table of cases: a case without parameters of its own.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    pub(crate) rounds: usize,
    pub(crate) contenders: fn(&Setting) -> Result<Vec<Contender>, Failure>,
    pub(crate) python: &'static [&'static str],
}

impl Row {
    /// The cases of a group's table.
    pub(crate) fn cases(group: &'static str, rows: &[Self]) -> Vec<Case> {
        let case = |row: &Self| Case {
            python: row.python,
            ..Case::new(
                group,
                row.name,
                row.what,
                row.unit,
                row.target,
                row.rounds,
                row.contenders,
            )
        };
        rows.iter().map(case).collect()
    }
}

impl Case {
    /// A case without peers from Python.
    pub(crate) fn new(
        group: &'static str,
        name: &'static str,
        what: &'static str,
        unit: Unit,
        target: Target,
        rounds: usize,
        contenders: impl Fn(&Setting) -> Result<Vec<Contender>, Failure> + 'static,
    ) -> Self {
        Self {
            name,
            group,
            what,
            unit,
            target,
            rounds,
            contenders: Box::new(contenders),
            python: &[],
            growth: None,
            is_long: false,
        }
    }

    /// The same as a point of a picture.
    pub(crate) fn growth(mut self, picture: &'static str, axis: &'static str, at: f64) -> Self {
        self.growth = Some(Growth { picture, axis, at });
        self
    }

    /// The same, left out of quick runs.
    pub(crate) fn long(mut self) -> Self {
        self.is_long = true;
        self
    }
}
