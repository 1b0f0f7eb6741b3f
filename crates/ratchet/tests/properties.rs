//! Two devices on a bad network that restart, begin at once and lose sessions: seeded, and the seed is printed.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "the seed replays a failure")]

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use std::collections::BTreeSet;
use support::{Device, HERE};
use tertulia_ratchet::RatchetError;

/// A message on its way, with its text.
#[derive(Clone)]
struct OnItsWay {
    to: usize,
    bytes: Vec<u8>,
    text: String,
}

/// What the network does: any message may be late, lost, or come twice, and any device may restart at any time. Every message
/// that comes is read the first time, and refused as read before the second time.
fn run(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut devices = [Device::new(1, 40), Device::new(2, 40)];
    let mut network: Vec<OnItsWay> = Vec::new();
    let mut read = BTreeSet::new();
    for step in 0..60 {
        match rng.random_range(0..10) {
            0..4 => {
                let [first, second] = &mut devices;
                let to = rng.random_range(0..2_usize);
                let (from, receiver) = if to == 1 { (first, second) } else { (second, first) };
                let text = format!("{seed}/{step}");
                network.push(OnItsWay { to, bytes: from.send(receiver, &text), text });
            }
            4..8 if !network.is_empty() => {
                let chosen = rng.random_range(0..network.len());
                // Some stay in the network, and come again.
                let message = if rng.random_ratio(1, 4) {
                    network[chosen].clone()
                } else {
                    network.swap_remove(chosen)
                };
                let received = devices[message.to].receive(&devices[1 - message.to], &message.bytes);
                if read.insert(message.text.clone()) {
                    assert_eq!(received.unwrap(), message.text);
                } else {
                    assert!(matches!(received, Err(RatchetError::AlreadyRead)), "{received:?}");
                }
            }
            8 if !network.is_empty() => {
                let lost = rng.random_range(0..network.len());
                network.swap_remove(lost);
            }
            _ => devices[rng.random_range(0..2_usize)].restart(),
        }
    }
    // Whatever happened, both find one session in the end.
    let [alice, bob] = &mut devices;
    alice.tell(bob, "a");
    bob.tell(alice, "b");
    alice.tell(bob, "c");
    bob.tell(alice, "d");
    assert_eq!(alice.preferred(bob), bob.preferred(alice));
    assert!(alice.sessions(bob).len() <= 2, "more than two come of lost states only");
}

#[test]
fn a_late_message_is_read_a_repeated_one_is_not_and_both_find_one_session() {
    for seed in 0..12 {
        run(seed);
    }
}

#[test]
fn any_bytes_and_any_damage_give_an_error_and_change_nothing() {
    let seed = 7;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut alice, mut bob) = (Device::new(1, 40), Device::new(2, 40));
    for round in ["first", "later"] {
        let message = alice.send(&mut bob, round);
        for _ in 0..200 {
            let mut damaged = message.clone();
            match rng.random_range(0..3) {
                0 => damaged.truncate(rng.random_range(0..message.len())),
                1 => {
                    let at = rng.random_range(0..message.len());
                    damaged[at] ^= 1 << rng.random_range(0..8);
                }
                _ => {
                    damaged.resize(rng.random_range(0..400), 0);
                    rng.fill_bytes(&mut damaged);
                }
            }
            let refused = bob.transaction(|r| r.decrypt(HERE, &alice.address, &damaged));
            assert!(damaged == message || refused.is_err(), "{round}: {damaged:02x?}");
        }
        assert_eq!(bob.receive(&alice, &message).unwrap(), round);
        bob.tell(&mut alice, "answer");
    }
}
