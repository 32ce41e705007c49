//! Rounds in turns, and what they come to.

use pool_examples::failure::Failure;

use crate::case::{Case, Contender, Growth, OURS, Setting, Target, Unit};

/// The figures of one contender, at least one.
#[derive(Clone, Debug)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    /// The middle figure; of an even number, the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let (low, high) = ((self.0.len() - 1) / 2, self.0.len() / 2);
        f64::midpoint(self.0[low], self.0[high])
    }

    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<f64>> for Figures {
    fn from(mut figures: Vec<f64>) -> Self {
        assert!(!figures.is_empty(), "a contender has one round at least");
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }
}

/// What a case came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    pub(crate) growth: Option<Growth>,
    /// Ours first.
    pub(crate) figures: Vec<(&'static str, Figures)>,
}

impl Outcome {
    /// The figures of a contender.
    pub(crate) fn of(&self, name: &str) -> Option<&Figures> {
        let found = self.figures.iter().find(|(of, _)| *of == name);
        found.map(|(_, figures)| figures)
    }

    /// Our median divided by that of a peer.
    pub(crate) fn ratio(&self, peer: &str) -> Option<f64> {
        Some(self.of(OURS)?.median() / self.of(peer)?.median())
    }

    /// The figure that the target is about, and whether it is met; nothing if there is no target or its peer was not measured.
    pub(crate) fn verdict(&self) -> Option<(f64, bool)> {
        let ours = self.of(OURS)?.median();
        let (figure, met) = match self.target {
            Target::None => return None,
            Target::AtMost(limit) => (ours, ours <= limit),
            Target::AtLeast(limit) => (ours, ours >= limit),
            Target::AtMostTimes(limit, peer) => {
                let ratio = self.ratio(peer)?;
                (ratio, ratio <= limit)
            }
            Target::AtLeastTimes(limit, peer) => {
                let ratio = self.ratio(peer)?;
                (ratio, ratio >= limit)
            }
        };
        Some((figure, met))
    }
}

/// Measures a case: a round of each contender that does not count, then the rounds, in turns.
pub(crate) fn measure(case: &Case, setting: &Setting) -> Result<Outcome, Failure> {
    let explain = |error: Failure| Failure::other(format!("{}: {}", case.name, error.text()));
    let mut contenders = (case.contenders)(setting).map_err(explain)?;
    if let Some(python) = &setting.python {
        let peers = case.python.iter().copied();
        contenders.extend(peers.map(|peer| python.contender(case, peer, setting)));
    }
    let rounds = setting.size(case.rounds, case.rounds.div_ceil(3).max(3));
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, figures) in contenders.iter_mut().zip(&mut figures) {
            let figure = run(contender).map_err(explain)?;
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let names = contenders.iter().map(|contender| contender.name);
    Ok(Outcome {
        name: case.name,
        group: case.group,
        what: case.what,
        unit: case.unit,
        target: case.target,
        growth: case.growth,
        figures: names.zip(figures.into_iter().map(Figures::from)).collect(),
    })
}

fn run(contender: &mut Contender) -> Result<f64, Failure> {
    (contender.round)()
        .map_err(|error| Failure::other(format!("{}: {}", contender.name, error.text())))
}
