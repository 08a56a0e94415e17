//! The vector functions between matrix products, written once and compiled for each instruction set.
#![allow(unsafe_code, reason = "functions compiled for instructions that were found; see each SAFETY note")]

use super::Isa;
use crate::quantize::GROUP;

const LANES: usize = 16;

/// Declares a method of [`Isa`] that runs `$body` compiled for that set.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* $name:ident => $body:ident ( $($arg:ident : $type:ty),* )) => {
        impl Isa {
            $(#[$doc])*
            pub(crate) fn $name(self, $($arg: $type),*) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) {
                    $body::<true>($($arg),*);
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
                fn avx512($($arg: $type),*) {
                    $body::<true>($($arg),*);
                }
                match self {
                    Self::Portable => $body::<false>($($arg),*),
                    // SAFETY: `Isa::available` found these instructions.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512 => unsafe { avx512($($arg),*) },
                }
            }
        }
    };
}

for_each_isa! {
    /// `out = x / rms(x) · weight`, for every row of `weight`'s length (RMSNorm, arXiv 1910.07467).
    rms_norm => rms_norm_body(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32])
}
for_each_isa! {
    /// RMSNorm in place.
    rms_norm_in_place => rms_norm_in_place_body(x: &mut [f32], weight: &[f32], eps: f32)
}
for_each_isa! {
    /// `gate = silu(gate) · up`.
    swiglu => swiglu_body(gate: &mut [f32], up: &[f32])
}
for_each_isa! {
    /// Softmax in place, largest number subtracted first.
    softmax => softmax_body(scores: &mut [f32])
}
for_each_isa! {
    /// `out = Σ weights[i] · rows[i]`.
    weighted_sum => weighted_sum_body(weights: &[f32], rows: &[f32], out: &mut [f32])
}
for_each_isa! {
    /// `x += y`, and where there is a bias, every row of its length `+= bias`.
    add => add_body(x: &mut [f32], y: &[f32])
}
for_each_isa! {
    /// Codes, scale and sum of codes of every group of 32.
    quantize => quantize_body(numbers: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32])
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction, `mul_add` is a slow library call.
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// e^x to within 2 units in the last place; 0 below -87.3, finite at most.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to a whole number
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -0.693_359_4, x);
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = multiply_add::<FUSED>(p, r, c);
    }
    let e = multiply_add::<FUSED>(p * r, r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_add(127)) << 23);
    if x < -87.3 { 0.0 } else { e * power }
}

#[inline(always)]
fn sum_by<const FUSED: bool>(x: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = term(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &number) in lanes.iter_mut().zip(rest) {
        *lane = term(*lane, number);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn inverse_rms<const FUSED: bool>(x: &[f32], eps: f32) -> f32 {
    let squares = sum_by::<FUSED>(x, |sum, number| multiply_add::<FUSED>(number, number, sum));
    1.0 / (squares / x.len() as f32 + eps).sqrt()
}

#[inline(always)]
fn rms_norm_body<const FUSED: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
        let scale = inverse_rms::<FUSED>(x, eps);
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
            *out = weight * (x * scale);
        }
    }
}

#[inline(always)]
fn rms_norm_in_place_body<const FUSED: bool>(x: &mut [f32], weight: &[f32], eps: f32) {
    for x in x.chunks_exact_mut(weight.len()) {
        let scale = inverse_rms::<FUSED>(x, eps);
        for (x, &weight) in x.iter_mut().zip(weight) {
            *x = weight * (*x * scale);
        }
    }
}

#[inline(always)]
fn swiglu_body<const FUSED: bool>(gate: &mut [f32], up: &[f32]) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp::<FUSED>(-*gate)) * up;
    }
}

#[inline(always)]
fn softmax_body<const FUSED: bool>(scores: &mut [f32]) {
    let largest = scores.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    for score in scores.iter_mut() {
        *score = exp::<FUSED>(*score - largest);
    }
    let scale = 1.0 / sum_by::<FUSED>(scores, |sum, number| sum + number);
    for score in scores.iter_mut() {
        *score *= scale;
    }
}

#[inline(always)]
fn weighted_sum_body<const FUSED: bool>(weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let columns = out.len();
    let whole = columns / LANES * LANES;
    for from in (0..whole).step_by(LANES) {
        // Four sums at once hide the latency of each.
        let mut sums = [[0.0f32; LANES]; 4];
        for (four, weights) in weights.chunks(4).enumerate() {
            for (i, &weight) in weights.iter().enumerate() {
                let start = (four * 4 + i) * columns + from;
                let row: &[f32; LANES] =
                    rows[start..start + LANES].try_into().expect("as long as it was cut");
                for lane in 0..LANES {
                    sums[i][lane] = multiply_add::<FUSED>(weight, row[lane], sums[i][lane]);
                }
            }
        }
        for lane in 0..LANES {
            out[from + lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
        }
    }
    for column in whole..columns {
        let terms = weights.iter().zip(rows[column..].iter().step_by(columns));
        out[column] = terms.fold(0.0, |sum, (&weight, &number)| multiply_add::<FUSED>(weight, number, sum));
    }
}

#[inline(always)]
fn add_body<const FUSED: bool>(x: &mut [f32], y: &[f32]) {
    for x in x.chunks_mut(y.len().max(1)) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

#[inline(always)]
fn quantize_body<const FUSED: bool>(numbers: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    let groups = codes.chunks_exact_mut(GROUP).zip(numbers.chunks(GROUP));
    for ((codes, numbers), (scale, sum)) in groups.zip(scales.iter_mut().zip(sums)) {
        let mut padded = [0.0f32; GROUP];
        padded[..numbers.len()].copy_from_slice(numbers);
        let mut largest = [0.0f32; LANES];
        for (lane, largest) in largest.iter_mut().enumerate() {
            *largest = padded[lane].abs().max(padded[lane + LANES].abs());
        }
        let largest = largest.iter().fold(0.0f32, |a, &b| if b > a { b } else { a });
        let inverse = if largest > 1e-30 { 127.0 / largest } else { 0.0 };
        *scale = largest / 127.0;
        *sum = 0;
        for (code, number) in codes.iter_mut().zip(padded) {
            // Adding and taking away 1.5 · 2^23 rounds; the product lies within ±127.
            let rounded = (number * inverse + 12_582_912.0) - 12_582_912.0;
            *code = rounded as i8;
            *sum += i32::from(*code);
        }
    }
}
