//! Text to tokens and back.

use std::path::Path;

use loyal_model::Tokenizer;

const TEXTS: [&str; 6] = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox doesn't.\n\nThe end, the very end.",
    " leading spaces,  double  spaces and trailing ones   ",
    "naïve café, Übermut, Æsop — “quotes” and 3.14159 × 2 = 6.28318",
    "日本語のテキスト, русский текст, नमस्ते",
    "emoji: 🦊🐕‍🦺👩‍👩‍👧‍👦 and a flag 🇫🇷",
    "",
];

fn trained(vocab_size: usize) -> Vec<u8> {
    let mut texts = TEXTS.iter().cycle().take(60).map(|text| (*text).to_owned());
    Tokenizer::train(&mut texts, vocab_size).unwrap()
}

fn parsed(bytes: &[u8]) -> Tokenizer {
    Tokenizer::parse(bytes, Path::new("tokenizer.json")).unwrap()
}

#[test]
fn a_trained_tokenizer_spells_every_text_and_reads_it_back() {
    let tokenizer = parsed(&trained(400));
    assert_eq!(tokenizer.len(), 400);
    for text in TEXTS {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokens[0], 0, "<|endoftext|> comes first");
        assert_eq!(tokens[1..], tokenizer.encode_plain(text).unwrap());
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| tokenizer.piece(token).unwrap()).collect();
        assert_eq!(bytes, text.as_bytes());
    }
    assert_eq!(tokenizer.token("<|endoftext|>"), Some(0));
    assert_eq!(tokenizer.encode_plain("a<|endoftext|>b").unwrap()[1], 0);
}

#[test]
fn training_finds_frequent_words_and_is_deterministic() {
    let first = trained(400);
    for _ in 0..4 {
        assert_eq!(trained(400), first);
    }
    let tokenizer = parsed(&first);
    assert_eq!(tokenizer.encode_plain(" the").unwrap().len(), 1);
    let text = TEXTS[0];
    assert!(tokenizer.encode_plain(text).unwrap().len() * 2 < text.len());
}

#[test]
fn training_stops_when_nothing_repeats() {
    let mut texts = std::iter::once("abc xyz".to_owned());
    assert_eq!(parsed(&Tokenizer::train(&mut texts, 1000).unwrap()).len(), 257);
    let empty = Tokenizer::train(&mut std::iter::empty(), 1000).unwrap_err();
    assert!(empty.to_string().contains("no text"), "{empty}");
    let small = Tokenizer::train(&mut std::iter::once(String::new()), 256).unwrap_err();
    assert!(small.to_string().contains("at least 257"), "{small}");
}

#[test]
fn a_long_text_without_line_ends_is_one_chunk_and_one_with_them_is_many() {
    let long = "all work and no play ".repeat(8000);
    let lines = "all work and no play\n".repeat(8000);
    for text in [long, lines] {
        let tokenizer = parsed(&Tokenizer::train(&mut std::iter::once(text.clone()), 300).unwrap());
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text);
    }
}
