//! Homes that are put back from a backup.

use std::{fs, path::Path};

use crate::support::{Hub, connect, read};
use tertulia::Client;

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes the directory");
    for entry in fs::read_dir(from).expect("is a directory") {
        let entry = entry.expect("can be read");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

#[tokio::test]
async fn a_home_from_a_backup_gets_new_keys_and_talks_on() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    let one_to_one = connect(&alice, &bob).await;
    alice.send(one_to_one, "before the backup").await.expect("sends");
    assert_eq!(read(&bob, one_to_one).await, ["before the backup"]);
    drop(alice);
    copy_files(&hub.home("alice"), &hub.home("backup"));
    let alice = Client::builder(hub.home("alice")).open().await.expect("opens");
    alice.send(one_to_one, "after the backup").await.expect("sends");
    drop(alice);

    let before = bob.epoch(one_to_one).await.expect("in it");
    let alice = Client::builder(hub.home("backup")).open().await.expect("opens");
    alice.sync().await.expect("catches up");
    alice.send(one_to_one, "from the backup").await.expect("gets new keys, and sends");
    alice.send(one_to_one, "and once more").await.expect("sends");
    let texts = ["before the backup", "after the backup", "from the backup", "and once more"];
    assert_eq!(read(&bob, one_to_one).await, texts);
    assert_eq!(bob.epoch(one_to_one).await.expect("in it"), before + 1, "the keys were renewed once");
    bob.send(one_to_one, "answer").await.expect("sends");
    assert_eq!(read(&alice, one_to_one).await.last().expect("something"), "answer");
}
