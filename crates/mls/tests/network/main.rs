//! A conversation on a bad network, in virtual time, from a seed.
//!
//! Three to twelve devices, each on a store of its own, and a hub that puts everything into one order. On the way to a device
//! messages are lost, delayed, overtaken and repeated; on the way to the hub commits are lost, late and repeated, and so are
//! its answers. Devices are killed and restarted, also while they wait for an answer, and transactions are given up. In
//! between they add, remove, update, propose each of these, leave, come back and talk. What commits leave out is proposed again. In the end the network heals and all have to agree, and to
//! have read each message once.
//!
//! `cargo nextest run -p tertulia-mls -E 'binary(network)'` plays 1000 seeds, with `SEEDS=20000` in the environment more,
//! and with `SEED=17` one of them. A failure prints its seed.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // what is printed says which seed failed, and how

#[path = "../common/mod.rs"]
mod common;
mod device;
mod wire;
mod world;

/// How many seeds there are if nobody says otherwise.
const SEEDS: u64 = 1000;

/// Plays every `PARTS`th seed, so that several processes share the work.
fn play(part: u64) {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds.filter(|seed| seed % PARTS == part) {
        println!("SEED={seed}");
        world::play(seed);
    }
}

macro_rules! parts {
    ($($name:ident = $part:literal),*) => {
        /// Tests that share the seeds.
        const PARTS: u64 = [$($part),*].len() as u64;
        $(
            #[test]
            fn $name() {
                play($part);
            }
        )*
    };
}

parts! {
    all_agree_after_a_bad_network_00 = 0,
    all_agree_after_a_bad_network_01 = 1,
    all_agree_after_a_bad_network_02 = 2,
    all_agree_after_a_bad_network_03 = 3,
    all_agree_after_a_bad_network_04 = 4,
    all_agree_after_a_bad_network_05 = 5,
    all_agree_after_a_bad_network_06 = 6,
    all_agree_after_a_bad_network_07 = 7,
    all_agree_after_a_bad_network_08 = 8,
    all_agree_after_a_bad_network_09 = 9,
    all_agree_after_a_bad_network_10 = 10,
    all_agree_after_a_bad_network_11 = 11,
    all_agree_after_a_bad_network_12 = 12,
    all_agree_after_a_bad_network_13 = 13,
    all_agree_after_a_bad_network_14 = 14,
    all_agree_after_a_bad_network_15 = 15
}
