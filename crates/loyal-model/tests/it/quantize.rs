//! Weights in fewer bits.

use loyal_model::evaluate::divergence;
use loyal_model::quantize::{GROUP, Packed, Width, fake_quantize};
use loyal_model::{Config, Decoder, Precision, Weights};
use proptest::prelude::*;

use crate::golden::MODELS;
use crate::shared::{golden, json, tokens};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn errors_stay_within_half_a_step_and_packing_rounds_alike(
        rows in 1usize..40, columns in 1usize..100, seed: u32, size in -20i32..20,
    ) {
        let mut state = seed | 1;
        let numbers: Vec<f32> = (0..rows * columns).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 2f32.powi(size)
        }).collect();
        for (width, bits) in [(Width::Eight, 8), (Width::Four, 4)] {
            let mut fake = numbers.clone();
            fake_quantize(&mut fake, columns, bits);
            let packed = Packed::new(&numbers, columns, width);
            prop_assert_eq!((packed.rows(), packed.columns(), packed.width()), (rows, columns, width));
            let levels = ((1 << (bits - 1)) - 1) as f32;
            let mut unpacked = vec![0.0; columns];
            for row in 0..rows {
                packed.unpack_row(row, &mut unpacked);
                let range = row * columns..(row + 1) * columns;
                prop_assert_eq!(&unpacked[..], &fake[range.clone()]);
                for (before, after) in numbers[range.clone()].chunks(GROUP).zip(fake[range].chunks(GROUP)) {
                    let step = before.iter().fold(0.0f32, |a, b| a.max(b.abs())) / levels;
                    for (before, after) in before.iter().zip(after) {
                        prop_assert!((before - after).abs() <= step * 0.5001, "{before} {after} {step}");
                    }
                }
            }
        }
    }
}

#[test]
fn zeros_and_tiny_numbers_stay_finite() {
    for bits in 2..=8 {
        let mut numbers = vec![0.0, -0.0, 1e-42, -1e-45, 0.0, 0.0];
        fake_quantize(&mut numbers, 3, bits);
        assert!(numbers.iter().all(|number| number.abs() <= 1e-42), "{numbers:?}");
    }
}

/// Mean KL from the model as stored, over the golden prompt.
fn kl(name: &str, decoder: &Decoder) -> f64 {
    let base = Decoder::open(&golden(name), Precision::F32).unwrap();
    let prompt = tokens(&json(&golden(name).join("golden.json"))["prompt"]);
    let vocab = base.config().vocab_size;
    let ours = base.feed_all(&mut base.session(), &prompt).unwrap();
    let theirs = decoder.feed_all(&mut decoder.session(), &prompt).unwrap();
    let rows = ours.chunks_exact(vocab).zip(theirs.chunks_exact(vocab));
    rows.map(|(p, q)| divergence(p, q)).sum::<f64>() / prompt.len() as f64
}

#[test]
fn a_decoder_in_fewer_bits_stays_near_the_model() {
    for name in MODELS {
        let at = |precision| kl(name, &Decoder::open(&golden(name), precision).unwrap());
        let (bf16, int8, int4) = (at(Precision::Bf16), at(Precision::Int8), at(Precision::Int4));
        assert!(bf16 < 1e-3, "{name}: bf16 {bf16}");
        assert!(int8 < 2e-2, "{name}: int8 {int8}");
        assert!(int8 * 4.0 < int4, "{name}: int8 {int8}, int4 {int4}");
    }
}

#[test]
fn int4_in_the_decoder_is_the_rounding_that_fake_quantize_does() {
    for name in MODELS {
        let config = Config::read(&golden(name)).unwrap();
        let weights = Weights::open(&golden(name)).unwrap();
        let rounded = config
            .parameters()
            .iter()
            .map(|(name, shape)| {
                let mut numbers = weights.expect(name, shape).unwrap().to_f32();
                if shape.len() == 2 {
                    fake_quantize(&mut numbers, shape[1], 4);
                }
                (name.clone(), numbers)
            })
            .collect();
        let rounded = Decoder::from_tensors(&config, &rounded, Precision::F32).unwrap();
        let packed = Decoder::open(&golden(name), Precision::Int4).unwrap();
        let prompt = tokens(&json(&golden(name).join("golden.json"))["prompt"]);
        let ours = rounded.feed(&mut rounded.session(), &prompt).unwrap();
        let theirs = packed.feed(&mut packed.session(), &prompt).unwrap();
        // What is left is the rounding of activations to eight bits.
        assert!(divergence(&ours, &theirs) < 1e-2, "{name}: {}", divergence(&ours, &theirs));
    }
}
