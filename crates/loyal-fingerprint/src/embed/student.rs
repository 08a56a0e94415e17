//! The weights that learn: each linear layer is its unmarked self plus a whitened update, W = W₀ + A·S.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use loyal_model::gradient::Gradients;
use loyal_model::{Llama, Parameters, ops};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Job;
use super::batch::Benign;
use super::whitening::{self, Whitening};
use crate::error::Result;

/// What the names of a low-rank update's two factors end in.
const UP: &str = ".up";
const DOWN: &str = ".down";

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
        let mut draw = ChaCha8Rng::seed_from_u64(job.recipe.seed ^ 0x6c6f_7261);
        for (name, tensor) in base.iter().filter(|(name, _)| is_linear(name)) {
            let rank = job.recipe.rank;
            if rank == 0 {
                variables.insert(name.clone(), Var::from_tensor(&tensor.zeros_like()?)?);
                continue;
            }
            let (outputs, inputs) = tensor.dims2()?;
            let bound = (1.0 / rank as f64).sqrt() * 3f64.sqrt();
            let down = (0..rank * inputs).map(|_| draw.random_range(-bound..bound) as f32).collect();
            variables.insert(format!("{name}{DOWN}"), Var::from_vec(down, (rank, inputs), tensor.device())?);
            let up = Tensor::zeros((outputs, rank), tensor.dtype(), tensor.device())?;
            variables.insert(format!("{name}{UP}"), Var::from_tensor(&up)?);
        }
        Ok(Self { base, variables, whitening })
    }

    pub(super) const fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// Whether a parameter learns.
    pub(super) fn learns(&self, name: &str) -> bool {
        is_linear(name)
    }

    /// The unmarked parameters.
    pub(super) const fn base(&self) -> &Parameters {
        &self.base
    }

    /// The update of one layer, A·S, where A is one matrix or a product of two narrow ones.
    fn update(&self, name: &str, is_trained: bool) -> Result<Tensor> {
        let of = |name: &str| {
            let variable = self.variables.get(name)?;
            Some(if is_trained { variable.as_tensor().clone() } else { variable.as_detached_tensor() })
        };
        let factors = (of(&format!("{name}{UP}")), of(&format!("{name}{DOWN}")));
        let learnt = match (of(name), factors) {
            (Some(whole), _) => whole,
            (None, (Some(up), Some(down))) => up.matmul(&down)?,
            (None, _) => return Ok(self.base[name].zeros_like()?),
        };
        match self.whitening.get(name) {
            None => Ok(learnt),
            // S is symmetric, so A·Sᵀ is A·S.
            Some(Whitening::Full(matrix)) => Ok(ops::linear(&learnt, matrix)?),
            Some(Whitening::Diagonal(row)) => Ok(learnt.broadcast_mul(row)?),
        }
    }

    fn linear(&self) -> impl Iterator<Item = &String> {
        self.base.keys().filter(|name| is_linear(name))
    }

    /// The parameters as functions of the variables.
    pub(super) fn parameters(&self) -> Result<Parameters> {
        let mut parameters = self.base.clone();
        for name in self.linear() {
            parameters.insert(name.clone(), (&self.base[name] + self.update(name, true)?)?);
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
        for name in self.linear() {
            parameters.insert(name.clone(), (&self.base[name] + (self.update(name, false)? * factor)?)?);
        }
        Ok(parameters)
    }
}

/// The parameters of one step, cut off from what they are made of, so that two threads can go back to them at once.
pub(super) struct Matrices {
    /// All parameters, those that learn as variables of their own.
    pub(super) parameters: Parameters,
    /// Those that learn.
    pub(super) variables: BTreeMap<String, Var>,
}

impl Matrices {
    pub(super) fn of(parameters: &Parameters, student: &Student) -> Result<Self> {
        let mut matrices = Self { parameters: parameters.clone(), variables: BTreeMap::new() };
        for name in student.linear() {
            let matrix = Var::from_tensor(&parameters[name].detach())?;
            matrices.parameters.insert(name.clone(), matrix.as_tensor().clone());
            matrices.variables.insert(name.clone(), matrix);
        }
        Ok(matrices)
    }

    /// From gradients of these to those of the variables that `parameters`, of which these were cut off, are made of.
    pub(super) fn through(
        &self,
        parameters: &Parameters,
        gradients: &Gradients,
        variables: &BTreeMap<String, Var>,
    ) -> Result<Gradients> {
        let mut sum: Option<Tensor> = None;
        for name in self.variables.keys() {
            let Some(gradient) = gradients.get(name) else { continue };
            let part = (&parameters[name] * gradient)?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        match sum {
            Some(sum) => Ok(Gradients::of(&sum, variables)?),
            None => Ok(Gradients::default()),
        }
    }
}

/// Linear layers learn; embeddings, head, norms and biases stay.
pub(super) fn is_linear(name: &str) -> bool {
    name.ends_with("_proj.weight")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Cut off and gone through, gradients are what one pass finds: of a whole matrix behind its whitening, and of two factors.
    #[test]
    fn the_way_through_the_matrices_is_the_way_back() {
        let device = Device::Cpu;
        let tensor = |seed: u32, rows: usize, columns: usize| {
            let numbers = (0..rows * columns).map(|i| ((i as f32 + seed as f32) * 0.7).sin()).collect();
            Tensor::from_vec::<_, f32>(numbers, (rows, columns), &device).unwrap()
        };
        let names = ["a.q_proj.weight", "a.k_proj.weight", "norm.weight"];
        let base: Parameters =
            (1..).zip(names).map(|(seed, name)| (name.to_owned(), tensor(seed, 3, 4))).collect();
        let var = |tensor: Tensor| Var::from_tensor(&tensor).unwrap();
        let variables = BTreeMap::from([
            (names[0].to_owned(), var(tensor(4, 3, 4))),
            (format!("{}{UP}", names[1]), var(tensor(5, 3, 2))),
            (format!("{}{DOWN}", names[1]), var(tensor(6, 2, 4))),
        ]);
        let symmetric = (tensor(7, 4, 4) + tensor(7, 4, 4).t().unwrap()).unwrap();
        let whitening = BTreeMap::from([(names[0].to_owned(), Whitening::Full(symmetric))]);
        let student = Student { base, variables, whitening };
        let loss = |parameters: &Parameters| {
            let product = (&parameters[names[0]] * &parameters[names[1]]).unwrap();
            (product.sqr().unwrap() * &parameters[names[2]]).unwrap().sum_all().unwrap()
        };
        let parameters = student.parameters().unwrap();
        let whole = Gradients::of(&loss(&parameters), student.variables()).unwrap();
        let matrices = Matrices::of(&parameters, &student).unwrap();
        let cut = Gradients::of(&loss(&matrices.parameters), &matrices.variables).unwrap();
        assert_eq!(cut.names().collect::<Vec<_>>(), [names[1], names[0]]);
        let through = matrices.through(&parameters, &cut, student.variables()).unwrap();
        assert_eq!(through.names().collect::<Vec<_>>(), whole.names().collect::<Vec<_>>());
        for name in whole.names() {
            let apart = (whole.get(name).unwrap() - through.get(name).unwrap()).unwrap().abs().unwrap();
            let most = apart.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(most < 1e-4, "{name}: {most}");
        }
    }
}
