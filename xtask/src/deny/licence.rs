//! Whether a package's SPDX expression is satisfied by the licences we allow.

use anyhow::{Context as _, Result, bail};
use spdx::{Expression, Licensee, ParseMode};

use super::graph::Package;
use super::policy::Licences;

/// Evaluates the package's licence expression.
///
/// # Errors
/// When the expression is missing, is not SPDX, or asks for more than is allowed.
pub fn check(licences: &Licences, package: &Package) -> Result<()> {
    let Some(text) = &package.license else {
        bail!("its manifest has no `license`, so nobody may copy it");
    };
    let expression = Expression::parse_mode(text, ParseMode::LAX)
        .ok()
        .with_context(|| format!("`{text}` is not an SPDX expression"))?;
    let exceptions = licences.exceptions.iter().filter(|exception| exception.name == package.name);
    let names = licences.allow.iter().chain(exceptions.flat_map(|exception| &exception.allow));
    let allowed: Vec<Licensee> = names
        .map(|name| {
            Licensee::parse(name)
                .ok()
                .with_context(|| format!("deny.toml allows `{name}`, which is not SPDX"))
        })
        .collect::<Result<_>>()?;
    if !expression.evaluate(|requirement| allowed.iter().any(|licence| licence.satisfies(requirement))) {
        bail!("its licence `{text}` is not allowed by deny.toml");
    }
    Ok(())
}
