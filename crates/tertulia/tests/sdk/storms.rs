//! Homes in a storm, from a seed: whole clients on their own stores, and a network that loses 30 % of what is left for each of them, delays it, lets it overtake
//! and repeats it.
//!
//! Meanwhile homes are cut off, answers are lost, clients are closed and opened again, and calls are given up in the midst of a write. Then the network is quiet, and
//!
//! - whatever it delivered to a home is shown there once, what others said in the order in which it came, and what one said oneself in the order in which it was said;
//! - what was discarded is as much as came twice, and nothing was called damaged or unreadable;
//! - what is said from then on reaches everybody;
//! - no hint was used twice.
//!
//! Three quarters of the seeds have two or three people in private conversations and nothing but that network. The others have a group besides, and a relay that orders its commits: in one half
//! of these it is away for the whole storm, in the other it comes and goes, and the group changes when it is there. When the relay is back nothing that anybody said is missing anywhere.
//!
//! `cargo nextest run --workspace --test sdk -E 'test(storms)'` plays 1,000 seeds, with `SEEDS=20000` in the environment more, and with
//! `SEED=17` one of them. A failure prints its seed. What the seed decides is what the network and the people do; keys and ids are random.
#![allow(clippy::print_stdout)] // what is printed says which seed failed

mod world;

use world::World;

/// How many seeds there are if nobody says otherwise.
const SEEDS: u64 = 1000;

/// Plays every `PARTS`th seed, so that several processes share the work.
fn play(part: u64) {
    let number = |name| {
        std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number of seeds or a seed"))
    };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in seeds.filter(|seed| seed % PARTS == part) {
        println!("SEED={seed}");
        runtime.block_on(one(seed));
    }
}

async fn one(seed: u64) {
    match seed / PARTS % 8 {
        0 | 2 | 4 | 5 | 6 => {
            let mut world = World::of_two(seed).await;
            world.storm().await;
            world.calm().await;
            world.assert_delivered(&[0, 1]).await;
            world.assert_counted();
            world.say_after_all().await;
            world.assert_delivered(&[0, 1]).await;
            world.assert_all_read().await;
        }
        1 => {
            let mut world = World::of_three(seed).await;
            world.storm().await;
            world.calm().await;
            world.assert_delivered(&[0, 1, 2]).await;
            world.assert_counted();
            world.say_after_all().await;
            world.assert_delivered(&[0, 1, 2]).await;
            world.assert_all_read().await;
        }
        3 => {
            let mut world = Box::pin(World::of_a_group(seed)).await;
            world.relay_is_away(true);
            world.storm().await;
            world.calm().await;
            world.assert_delivered(&[0, 1, 2]).await;
            world.relay_is_back().await;
            world.say_after_all().await;
            world.assert_all_read().await;
        }
        _ => {
            let mut world = Box::pin(World::of_a_group(seed)).await;
            world.change_meanwhile();
            world.storm().await;
            world.calm().await;
            world.relay_is_back().await;
            world.say_after_all().await;
            world.assert_all_read().await;
            world.assert_one_epoch().await;
        }
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
    what_a_storm_delivers_is_shown_once_0 = 0,
    what_a_storm_delivers_is_shown_once_1 = 1,
    what_a_storm_delivers_is_shown_once_2 = 2,
    what_a_storm_delivers_is_shown_once_3 = 3,
    what_a_storm_delivers_is_shown_once_4 = 4,
    what_a_storm_delivers_is_shown_once_5 = 5,
    what_a_storm_delivers_is_shown_once_6 = 6,
    what_a_storm_delivers_is_shown_once_7 = 7
}
