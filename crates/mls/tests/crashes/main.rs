//! Processes that are killed, and disks that are full, at every point where something is persisted or sent.
//!
//! Four devices share a conversation. Three live here; the fourth, bob, is another process on a store on the disk. Each
//! scenario lets bob do one thing, again and again, and kills him (SIGKILL, by the operating system) at the first point that
//! he comes to, at the second, and so on until he comes through. After every death bob is started again, and after every
//! fourth killed once more while he recovers. When he has recovered at last, all members have to agree, the next message of bob and the next
//! one to bob are read by all, and nothing was lost or read twice.
//!
//! The points are listed in `fail_points.rs` of the engine and of the store, and in `network.rs` here.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // what is printed says where a failure happened

mod application;
#[path = "../common/mod.rs"]
mod common;
mod network;
mod process;
mod state;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use application::Action;
use process::{End, Fault, all_points};
use world::{Scenario, World};

/// Kills bob at every point that he comes to in a scenario.
async fn survives_every_death(scenario: Scenario) {
    let mut world = World::new().await;
    let mut points = BTreeSet::new();
    for death in 0.. {
        let action = world.prepare(scenario).await;
        println!("{scenario:?}: death {death}, {action:?}");
        match world.run(action, Fault::Kill(death)) {
            End::Killed(point) => {
                println!("killed at {point}");
                points.insert(point);
                // Now and then a second time, at another point each time, while he recovers.
                if death % 4 == 0 {
                    let second = world.run(Action::Recover, Fault::Kill(death / 4 * 5 % 31));
                    println!("and then: {second:?}");
                }
                world.check(scenario).await;
            }
            End::Completed(_) => {
                world.check(scenario).await;
                println!("{death} deaths at {} points: {points:?}", points.len());
                assert!(death > 0);
                return;
            }
            End::Failed => panic!("nothing was to fail"),
        }
    }
}

/// Lets the store fail at every point where it can, once at a time.
async fn survives_every_failure(scenario: Scenario) {
    let mut world = World::new().await;
    // The first time is not like the others: bob is new.
    let mut counted = BTreeMap::new();
    for _ in 0..2 {
        let action = world.prepare(scenario).await;
        let End::Completed(points) = world.run(action, Fault::Count) else { panic!("nothing was to fail") };
        world.check(scenario).await;
        counted = points;
    }
    for point in tertulia_store::fail_points::FALLIBLE {
        for n in 0..counted.get(*point).copied().unwrap_or_default() {
            let action = world.prepare(scenario).await;
            println!("{scenario:?}: {point} fails, {n}, {action:?}");
            assert_eq!(world.run(action, Fault::Fail((*point).to_owned(), n)), End::Failed);
            world.check(scenario).await;
        }
    }
}

macro_rules! scenarios {
    ($($scenario:ident: $dies:ident, $fails:ident;)*) => {
        const SCENARIOS: &[Scenario] = &[$(Scenario::$scenario),*];
        $(
            #[tokio::test]
            async fn $dies() {
                survives_every_death(Scenario::$scenario).await;
            }

            #[tokio::test]
            async fn $fails() {
                survives_every_failure(Scenario::$scenario).await;
            }
        )*
    };
}

scenarios! {
    CommitAdd: a_device_that_dies_while_it_adds_a_member, a_full_disk_while_a_member_is_added;
    CommitRemove: a_device_that_dies_while_it_removes_a_member, a_full_disk_while_a_member_is_removed;
    CommitUpdate: a_device_that_dies_while_it_updates_its_keys, a_full_disk_while_keys_are_updated;
    CommitWithMessage: a_device_that_dies_while_it_commits_with_a_message, a_full_disk_during_a_commit_with_a_message;
    CommitProposals: a_device_that_dies_while_it_commits_proposals, a_full_disk_while_proposals_are_committed;
    AnswerLost: a_device_that_dies_after_the_answer_was_lost, a_full_disk_after_the_answer_was_lost;
    CommitLost: a_device_that_dies_after_the_commit_was_lost, a_full_disk_after_the_commit_was_lost;
    CommitRefused: a_device_that_dies_while_its_commit_is_refused, a_full_disk_while_a_commit_is_refused;
    CommitTooLate: a_device_that_dies_while_its_commit_comes_too_late, a_full_disk_while_a_commit_comes_too_late;
    ExternalJoin: a_device_that_dies_while_it_joins_from_outside, a_full_disk_during_a_join_from_outside;
    ExternalRejoin: a_device_that_dies_while_it_comes_back_from_outside, a_full_disk_during_a_rejoin_from_outside;
    Welcome: a_device_that_dies_while_it_opens_its_welcome, a_full_disk_while_a_welcome_is_opened;
    Create: a_device_that_dies_while_it_creates_a_conversation, a_full_disk_while_a_conversation_is_created;
    Send: a_device_that_dies_while_it_sends_a_message, a_full_disk_while_a_message_is_sent;
    ReceiveMessages: a_device_that_dies_while_it_receives_messages, a_full_disk_while_messages_are_received;
    ReceiveCommit: a_device_that_dies_while_it_receives_a_commit, a_full_disk_while_a_commit_is_received;
    ReceiveRemoval: a_device_that_dies_while_it_learns_of_its_removal, a_full_disk_while_a_removal_is_received;
}

#[tokio::test]
async fn every_point_is_come_to_in_a_scenario() {
    let mut passed = BTreeMap::<String, usize>::new();
    for scenario in SCENARIOS {
        let mut world = World::new().await;
        let action = world.prepare(*scenario).await;
        let End::Completed(points) = world.run(action, Fault::Count) else { panic!("nothing was to fail") };
        println!("{scenario:?}: {} at {} points", points.values().sum::<usize>(), points.len());
        for (point, times) in points {
            *passed.entry(point).or_default() += times;
        }
    }
    for (point, times) in &passed {
        println!("{times:>6} {point}");
    }
    let missing: Vec<_> = all_points().filter(|point| !passed.contains_key(*point)).collect();
    assert!(missing.is_empty(), "no scenario comes to {missing:?}");
}

/// A failure of the engine that this API comes from: a process that dies between the hub's acceptance and the local write
/// comes back one epoch behind, takes its own commit's echo for somebody else's, and can read nothing more.
#[tokio::test]
async fn a_crash_between_the_hubs_acceptance_and_the_local_write_leaves_nobody_behind() {
    for scenario in [Scenario::CommitUpdate, Scenario::CommitAdd, Scenario::ExternalJoin] {
        let mut world = World::new().await;
        let action = world.prepare(scenario).await;
        let before = world.hub_epoch();
        let point = tertulia_mls::fail_points::ANSWERED.to_owned();
        assert_eq!(world.run(action, Fault::KillAt(point.clone())), End::Killed(point));
        assert_eq!(world.hub_epoch(), before + 1, "the hub has accepted");
        assert_ne!(world.bob_epoch().await, Some(before + 1), "and the device does not know");
        world.check(scenario).await;
        assert_eq!(world.bob_epoch().await, Some(world.hub_epoch()));
    }
}
