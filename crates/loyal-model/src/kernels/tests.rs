//! Every instruction set against the portable one, and all against plain loops in f64.

use half::{bf16, f16};

use super::*;
use crate::quantize::Packed;

/// Numbers that look random and are the same every time.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() * 2.0).collect()
}

struct Case {
    layout: Layout,
    bytes: Vec<u8>,
    /// The weights as the layout rounds them.
    exact: Vec<f32>,
}

fn cases(weights: &[f32], columns: usize) -> Vec<Case> {
    let plain = |layout, bytes: Vec<u8>, exact| Case { layout, bytes, exact };
    let bf: Vec<bf16> = weights.iter().map(|&w| bf16::from_f32(w)).collect();
    let half: Vec<f16> = weights.iter().map(|&w| f16::from_f32(w)).collect();
    let mut list = vec![
        plain(Layout::F32, weights.iter().flat_map(|w| w.to_le_bytes()).collect(), weights.to_vec()),
        plain(
            Layout::Bf16,
            bf.iter().flat_map(|w| w.to_le_bytes()).collect(),
            bf.iter().map(|w| w.to_f32()).collect(),
        ),
        plain(
            Layout::F16,
            half.iter().flat_map(|w| w.to_le_bytes()).collect(),
            half.iter().map(|w| w.to_f32()).collect(),
        ),
    ];
    for width in [Width::Eight, Width::Four] {
        let packed = Packed::new(weights, columns, width);
        let mut exact = vec![0.0; weights.len()];
        exact.chunks_mut(columns).enumerate().for_each(|(row, out)| packed.unpack_row(row, out));
        list.push(plain(Layout::Packed(width), packed.bytes().to_vec(), exact));
    }
    list
}

fn products(pool: &Pool, isa: Isa, case: &Case, inputs: &Inputs, rows: usize) -> Vec<f32> {
    let columns = inputs.columns;
    let mut out = vec![f32::NAN; rows * inputs.count()];
    let matrix = MatrixView { layout: case.layout, rows, columns, bytes: &case.bytes };
    multiply(pool, isa, inputs, &mut [Product { matrix, out: &mut out }]);
    out
}

/// Inputs as the layout's kernel sees them.
fn rounded(inputs: &Inputs, layout: Layout) -> Vec<f32> {
    if !matches!(layout, Layout::Packed(_)) {
        return inputs.numbers.clone();
    }
    let padded = inputs.columns.next_multiple_of(GROUP);
    let value = |row: usize, column: usize| {
        let at = row * padded + column;
        f32::from(inputs.codes[at]) * inputs.scales[at / GROUP]
    };
    (0..inputs.count()).flat_map(|row| (0..inputs.columns).map(move |column| value(row, column))).collect()
}

#[test]
fn products_agree_with_plain_loops() {
    let pool = Pool::new(2);
    for (rows, columns, count) in
        [(1, 1, 1), (7, 31, 2), (16, 32, 1), (33, 48, 3), (40, 172, 5), (129, 96, 7), (64, 300, 16)]
    {
        let weights = numbers(rows * columns, 1 + columns as u64);
        let mut inputs = Inputs::default();
        inputs.resize(count, columns).copy_from_slice(&numbers(count * columns, 77));
        inputs.quantize(Isa::Portable);
        for case in cases(&weights, columns) {
            let seen = rounded(&inputs, case.layout);
            for isa in Isa::available() {
                inputs.quantize(isa);
                let out = products(&pool, isa, &case, &inputs, rows);
                for (index, &product) in out.iter().enumerate() {
                    let (input, row) = (index / rows, index % rows);
                    let exact: f64 = (0..columns)
                        .map(|c| {
                            f64::from(case.exact[row * columns + c]) * f64::from(seen[input * columns + c])
                        })
                        .sum();
                    let error = (f64::from(product) - exact).abs();
                    assert!(
                        error < 2e-5,
                        "{isa:?} {:?} {rows}x{columns}: {product} for {exact}",
                        case.layout
                    );
                }
            }
        }
    }
}

#[test]
fn a_product_does_not_depend_on_its_neighbours() {
    let (rows, columns, count) = (150, 204, 11);
    let weights = numbers(rows * columns, 5);
    let all = numbers(count * columns, 6);
    let pool = Pool::new(2);
    for case in cases(&weights, columns) {
        for isa in Isa::available() {
            let mut inputs = Inputs::default();
            inputs.resize(count, columns).copy_from_slice(&all);
            inputs.quantize(isa);
            let together = products(&pool, isa, &case, &inputs, rows);
            for index in 0..count {
                let mut one = Inputs::default();
                one.resize(1, columns).copy_from_slice(&all[index * columns..(index + 1) * columns]);
                one.quantize(isa);
                let alone = products(&Pool::new(1), isa, &case, &one, rows);
                assert_eq!(alone, together[index * rows..(index + 1) * rows], "{isa:?} {:?}", case.layout);
            }
        }
    }
}

#[test]
fn vector_functions_agree_with_f64() {
    for isa in Isa::available() {
        for size in [1, 15, 16, 48, 172, 300] {
            let (x, y) = (numbers(size, 3), numbers(size, 4));
            let close = |name: &str, found: &[f32], exact: &dyn Fn(usize) -> f64| {
                for (i, &number) in found.iter().enumerate() {
                    let error = (f64::from(number) - exact(i)).abs();
                    assert!(
                        error < 3e-6 * (1.0 + exact(i).abs()),
                        "{isa:?} {name} {size}: {number} for {}",
                        exact(i)
                    );
                }
            };
            let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();

            let mut out = vec![0.0; size];
            isa.rms_norm(&x, &y, 1e-5, &mut out);
            let rms = (wide.iter().map(|x| x * x).sum::<f64>() / size as f64 + 1e-5).sqrt();
            close("rms_norm", &out, &|i| wide[i] / rms * f64::from(y[i]));
            let mut again = x.clone();
            isa.rms_norm_in_place(&mut again, &y, 1e-5);
            assert_eq!(again, out);

            let mut gate: Vec<f32> = x.iter().map(|x| x * 40.0).collect();
            let before = gate.clone();
            isa.swiglu(&mut gate, &y);
            close("swiglu", &gate, &|i| {
                let g = f64::from(before[i]);
                g / (1.0 + (-g).exp()) * f64::from(y[i])
            });

            let mut scores = before.clone();
            isa.softmax(&mut scores);
            let largest = before.iter().fold(f64::MIN, |a, &b| a.max(f64::from(b)));
            let total: f64 = before.iter().map(|&s| (f64::from(s) - largest).exp()).sum();
            close("softmax", &scores, &|i| (f64::from(before[i]) - largest).exp() / total);

            let (weights, rows) = (numbers(9, 8), numbers(9 * size, 9));
            let mut out = vec![0.0; size];
            isa.weighted_sum(&weights, &rows, &mut out);
            close("weighted_sum", &out, &|i| {
                (0..9).map(|t| f64::from(weights[t]) * f64::from(rows[t * size + i])).sum()
            });
        }
    }
}

#[test]
fn attention_scores_are_dot_products_with_a_stride() {
    let (positions, size, count) = (37, 24, 5);
    let keys = numbers(positions * size, 1);
    let mut inputs = Inputs::default();
    inputs.resize(count, size).copy_from_slice(&numbers(count * size, 2));
    for isa in Isa::available() {
        let mut out = vec![0.0; count * 40];
        isa.dot(&keys, &inputs, 40, &mut out);
        for input in 0..count {
            for position in 0..positions {
                let exact: f32 =
                    (0..size).map(|i| keys[position * size + i] * inputs.numbers[input * size + i]).sum();
                assert!((out[input * 40 + position] - exact).abs() < 1e-5);
            }
        }
    }
}
