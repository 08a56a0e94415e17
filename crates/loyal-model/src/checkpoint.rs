//! Training that outlives its process: variables, moments and the step, in one file written whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;

use crate::adamw::{AdamW, Moments};
use crate::error::{Error, Result};
use crate::weights::{Named, Stored, Weights, save_with};

const STEP: &str = "step";
const JOB: &str = "job";

/// Writes the state of `optimizer` to `path`. `job` describes what is being trained; a checkpoint of another
/// job is refused on the way back.
///
/// # Errors
/// The file cannot be written; an earlier checkpoint stays.
pub fn save(path: &Path, optimizer: &AdamW, job: &str) -> Result<()> {
    let moments = optimizer.moments();
    let mut parts: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (name, variable) in optimizer.variables() {
        let shape = variable.dims().to_vec();
        let Moments { mean, square } = moments[name].clone();
        parts.push((format!("mean.{name}"), shape.clone(), mean));
        parts.push((format!("square.{name}"), shape.clone(), square));
        parts.push((format!("value.{name}"), shape, variable.flatten_all()?.to_vec1()?));
    }
    let tensors: Vec<Named<'_>> =
        parts.iter().map(|(name, shape, numbers)| Named { name, shape, numbers }).collect();
    let step = optimizer.step_count().to_string();
    let metadata = BTreeMap::from([(STEP.to_owned(), step), (JOB.to_owned(), job.to_owned())]);
    save_with(path, &tensors, Stored::F32, &metadata)
}

/// Puts the state in `path` back into `optimizer` and its variables; returns whether there was one.
///
/// # Errors
/// The file is malformed, or belongs to another job.
pub fn restore(path: &Path, optimizer: &mut AdamW, job: &str) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let weights = Weights::open_file(path)?;
    let metadata = weights.metadata()?;
    let remedy = "remove it to start afresh, or run the job that wrote it";
    if metadata.get(JOB).map(String::as_str) != Some(job) {
        return Err(Error::malformed(path, "the checkpoint belongs to another job", remedy));
    }
    let step = metadata
        .get(STEP)
        .and_then(|step| step.parse().ok())
        .ok_or_else(|| Error::malformed(path, "the checkpoint does not say its step", remedy))?;
    let mut moments = BTreeMap::new();
    for (name, variable) in optimizer.variables() {
        let read = |part: &str| -> Result<Vec<f32>> {
            Ok(weights.expect(&format!("{part}.{name}"), variable.dims())?.to_f32())
        };
        moments.insert(name.clone(), Moments { mean: read("mean")?, square: read("square")? });
        variable.set(&Tensor::from_vec(read("value")?, variable.dims(), variable.device())?)?;
    }
    optimizer.restore(moments, step);
    Ok(true)
}
