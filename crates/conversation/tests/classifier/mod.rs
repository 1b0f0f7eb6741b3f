//! A simple classifier: it learns from samples of two kinds and then tells others apart.
//!
//! Naive Bayes over the features that differ most between the kinds in what it learns from. The features are each bit of each place, the
//! length, and how often each value of a byte is there, each as more or less than usual. What it says of samples that it has not seen is right in
//! half of the cases if the kinds do not differ in these.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub
)] // counts are small

/// What an observer sees, and what it is to guess.
pub struct Sample {
    pub bytes: Vec<u8>,
    pub is_commit: bool,
}

/// How many features it goes by.
const FEATURES: usize = 8;

/// How many of the second samples are told rightly by who has learned from the first.
pub fn right(known: &[Sample], asked: &[Sample]) -> usize {
    let places = known.iter().chain(asked).map(|sample| sample.bytes.len()).max().unwrap_or(0);
    let usual = usual(known);
    let (mut commits, mut others) = (vec![0_u32; 8 * places + 257], vec![0_u32; 8 * places + 257]);
    for sample in known {
        let counts = if sample.is_commit { &mut commits } else { &mut others };
        for (count, has) in counts.iter_mut().zip(features(&sample.bytes, places, &usual)) {
            *count += u32::from(has);
        }
    }
    let in_all = |is_commit| known.iter().filter(|sample| sample.is_commit == is_commit).count() as f64;
    let (all_commits, all_others) = (in_all(true), in_all(false));
    // How likely each feature is in each kind; nothing is impossible.
    let likely = |count: u32, all: f64| (f64::from(count) + 1.0) / (all + 2.0);
    let mut weights: Vec<_> = commits
        .iter()
        .zip(&others)
        .map(|(commits, others)| (likely(*commits, all_commits), likely(*others, all_others)))
        .enumerate()
        .collect();
    weights.sort_by(|(_, (a, b)), (_, (c, d))| (c - d).abs().total_cmp(&(a - b).abs()));
    weights.truncate(FEATURES);

    let is_right = |sample: &&Sample| {
        let features = features(&sample.bytes, places, &usual);
        let evidence = weights.iter().map(|(feature, (commit, other))| {
            if features[*feature] { (commit / other).ln() } else { ((1.0 - commit) / (1.0 - other)).ln() }
        });
        (evidence.sum::<f64>() > 0.0) == sample.is_commit
    };
    asked.iter().filter(is_right).count()
}

/// So many of these many are right by chance, or fewer, but in one of three million runs: half of them and five standard deviations.
pub fn chance(asked: usize) -> usize {
    asked / 2 + (5.0 * (asked as f64).sqrt() / 2.0).ceil() as usize
}

/// The medians of length and counts.
fn usual(known: &[Sample]) -> [usize; 257] {
    let numbers: Vec<_> = known.iter().map(|sample| numbers(&sample.bytes)).collect();
    std::array::from_fn(|at| {
        let mut of_all: Vec<_> = numbers.iter().map(|numbers| numbers[at]).collect();
        of_all.sort_unstable();
        of_all[of_all.len() / 2]
    })
}

/// How often each value is there, and the length.
fn numbers(bytes: &[u8]) -> [usize; 257] {
    let mut numbers = [0; 257];
    for byte in bytes {
        numbers[usize::from(*byte)] += 1;
    }
    numbers[256] = bytes.len();
    numbers
}

fn features(bytes: &[u8], places: usize, usual: &[usize; 257]) -> Vec<bool> {
    let mut features = Vec::with_capacity(8 * places + 257);
    for place in 0..places {
        let byte = bytes.get(place).copied().unwrap_or(0);
        features.extend((0..8).map(|bit| byte & (1 << bit) != 0));
    }
    features.extend(numbers(bytes).iter().zip(usual).map(|(number, usual)| number > usual));
    features
}
