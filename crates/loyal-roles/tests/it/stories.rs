//! The stories of the court, which check every amount themselves; the example prints what they found.

use crate::story;

fn tells(story: anyhow::Result<String>, words: &[&str]) {
    let said = story.unwrap();
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}

#[test]
fn a_version_is_voted_in_and_its_trainer_paid_from_the_reserve() {
    tells(
        story::upgrade(),
        &["with 450,000 shares", "against it with 150,000", "50,000 shares of 1,000,000", "350,000"],
    );
}

#[test]
fn an_omitted_receipt_convicts_by_its_own_signature() {
    tells(story::omission(), &["loses 36: 18 to the user, 10.8 to the holders", "7.2 burnt", "bond of 10 "]);
}

#[test]
fn an_honest_host_opens_the_leaf_and_keeps_half_of_the_bond() {
    tells(story::clearing(), &["leaf 2 of 5", "loses 10: 5 to the host", "5 burnt"]);
}

#[test]
fn fingerprints_convict_a_host_that_hides_use() {
    tells(story::hiding(), &["bits, 3 provers", "60 to each prover, 108 to the holders, 72 burnt"]);
}

#[test]
fn a_liar_pays_the_host_and_the_jury() {
    tells(story::slander(), &["bond of 100", "to the host (50)", "voted (10 each)"]);
}
