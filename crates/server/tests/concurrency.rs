//! Many at once, and each counts once. On several nodes: `nodes.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use support::{hub::Hub, race};
use tertulia_server::ServerConfig;

async fn hub(change: impl FnOnce(&mut ServerConfig)) -> Hub {
    Hub::start_with(tempfile::tempdir().unwrap(), change).await
}

/// 10,000 claims from 32 tasks: no key package is handed out twice, and each is handed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_10_000_key_packages_claimed_from_32_tasks_none_is_handed_out_twice() {
    race::claims(&[&hub(race::many_claims).await]).await;
}

/// 50 different commits of five members to one epoch at the same moment, for as many epochs as `ROUNDS` says (1,000 unless
/// given): each time exactly one wins, and the others learn the epoch that it made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_concurrent_commits_to_one_epoch_exactly_one_wins() {
    race::commits(&[&hub(race::without_limit).await], race::rounds(1000)).await;
}
