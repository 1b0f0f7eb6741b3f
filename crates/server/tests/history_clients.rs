//! History clients, members that no device is behind (decision 7), as the hub sees them.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{
    hub::{Hub, Person, connect, one_to_one},
    mls::{self, MlsDevice, commit, encrypt, leaf_of},
};
use tertulia_api::{
    Base64, Code,
    account::KeyPackageUpload,
    conversation::{CommitAccepted, Subconversation},
};
use tertulia_domain::{DeviceId, UserId};

/// The keys of a history client, whoever has them.
fn history_client() -> MlsDevice {
    let id = UserId::random();
    MlsDevice::with_identity(id, DeviceId::random(), format!("history-client:{id}"))
}

#[tokio::test]
async fn a_history_client_is_added_replaced_and_removed_by_commits_and_is_no_member() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    connect(&alice, &bob).await;
    let (table, mut at_alice) = alice.new_group().await;
    alice.add(table, &mut at_alice, &[bob.user]).await;
    let (first, second) = (history_client(), history_client());
    let bundle = commit(&mut at_alice, &[first.key_package()], &[]);
    alice.committed(table, &mut at_alice, &bundle).await;
    assert_eq!(alice.conversation(table).await.members.len(), 2, "alice and bob");
    // It is for nobody to fetch: whoever has its keys has the Welcome too.
    let events = bob.events().await;
    assert!(!serde_json::to_string(&events.last()).unwrap().contains("welcome"));
    let mut reader = first.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    let said = encrypt(&mut at_alice, "for those who come later");
    alice.sent(table, said.clone()).await;
    assert_eq!(mls::decrypt(&mut reader, &said), "for those who come later");

    let two = commit(&mut at_alice, &[second.key_package()], &[]);
    alice.commit(table, &two).await.refused(Code::InvalidCommit);
    at_alice.clear_pending_commit();
    let old = leaf_of(&at_alice, &first);
    let replaced = commit(&mut at_alice, &[second.key_package()], &[old]);
    alice.committed(table, &mut at_alice, &replaced).await;
    let newer = leaf_of(&at_alice, &second);
    let ended = commit(&mut at_alice, &[], &[newer]);
    alice.committed(table, &mut at_alice, &ended).await;
    assert_eq!(at_alice.roster().members().len(), 2);
}

#[tokio::test]
async fn a_history_client_can_be_there_from_the_first_commit_and_never_acts() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let both = connect(&alice, &bob).await;
    let client = history_client();
    let mut at_alice = alice.mls.create_group(both.as_bytes(), &alice.hub_key);
    let mut key_packages = alice.claim(&[bob.user]).await;
    key_packages.push(client.key_package());
    let bundle = commit(&mut at_alice, &key_packages, &[]);
    alice.committed(both, &mut at_alice, &bundle).await;
    let mut reader = client.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    // A member who has its keys does not commit as it, nor joins as it.
    bob.commit(both, &commit(&mut reader, &[], &[])).await.refused(Code::InvalidCommit);
    let another = history_client();
    let (_, join) = another.external_commit(&alice.group_info(both).await, None);
    bob.commit(both, &join).await.refused(Code::InvalidCommit);
    let tablet = Person::log_in(&hub, "bob").await;
    let (_, join) = tablet.mls.external_commit(&tablet.group_info(both).await, None);
    tablet.commit(both, &join).await.done::<CommitAccepted>();
}

#[tokio::test]
async fn a_history_client_has_one_spelling_no_key_packages_at_the_hub_and_no_place_in_a_call() {
    let hub = Hub::start().await;
    let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (both, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let id = UserId::random();
    let upper = format!("history-client:{}", id.to_string().to_uppercase());
    for name in [upper, "history-client:".to_owned(), format!("history-client:{id}x")] {
        let odd = MlsDevice::with_identity(id, DeviceId::random(), name);
        let bundle = commit(&mut at_alice, &[odd.key_package()], &[]);
        alice.commit(both, &bundle).await.refused(Code::InvalidCommit);
        at_alice.clear_pending_commit();
    }
    let upload =
        KeyPackageUpload { key_packages: vec![Base64(history_client().key_package())], last_resort: None };
    alice.post("/v1/key-packages", &upload).await.refused(Code::InvalidKeyPackage);

    let path = format!("/v1/conversations/{both}/subconversation?name=call");
    let call: Subconversation = alice.put(&path, &json!({})).await.done();
    let mut group = alice.mls.create_group(&call.group_id.0, &alice.hub_key);
    let bundle = commit(&mut group, &[history_client().key_package()], &[]);
    alice.commit(call.conversation, &bundle).await.refused(Code::InvalidOperation);
}
