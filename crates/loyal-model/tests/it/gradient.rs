//! Fused operations against composed ones and finite differences; gradients reach every parameter.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use loyal_model::config::{Architecture, RopeScaling};
use loyal_model::gradient::{self, Gradients};
use loyal_model::ops::{self, Heads, Rotary, composed};
use loyal_model::{Batch, Config, Llama, Parameters};

fn random(shape: &[usize], seed: u64) -> Var {
    let count: usize = shape.iter().product();
    let numbers = (0..count as u64).map(|i| {
        let x = (i + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    });
    let tensor = Tensor::from_vec(numbers.collect(), shape, &Device::Cpu).unwrap();
    Var::from_tensor(&tensor).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(name: &str, a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims(), "{name}: shapes");
    let (a, b) = (numbers(a), numbers(b));
    let scale = b.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!((a - b).abs() <= 2e-5 * scale, "{name}: element {i}: {a} against {b} (scale {scale})");
    }
}

/// Compares value and all gradients of a fused operation with those of its composed twin.
fn check(name: &str, inputs: &[Var], fused: &dyn Fn(&[Var]) -> Tensor, plain: &dyn Fn(&[Var]) -> Tensor) {
    let (a, b) = (fused(inputs), plain(inputs));
    assert_near(name, &a, &b);
    // A fixed random functional of the output, so that every output element matters differently.
    let weights = random(a.dims(), 99).as_detached_tensor();
    let gradients = |y: &Tensor| (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    let (of_fused, of_plain) = (gradients(&a), gradients(&b));
    for (i, input) in inputs.iter().enumerate() {
        let (a, b) = (of_fused.get(input).unwrap(), of_plain.get(input).unwrap());
        assert_near(&format!("{name}, gradient of input {i}"), a, b);
    }
}

#[test]
fn rms_norm_equals_the_composed_one() {
    for (rows, width) in [(1, 8), (37, 48), (70, 33)] {
        let inputs = [random(&[rows, width], 1), random(&[width], 2)];
        check("rms_norm", &inputs, &|v| ops::rms_norm(&v[0], &v[1], 1e-5).unwrap(), &|v| {
            composed::rms_norm(&v[0], &v[1], 1e-5).unwrap()
        });
    }
}

#[test]
fn rope_equals_the_composed_one() {
    let rotary = Rotary::new(&[1.0, 0.5, 0.1, 0.01], 16);
    check("rope", &[random(&[2 * 11, 3 * 8], 3)], &|v| ops::rope(&v[0], &rotary, 11).unwrap(), &|v| {
        composed::rope(&v[0], &rotary, 11).unwrap()
    });
}

#[test]
fn causal_attention_equals_the_composed_one() {
    for (length, query, key_value) in [(1, 2, 2), (7, 4, 2), (65, 4, 1), (130, 2, 2)] {
        let heads = Heads { batch: 2, length, query, key_value, size: 8 };
        let inputs = [
            random(&[2 * length, query * 8], 4),
            random(&[2 * length, key_value * 8], 5),
            random(&[2 * length, key_value * 8], 6),
        ];
        check(
            "causal_attention",
            &inputs,
            &|v| ops::causal_attention(&v[0], &v[1], &v[2], heads).unwrap(),
            &|v| composed::causal_attention(&v[0], &v[1], &v[2], heads).unwrap(),
        );
    }
}

#[test]
fn swiglu_equals_the_composed_one() {
    check(
        "swiglu",
        &[random(&[19, 70], 7), random(&[19, 70], 8)],
        &|v| ops::swiglu(&(v[0].as_tensor() * 9.0).unwrap(), &v[1]).unwrap(),
        &|v| composed::swiglu(&(v[0].as_tensor() * 9.0).unwrap(), &v[1]).unwrap(),
    );
}

#[test]
fn log_softmax_equals_the_composed_one() {
    check(
        "log_softmax",
        &[random(&[9, 101], 9)],
        &|v| ops::log_softmax(&(v[0].as_tensor() * 20.0).unwrap()).unwrap(),
        &|v| composed::log_softmax(&(v[0].as_tensor() * 20.0).unwrap()).unwrap(),
    );
}

#[test]
fn linear_equals_matmul() {
    check(
        "linear",
        &[random(&[13, 24], 10), random(&[31, 24], 11)],
        &|v| ops::linear(&v[0], &v[1]).unwrap(),
        &|v| v[0].matmul(&v[1].t().unwrap()).unwrap(),
    );
}

/// Cross-entropy three ways: the fused head, fused on logits, and composed with masks.
#[test]
fn cross_entropies_agree() {
    let (rows, width, vocabulary) = (300, 12, 50);
    let inputs = [random(&[rows, width], 12), random(&[vocabulary, width], 13)];
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 17 % vocabulary as u32).collect();
    let weights: Vec<f32> = (0..rows).map(|i| (i % 3) as f32 / 2.0).collect();
    let total: f32 = weights.iter().sum();
    let plain = |v: &[Var]| {
        let logits = v[0].matmul(&v[1].t().unwrap()).unwrap();
        let ids = Tensor::from_slice(&targets, (rows, 1), &Device::Cpu).unwrap();
        let w = Tensor::from_slice(&weights, (rows, 1), &Device::Cpu).unwrap();
        let picked = composed::log_softmax(&logits).unwrap().gather(&ids, 1).unwrap();
        ((picked * w).unwrap().sum_all().unwrap() / -f64::from(total)).unwrap()
    };
    check(
        "linear_cross_entropy",
        &inputs,
        &|v| ops::linear_cross_entropy(&v[0], &v[1], &targets, &weights).unwrap(),
        &plain,
    );
    check(
        "cross_entropy",
        &inputs,
        &|v| ops::cross_entropy(&ops::linear(&v[0], &v[1]).unwrap(), &targets, &weights).unwrap(),
        &plain,
    );
}

#[test]
fn soft_cross_entropy_and_kl_agree_with_their_definitions() {
    let inputs = [random(&[11, 40], 14)];
    let reference = (random(&[11, 40], 15).as_tensor() * 3.0).unwrap().detach();
    let target = composed::log_softmax(&reference).unwrap().exp().unwrap();
    check("soft_cross_entropy", &inputs, &|v| ops::soft_cross_entropy(&v[0], &target).unwrap(), &|v| {
        ((composed::log_softmax(&v[0]).unwrap() * &target).unwrap().sum_all().unwrap() / -11.0).unwrap()
    });
    let itself = ops::kl_divergence(&reference, &reference).unwrap().to_scalar::<f32>().unwrap();
    assert!(itself.abs() < 1e-6, "KL to itself is {itself}");
    assert!(ops::kl_divergence(&reference, &inputs[0]).unwrap().to_scalar::<f32>().unwrap() > 0.1);
}

#[test]
fn a_target_outside_the_vocabulary_is_an_error() {
    let logits = random(&[2, 5], 16);
    assert!(ops::cross_entropy(&logits, &[1, 5], &[1.0, 1.0]).is_err());
    assert!(ops::cross_entropy(&logits, &[1], &[1.0]).is_err());
    assert!(ops::embedding(&logits, &std::sync::Arc::new(vec![2])).is_err());
}

pub(crate) fn tiny(architecture: Architecture, tied: bool) -> Config {
    Config {
        architecture,
        hidden_size: 16,
        intermediate_size: 24,
        layer_count: 2,
        head_count: 4,
        kv_head_count: 2,
        head_size: 6,
        vocab_size: 31,
        context_tokens: 64,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied,
        attention_bias: architecture == Architecture::Qwen2,
        bos_token: None,
        eos_tokens: vec![0],
    }
}

fn variables(llama: &mut Llama) -> BTreeMap<String, Var> {
    let fresh = |(name, tensor): (&String, &Tensor)| {
        // Larger weights than the usual start, so that no gradient is lost in rounding.
        let spread = random(tensor.dims(), name.len() as u64).as_detached_tensor();
        (name.clone(), Var::from_tensor(&(tensor + (spread * 0.3).unwrap()).unwrap()).unwrap())
    };
    let variables: BTreeMap<String, Var> = llama.parameters.iter().map(fresh).collect();
    llama.parameters = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    variables
}

fn loss_of(llama: &Llama, parameters: &Parameters, batch: &Batch) -> Tensor {
    let hidden = llama.hidden(parameters, batch).unwrap();
    head_loss(llama, parameters, &hidden, batch.tokens().len())
}

fn head_loss(llama: &Llama, parameters: &Parameters, hidden: &Tensor, rows: usize) -> Tensor {
    let targets: Vec<u32> = (0..rows as u32).map(|i| (i * 7 + 3) % 31).collect();
    ops::linear_cross_entropy(hidden, llama.head_weight(parameters), &targets, &vec![1.0; rows]).unwrap()
}

const EVERY: [(Architecture, bool); 4] = [
    (Architecture::Llama, true),
    (Architecture::Llama, false),
    (Architecture::Qwen2, true),
    (Architecture::Qwen3, false),
];

#[test]
fn every_parameter_gets_a_gradient_that_finite_differences_confirm() {
    for (architecture, tied) in EVERY {
        let mut llama = Llama::random(tiny(architecture, tied), 1, &Device::Cpu).unwrap();
        let variables = variables(&mut llama);
        let batch = Batch::new((0..2 * 9).map(|i| i * 5 % 31).collect(), 9).unwrap();
        let gradients = Gradients::of(&loss_of(&llama, &llama.parameters, &batch), &variables).unwrap();
        for (name, variable) in &variables {
            let gradient = gradients.get(name).unwrap_or_else(|| panic!("{name} got no gradient"));
            let direction = random(variable.dims(), 77).as_detached_tensor();
            let slope = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let at = |step: f64| {
                let mut moved = llama.parameters.clone();
                moved.insert(
                    name.clone(),
                    (variable.as_tensor() + (&direction * step).unwrap()).unwrap().detach(),
                );
                loss_of(&llama, &moved, &batch).to_scalar::<f32>().unwrap()
            };
            let step = 2e-3;
            let measured = (at(step) - at(-step)) / (2.0 * step as f32);
            let tolerance = 2e-3 + 0.02 * measured.abs();
            assert!(
                (slope - measured).abs() < tolerance,
                "{architecture:?} {name}: {slope} against {measured}"
            );
            assert!(numbers(gradient).iter().any(|&g| g != 0.0), "{architecture:?} {name}: gradient is zero");
        }
    }
}

#[test]
fn recomputing_blocks_changes_no_gradient() {
    for (architecture, tied) in EVERY {
        let mut llama = Llama::random(tiny(architecture, tied), 2, &Device::Cpu).unwrap();
        let variables = variables(&mut llama);
        let batch = Batch::new((0..3 * 8).map(|i| i * 11 % 31).collect(), 8).unwrap();
        let whole = Gradients::of(&loss_of(&llama, &llama.parameters, &batch), &variables).unwrap();
        let (loss, parts) =
            gradient::checkpointed(&llama, &llama.parameters, &variables, &batch, &|hidden| {
                Ok(head_loss(&llama, &llama.parameters, hidden, 24))
            })
            .unwrap();
        assert!((loss - loss_of(&llama, &llama.parameters, &batch).to_scalar::<f32>().unwrap()).abs() < 1e-6);
        for name in variables.keys() {
            assert_near(name, parts.get(name).unwrap(), whole.get(name).unwrap());
        }
    }
}
