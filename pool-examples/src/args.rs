//! Arguments that several programs take.

use std::fmt;

use clap::ValueEnum;

/// How workers are started, as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StartMethod {
    /// A clean process forks the workers.
    #[default]
    #[value(name = "forkserver")]
    ForkServer,
    /// Each worker executes the program again.
    Spawn,
    /// Workers are threads of the program.
    Thread,
}

impl StartMethod {
    /// All of them, processes first.
    pub const ALL: [Self; 3] = [Self::ForkServer, Self::Spawn, Self::Thread];
}

impl From<StartMethod> for pool_core::StartMethod {
    fn from(method: StartMethod) -> Self {
        match method {
            StartMethod::ForkServer => Self::ForkServer,
            StartMethod::Spawn => Self::Spawn,
            StartMethod::Thread => Self::Thread,
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pool_core::StartMethod::from(*self).fmt(f)
    }
}
