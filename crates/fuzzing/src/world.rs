//! A conversation that is under way, and one real message of each sort for it.

use std::cell::OnceCell;

use mls_rs::{MlsMessage, extension::built_in::RatchetTreeExt};
use tertulia_mls::{
    CommitOptions, KeyPackage, MlsCommitBundle, MlsConversationConfiguration, MlsCustomConfiguration,
    MlsWirePolicy, VerifiableGroupInfo,
};
use tokio::runtime::Runtime;

use crate::{
    device::{Device, conversation},
    hub::{Hub, Mood},
};

/// Who talks: Alice made the conversation, Bob and Carol are members, Dave is outside.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) people: People,
}

pub(crate) struct People {
    pub(crate) alice: Device,
    pub(crate) bob: Device,
    pub(crate) dave: Device,
    /// Of Carol, for Bob, in his epoch: to see that the conversation goes on.
    pub(crate) genuine: Vec<u8>,
    /// What Bob can be sent, none of which he has read.
    pub(crate) messages: Vec<Vec<u8>>,
    /// For Dave.
    pub(crate) welcomes: Vec<Vec<u8>>,
    pub(crate) group_infos: Vec<Vec<u8>>,
    pub(crate) key_packages: Vec<Vec<u8>>,
    /// The tree of the Welcome, and a key package of Dave's with its private keys behind it.
    pub(crate) portable: Vec<Vec<u8>>,
}

/// Calls with the world of this thread: one whose handshakes are in clear, or one that encrypts them.
pub(crate) fn with_world<R>(encrypted: bool, f: impl FnOnce(&World) -> R) -> R {
    thread_local! {
        static WORLDS: [OnceCell<World>; 2] = const { [OnceCell::new(), OnceCell::new()] };
    }
    WORLDS.with(|worlds| f(worlds[usize::from(encrypted)].get_or_init(|| World::new(encrypted))))
}

impl World {
    fn new(encrypted: bool) -> Self {
        let runtime = runtime();
        let policy = if encrypted { MlsWirePolicy::Ciphertext } else { MlsWirePolicy::Plaintext };
        let people = runtime.block_on(People::meet(policy));
        Self { runtime, people }
    }

    /// The real messages for each target that is given one.
    pub(crate) fn samples(&self) -> [(&'static str, &[Vec<u8>]); 5] {
        let People { messages, welcomes, group_infos, key_packages, portable, .. } = &self.people;
        [
            ("decrypt", messages),
            ("welcome", welcomes),
            ("group_info", group_infos),
            ("key_package", key_packages),
            ("portable", portable),
        ]
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

impl People {
    async fn meet(wire_policy: MlsWirePolicy) -> Self {
        let hub = Hub::default();
        let [alice, bob, carol, dave] = [1, 2, 3, 4].map(|number| Device::new(&hub, number));
        let (alice, bob, carol, dave) = (alice.await, bob.await, carol.await, dave.await);

        let custom = MlsCustomConfiguration { wire_policy, ..MlsCustomConfiguration::default() };
        let config = MlsConversationConfiguration { custom, ..MlsConversationConfiguration::default() };
        let mut tx = alice.session.new_transaction().await.expect("nobody else writes");
        tx.new_conversation(&conversation(), &alice.credential, config).expect("the first conversation");
        tx.finish().await.expect("the disk works");
        commit(&alice, vec![bob.key_package().await, carol.key_package().await], &[]).await;
        for device in [&bob, &carol] {
            let welcome = hub.state().welcomes[0].0.clone();
            let mut tx = device.session.new_transaction().await.expect("nobody else writes");
            tx.process_welcome(&welcome).expect("the welcome is for this device");
            tx.finish().await.expect("the disk works");
        }
        let mut messages = vec![encrypt(&alice, "late").await];
        commit(&alice, Vec::new(), &[]).await;
        let update = hub.state().log[1].clone();
        for device in [&bob, &carol] {
            let mut tx = device.session.new_transaction().await.expect("nobody else writes");
            let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
            guard.decrypt_message(&update).expect("the hub has ordered it");
            tx.finish().await.expect("the disk works");
        }
        let genuine = encrypt(&carol, "genuine").await;
        messages.push(encrypt(&alice, "hello").await);
        messages.push(encrypt(&alice, &"long ".repeat(100)).await);

        // Commits that might be next: the hub refuses each, so that all are for the same epoch.
        hub.set_mood(Mood::Strict);
        let update = commit(&alice, Vec::new(), &[]).await;
        let removal = commit(&alice, Vec::new(), &[&carol]).await;
        let expulsion = commit(&alice, Vec::new(), &[&bob]).await;
        let addition = commit(&alice, vec![dave.key_package().await], &[]).await;
        let group_info = hub.state().group_info.clone();
        let mut tx = dave.session.new_transaction().await.expect("nobody else writes");
        let info = VerifiableGroupInfo::from_bytes(&group_info).expect("it is genuine");
        let refused = tx.join_by_external_commit(info, &dave.credential).await;
        assert!(refused.is_err(), "the hub is strict");
        drop(tx);
        let join = hub.state().last.take().expect("it was sent");
        messages.extend([update.commit, removal.commit, expulsion.commit, addition.commit, join.commit]);
        // Of the next epoch, and of kinds that are not for a conversation.
        messages.extend(addition.encrypted_message);
        let welcomes: Vec<Vec<u8>> = addition.welcome.into_iter().collect();
        let key_packages = vec![dave.key_package().await.into_bytes()];
        messages.extend([welcomes[0].clone(), group_info.clone(), key_packages[0].clone()]);
        let portable = vec![tree(&addition.group_info.payload), with_secrets(&dave).await];
        let group_infos = vec![group_info, addition.group_info.payload, join.group_info.payload];
        Self { alice, bob, dave, genuine, messages, welcomes, group_infos, key_packages, portable }
    }
}

/// The ratchet tree in a group info.
fn tree(group_info: &[u8]) -> Vec<u8> {
    let message = MlsMessage::from_bytes(group_info).expect("it is genuine");
    let info = message.as_group_info().expect("it is a group info");
    let extension = info.extensions().get_as::<RatchetTreeExt>().expect("it is genuine");
    extension.expect("it has the tree").tree_data.to_bytes().expect("it was encoded before")
}

/// A key package with its private keys behind it. It is the device's no more.
async fn with_secrets(device: &Device) -> Vec<u8> {
    let package = device.key_package().await;
    let mut tx = device.session.new_transaction().await.expect("nobody else writes");
    let taken = tx.take_key_package(package.reference()).expect("the store can be read");
    tx.finish().await.expect("the disk works");
    let (package, secrets) = taken.expect("it was just made");
    [package.as_bytes(), &secrets.init_key, &secrets.encryption_key].concat()
}

/// A commit, and what it was sent as, whatever the hub said.
async fn commit(device: &Device, add: Vec<KeyPackage>, remove: &[&Device]) -> MlsCommitBundle {
    let remove: Vec<_> = remove.iter().map(|device| device.client_id().clone()).collect();
    let options = CommitOptions::with_message("with a commit");
    let mut tx = device.session.new_transaction().await.expect("nobody else writes");
    let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
    let done = if add.is_empty() && remove.is_empty() {
        guard.update_key_material_with(options).await
    } else {
        guard.change_members(add, &remove, options).await
    };
    drop(tx);
    let state = device.hub.state();
    assert_eq!(done.is_ok(), state.mood == Mood::Fair, "{done:?}");
    state.last.clone().expect("it was sent")
}

async fn encrypt(device: &Device, text: &str) -> Vec<u8> {
    let mut tx = device.session.new_transaction().await.expect("nobody else writes");
    let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
    let bytes = guard.encrypt_message(text).expect("nothing is pending");
    tx.finish().await.expect("the disk works");
    bytes
}
