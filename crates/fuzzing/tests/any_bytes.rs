//! Any bytes into any entry point are accepted or are an error, never a panic, and the conversation goes on.
//!
//! A failure prints the input, as hexadecimal, and the seed: `SEED=… cargo nextest run -p tertulia-fuzzing` replays it.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_fuzzing::{Samples, TARGETS, Target, samples, script};

/// Longest random input.
const MAX_BYTES: usize = 200;

#[test]
fn the_corpus_of_each_target_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("each target has a corpus") {
            let path = entry.expect("the directory can be read").path();
            let input = fs::read(&path).expect("an input can be read");
            attempt(name, *target, &input, &path.display().to_string());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no inputs");
    }
}

#[test]
fn random_damage_to_messages_is_an_error_and_never_a_panic() {
    random("decrypt", 1500);
}

#[test]
fn random_damage_to_what_one_joins_by_is_an_error_and_never_a_panic() {
    random("welcome", 800);
    random("group_info", 200);
    random("key_package", 300);
    random("portable", 400);
}

#[test]
fn random_damage_to_certificates_and_revocation_lists_is_an_error_and_never_a_panic() {
    random("certificate", 800);
    random("crl", 800);
}

#[test]
fn random_damage_to_keys_of_external_senders_is_an_error_and_never_a_panic() {
    random("external_sender", 2000);
}

#[test]
fn random_damage_to_a_history_and_its_secret_is_an_error_and_never_a_panic() {
    random("history", 200);
}

#[test]
fn random_damage_to_stored_records_is_an_error_and_never_a_panic() {
    random("stored", 200);
}

#[test]
fn random_content_is_an_error_and_never_a_panic() {
    random("content", 20_000);
}

#[test]
fn random_envelopes_frames_and_bundles_are_refused_and_genuine_ones_are_read() {
    random("envelope", 3000);
    random("frame", 20_000);
    random("bundle", 20_000);
}

#[test]
fn random_damage_to_invitations_is_refused_and_genuine_ones_are_taken_once() {
    random("invitation", 3000);
}

#[test]
fn random_lives_end_in_one_state() {
    random("life", 60);
}

fn random(name: &str, count: usize) {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    let mut random = StdRng::seed_from_u64(seed);
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).expect("the target exists");
    let samples: Vec<_> = samples().into_iter().filter(|samples| samples.target == name).collect();
    for number in 0..count {
        let input = input(&mut random, &samples);
        attempt(name, *target, &input, &format!("number {number} of SEED={seed}"));
    }
}

/// Random bytes; for what takes messages mostly scripts with few damages, which get far, or a real message of this
/// process with some bits flipped.
fn input(random: &mut StdRng, samples: &[Samples]) -> Vec<u8> {
    let form = random.random_range(0..4);
    match samples.first() {
        Some(Samples { choices, real, .. }) if form == 0 => {
            let mut message = real[random.random_range(0..real.len())].clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..message.len());
                message[at] ^= 1 << random.random_range(0..8);
            }
            [&[random.random_range(choices.clone()), 0][..], &message].concat()
        }
        Some(Samples { real, .. }) if form < 3 => {
            let number = random.random_range(0..real.len());
            let mut script = [&[random.random()][..], &script::unchanged(number)].concat();
            for _ in 0..random.random_range(1..4) {
                script.extend_from_slice(&[random.random(), 0, random.random(), random.random()]);
            }
            script
        }
        _ => {
            let length = random.random_range(0..MAX_BYTES);
            (0..length).map(|_| random.random()).collect()
        }
    }
}

fn attempt(name: &str, target: Target, input: &[u8], origin: &str) {
    let result = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(result.is_ok(), "{name} fails with {origin}: {}", hex(input));
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
