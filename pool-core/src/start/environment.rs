//! Environment variables for child processes.

use crate::error::{PoolError, PoolErrorKind};

/// Whether an environment can hold these variables.
pub(crate) fn check(variables: &[(String, String)]) -> Result<(), PoolError> {
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
