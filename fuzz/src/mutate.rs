//! Inputs made from a corpus: input number *n* of a seed is always the same bytes.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The longest input that is made.
const INPUT_BYTES_MAX: usize = 256 * 1024;

/// Numbers at which length fields go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    7,
    8,
    127,
    128,
    255,
    256,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX - 7,
    u64::MAX,
];

/// What inputs are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Material<'a> {
    /// Valid files; not empty.
    pub(crate) corpus: &'a [Vec<u8>],
    /// Words of the format.
    pub(crate) dictionary: &'a [&'a str],
    /// Makes an input plausible again; done to half of them.
    pub(crate) mend: Option<fn(&mut [u8])>,
}

/// Input number `number` of `seed`.
pub(crate) fn input(material: Material<'_>, seed: u64, number: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let mut bytes = material.corpus.choose(&mut rng).cloned().unwrap_or_default();
    let count = if rng.random() { 1 } else { rng.random_range(2..8_u32) };
    for _ in 0..count {
        mutate(&mut bytes, material, &mut rng);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    if let Some(mend) = material.mend.filter(|_| rng.random()) {
        mend(&mut bytes);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, material: Material<'_>, rng: &mut ChaCha8Rng) {
    match rng.random_range(0..10_u32) {
        0 => flip_bit(bytes, rng),
        1 => set_byte(bytes, rng),
        2 => bytes.truncate(position(bytes, rng)),
        3 => remove(bytes, rng),
        4 => repeat(bytes, rng),
        5 => splice(bytes, material.corpus, rng),
        6 => tamper_length(bytes, rng),
        7 => tamper_digits(bytes, rng),
        8 => insert_word(bytes, material.dictionary, rng),
        _ => swap_words(bytes, material.dictionary, rng),
    }
}

/// A place in the bytes; half of the time among the first 64, where headers are.
fn position(bytes: &[u8], rng: &mut ChaCha8Rng) -> usize {
    let end = if rng.random() { bytes.len().min(64) } else { bytes.len() };
    rng.random_range(0..=end)
}

fn flip_bit(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let at = position(bytes, rng);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.random_range(0..8_u32);
    }
}

fn set_byte(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let at = position(bytes, rng);
    let value = *b"\0\x01\x7f\x80\xff\"{}[]\\,:-.0e \n".choose(rng).unwrap_or(&0);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

/// A range of the bytes, mostly short.
fn range(bytes: &[u8], rng: &mut ChaCha8Rng) -> std::ops::Range<usize> {
    let start = position(bytes, rng);
    let length_max = if rng.random_ratio(1, 4) { bytes.len() } else { 16 };
    let length = rng.random_range(0..=length_max);
    start..(start + length).min(bytes.len())
}

fn remove(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let range = range(bytes, rng);
    bytes.drain(range);
}

fn repeat(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let range = range(bytes, rng);
    let at = range.end;
    let times = if rng.random_ratio(1, 8) { 1 << rng.random_range(0..12_u32) } else { 1 };
    let copies = bytes[range].repeat(times);
    insert(bytes, at, &copies[..copies.len().min(INPUT_BYTES_MAX)]);
}

fn splice(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    let Some(other) = corpus.choose(rng) else { return };
    bytes.truncate(position(bytes, rng));
    bytes.extend_from_slice(&other[position(other, rng)..]);
}

/// Writes an edge, or what stands there give or take a little, as a little- or big-endian field of 2, 4 or 8 bytes.
fn tamper_length(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let width = *[2, 4, 8].choose(rng).unwrap_or(&8);
    let at = if rng.random_ratio(1, 3) { 0 } else { position(bytes, rng) };
    let Some(field) = bytes.get_mut(at..at + width) else { return };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(field);
    let near = u64::from_le_bytes(wide).wrapping_add(rng.random_range(0..32_u64)).wrapping_sub(16);
    let value = if rng.random() { near } else { *EDGES.choose(rng).unwrap_or(&0) };
    field.copy_from_slice(&value.to_le_bytes()[..width]);
    if rng.random_ratio(1, 4) {
        field.reverse();
    }
}

/// Puts another number where a text has one.
fn tamper_digits(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
        .take(4096)
        .collect();
    let Some(&start) = starts.choose(rng) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = EDGES.choose(rng).unwrap_or(&0);
    let text = match rng.random_range(0..6_u32) {
        0 => format!("-{value}"),
        1 => format!("{value}.5"),
        2 => "1e308".to_owned(),
        3 => "99999999999999999999999999".to_owned(),
        _ => value.to_string(),
    };
    bytes.splice(start..start + length, text.into_bytes());
}

fn insert_word(bytes: &mut Vec<u8>, dictionary: &[&str], rng: &mut ChaCha8Rng) {
    let Some(word) = dictionary.choose(rng) else { return };
    let at = position(bytes, rng);
    insert(bytes, at, word.as_bytes());
}

/// Puts one word of the dictionary where another stood.
fn swap_words(bytes: &mut Vec<u8>, dictionary: &[&str], rng: &mut ChaCha8Rng) {
    let (Some(old), Some(new)) = (dictionary.choose(rng), dictionary.choose(rng)) else { return };
    let found: Vec<usize> = bytes
        .windows(old.len().max(1))
        .enumerate()
        .filter(|(_, seen)| *seen == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    if let Some(&at) = found.choose(rng) {
        bytes.splice(at..at + old.len(), new.bytes());
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.splice(at..at, inserted.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::{Material, input};

    #[test]
    fn an_input_is_its_seed_and_number() {
        let corpus = [b"{\"size\": 12, \"name\": \"x\"}".to_vec(), vec![0; 40]];
        let material =
            Material { corpus: &corpus, dictionary: &["name", "size", "\"shape\": []"], mend: None };
        let inputs: Vec<_> = (0..500).map(|number| input(material, 7, number)).collect();
        for (number, bytes) in (0..).zip(&inputs) {
            assert_eq!(*bytes, input(material, 7, number), "input {number} is not the same twice");
        }
        let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 400, "{} of 500 inputs differ", distinct.len());
        assert_ne!(inputs, (0..500).map(|number| input(material, 8, number)).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_file_is_material_too() {
        let material = Material { corpus: &[Vec::new()], dictionary: &[], mend: None };
        for number in 0..500 {
            input(material, 1, number);
        }
    }
}
