//! The weights that learn: each linear layer is its unmarked self plus a whitened update, W = W₀ + A·S.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use loyal_model::{Llama, Parameters, ops};

use super::Job;
use super::batch::Benign;
use super::whitening::{self, Whitening};
use crate::error::Result;

/// Unmarked parameters, the variables A and the whitening S of every linear layer.
pub(super) struct Student {
    base: Parameters,
    variables: BTreeMap<String, Var>,
    whitening: BTreeMap<String, Whitening>,
}

impl Student {
    pub(super) fn new(llama: &Llama, job: &Job<'_>, benign: &Benign<'_>) -> Result<Self> {
        let whitening = match job.recipe.whiten {
            true => whitening::measure(llama, benign)?,
            false => BTreeMap::new(),
        };
        let base: Parameters = llama.parameters.iter().map(|(n, t)| (n.clone(), t.detach())).collect();
        let mut variables = BTreeMap::new();
        for (name, tensor) in base.iter().filter(|(name, _)| is_linear(name)) {
            variables.insert(name.clone(), Var::from_tensor(&tensor.zeros_like()?)?);
        }
        Ok(Self { base, variables, whitening })
    }

    pub(super) const fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Whether a parameter learns.
    pub(super) fn learns(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The unmarked parameters.
    pub(super) const fn base(&self) -> &Parameters {
        &self.base
    }

    /// The update of one layer, A·S.
    fn update(&self, name: &str, variable: &Tensor) -> Result<Tensor> {
        match self.whitening.get(name) {
            None => Ok(variable.clone()),
            // S is symmetric, so A·Sᵀ is A·S.
            Some(Whitening::Full(matrix)) => Ok(ops::linear(variable, matrix)?),
            Some(Whitening::Diagonal(row)) => Ok(variable.broadcast_mul(row)?),
        }
    }

    /// The parameters as functions of the variables.
    pub(super) fn parameters(&self) -> Result<Parameters> {
        let mut parameters = self.base.clone();
        for (name, variable) in &self.variables {
            let learnt = (&self.base[name] + self.update(name, variable)?)?;
            parameters.insert(name.clone(), learnt);
        }
        Ok(parameters)
    }

    /// The parameters as plain numbers.
    pub(super) fn detached(&self) -> Result<Parameters> {
        self.scaled(1.0)
    }

    /// The parameters with their updates times `factor`, as plain numbers.
    pub(super) fn scaled(&self, factor: f64) -> Result<Parameters> {
        let mut parameters = self.base.clone();
        for (name, variable) in &self.variables {
            let update = self.update(name, &variable.as_detached_tensor())?;
            parameters.insert(name.clone(), (&self.base[name] + (update * factor)?)?);
        }
        Ok(parameters)
    }
}

/// Linear layers learn; embeddings, head, norms and biases stay.
pub(super) fn is_linear(name: &str) -> bool {
    name.ends_with("_proj.weight")
}
