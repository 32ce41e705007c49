//! What child processes are given from outside: their name and environment variables.

use crate::error::{PoolError, PoolErrorKind};

/// Whether a process and its threads can have this name, and an environment hold these variables.
pub(crate) fn check(name: &str, variables: &[(String, String)]) -> Result<(), PoolError> {
    if name.contains('\0') {
        return Err(PoolErrorKind::Option {
            option: "name",
            value: format!("{name:?}"),
            accepted: "the name of a process holds no NUL".to_owned(),
        }
        .into());
    }
    let impossible = variables.iter().find(|(name, value)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    });
    let Some((name, _)) = impossible else {
        return Ok(());
    };
    let accepted =
        "a variable's name is not empty and holds no `=`, and neither name nor value holds a NUL";
    Err(PoolErrorKind::Option {
        option: "env",
        value: format!("`{name}`"),
        accepted: accepted.to_owned(),
    }
    .into())
}
