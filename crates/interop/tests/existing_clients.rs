//! Clients of the system that exists already, as members of groups with the engine: OpenMLS, set up as theirs is.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{
    Change, Device, GROUP, Style,
    crypto::{Provider, SigningKey},
    engine::EngineDevice,
    hub::Hub,
    openmls_member::OpenMlsDevice,
};
use openmls::prelude::{
    Ciphersuite, CredentialType, ExternalProposal, GroupId, LeafNodeIndex, SenderExtensionIndex,
};
use tertulia_mls::{EngineError, JoinOptions, KeyPackage};

const STYLE: Style = Style { suite: 1, encrypted: false };

/// A hub that may propose, a device with the engine, and an existing client.
struct World {
    hub: Hub,
    sender: SigningKey,
    ours: EngineDevice,
    theirs: OpenMlsDevice,
}

impl World {
    async fn new() -> Self {
        let hub = Hub::default();
        let sender = SigningKey::generate(Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519);
        let ours = EngineDevice::new(&hub, 0, STYLE).await;
        let theirs = OpenMlsDevice::new(&hub, 1, STYLE);
        Self { hub, sender, ours, theirs }
    }

    /// A group that our device has created.
    async fn of_ours() -> Self {
        let mut world = Self::new().await;
        world.ours.create(&world.sender.public).await;
        assert!(world.ours.commit(&[], &[]).await);
        add(&mut world.ours, &mut world.theirs, false).await;
        world
    }

    /// A group that the existing client has created.
    async fn of_theirs() -> Self {
        let mut world = Self::new().await;
        world.theirs.create(&world.sender.public).await;
        assert!(world.theirs.commit(&[], &[]).await);
        add(&mut world.theirs, &mut world.ours, false).await;
        world
    }

    /// Both are in the same state and read each other.
    async fn talk(&mut self) {
        talk(&self.hub, &mut [&mut self.ours, &mut self.theirs]).await;
    }
}

async fn add(who: &mut dyn Device, new: &mut dyn Device, bare: bool) {
    let package = new.key_package(bare).await;
    assert!(who.commit(&[package], &[]).await);
    new.join_by_welcome().await;
}

async fn talk(hub: &Hub, members: &mut [&mut dyn Device]) {
    for member in members.iter_mut() {
        member.sync().await;
    }
    let expected = members[0].state().unwrap();
    assert_eq!(expected.roster.len(), members.len());
    for sender in 0..members.len() {
        let text = format!("{} talks", members[sender].name());
        let number = members[sender].number();
        let ciphertext = members[sender].encrypt(&text).await;
        hub.post(Some(number), ciphertext);
        for (place, member) in members.iter_mut().enumerate() {
            assert_eq!(member.state().unwrap(), expected);
            let heard = member.sync().await;
            assert_eq!(heard, if place == sender { Vec::new() } else { vec![text.clone()] });
        }
    }
}

#[tokio::test]
async fn an_existing_client_can_be_added_and_talks() {
    let mut world = World::of_ours().await;
    world.talk().await;
    let mut another = OpenMlsDevice::new(&world.hub, 3, STYLE);
    add(&mut world.ours, &mut another, true).await;
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;
}

#[tokio::test]
async fn an_existing_client_can_add_us() {
    let mut world = World::of_theirs().await;
    world.talk().await;
    let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
    add(&mut world.theirs, &mut another, true).await;
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;
}

#[tokio::test]
async fn both_sides_update_remove_and_add_again() {
    for mut world in [World::of_ours().await, World::of_theirs().await] {
        world.theirs.sync().await;
        assert!(world.theirs.commit(&[], &[]).await);
        world.talk().await;
        assert!(world.ours.commit(&[], &[]).await);
        world.talk().await;

        assert!(world.ours.commit(&[], &[world.theirs.name().to_owned()]).await);
        world.theirs.sync().await;
        assert!(world.theirs.state().is_none());
        add(&mut world.ours, &mut world.theirs, false).await;
        world.talk().await;

        assert!(world.theirs.commit(&[], &[world.ours.name().to_owned()]).await);
        world.ours.sync().await;
        assert!(world.ours.state().is_none());
        add(&mut world.theirs, &mut world.ours, false).await;
        world.talk().await;
    }
}

#[tokio::test]
async fn both_sides_join_from_outside_and_come_back() {
    for mut world in [World::of_ours().await, World::of_theirs().await] {
        let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
        another.join_externally(false).await;
        let mut client = OpenMlsDevice::new(&world.hub, 3, STYLE);
        client.join_externally(true).await;
        talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another, &mut client]).await;
        world.ours.join_externally(true).await;
        world.theirs.join_externally(false).await;
        talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another, &mut client]).await;
    }
}

#[tokio::test]
async fn what_an_existing_client_proposes_is_committed_by_either_side() {
    let mut world = World::of_ours().await;
    let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
    let package = another.key_package(false).await;
    world.theirs.propose(Change::Add(package)).await;
    world.ours.sync().await;
    assert!(world.ours.commit_proposals().await);
    another.join_by_welcome().await;
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;

    world.theirs.propose(Change::Update).await;
    another.sync().await;
    assert!(another.commit_proposals().await);
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;

    let gone = another.name().to_owned();
    world.theirs.propose(Change::Remove(gone)).await;
    another.sync().await;
    assert!(world.theirs.commit_proposals().await);
    another.sync().await;
    assert!(another.state().is_none());
    world.talk().await;
}

#[tokio::test]
async fn what_we_propose_is_committed_by_either_side() {
    for mut world in [World::of_ours().await, World::of_theirs().await] {
        let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
        let package = another.key_package(true).await;
        world.ours.sync().await;
        world.ours.propose(Change::Add(package)).await;
        world.theirs.sync().await;
        assert!(world.theirs.commit_proposals().await);
        another.join_by_welcome().await;
        talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;

        world.ours.propose(Change::Update).await;
        another.propose(Change::Update).await;
        world.theirs.sync().await;
        assert!(world.theirs.commit_proposals().await);
        talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;

        let gone = world.theirs.name().to_owned();
        world.ours.propose(Change::Remove(gone)).await;
        another.sync().await;
        assert!(another.commit_proposals().await);
        world.theirs.sync().await;
        assert!(world.theirs.state().is_none());
        talk(&world.hub, &mut [&mut world.ours, &mut another]).await;
    }
}

#[tokio::test]
async fn we_leave_by_a_proposal_that_an_existing_client_commits() {
    let mut world = World::of_theirs().await;
    let mut another = OpenMlsDevice::new(&world.hub, 3, STYLE);
    add(&mut world.ours, &mut another, false).await;
    let own = world.ours.name().to_owned();
    world.ours.propose(Change::Remove(own)).await;
    world.theirs.sync().await;
    assert!(world.theirs.commit_proposals().await);
    world.ours.sync().await;
    assert!(world.ours.state().is_none());
    talk(&world.hub, &mut [&mut world.theirs, &mut another]).await;
}

#[tokio::test]
async fn what_an_existing_client_leaves_out_we_propose_again() {
    let mut world = World::of_ours().await;
    let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
    let package = another.key_package(false).await;
    world.theirs.sync().await;
    world.ours.propose(Change::Add(package)).await;
    assert!(world.theirs.commit(&[], &[]).await);
    world.ours.sync().await;
    world.theirs.sync().await;
    assert!(world.theirs.commit_proposals().await);
    another.join_by_welcome().await;
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;
}

#[tokio::test]
async fn we_join_by_a_welcome_of_an_existing_client_with_the_tree_beside_it() {
    let mut world = World::of_theirs().await;
    let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
    let package = another.key_package(true).await;
    world.theirs.sync().await;
    let tree = world.theirs.add_with_tree_beside(&package);
    assert!(another.cannot_join_without_a_tree().await);
    another.join_by_welcome_with(&JoinOptions::with_ratchet_tree(tree)).await;
    talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;
}

#[tokio::test]
async fn what_the_hub_proposes_to_remove_is_removed_by_either_side() {
    for (mut world, they_commit) in [
        (World::of_ours().await, true),
        (World::of_ours().await, false),
        (World::of_theirs().await, true),
        (World::of_theirs().await, false),
    ] {
        let mut another = EngineDevice::new(&world.hub, 2, STYLE).await;
        add(&mut world.theirs, &mut another, false).await;
        talk(&world.hub, &mut [&mut world.ours, &mut world.theirs, &mut another]).await;
        let proposal = ExternalProposal::new_remove::<Provider>(
            LeafNodeIndex::new(world.theirs.leaf_of(another.name()).unwrap()),
            GroupId::from_slice(GROUP.as_bytes()),
            world.hub.epoch().into(),
            &world.sender,
            SenderExtensionIndex::new(0),
        );
        world.hub.post(None, proposal.unwrap().to_bytes().unwrap());
        world.ours.sync().await;
        world.theirs.sync().await;
        let committer: &mut dyn Device = if they_commit { &mut world.theirs } else { &mut world.ours };
        assert!(committer.commit_proposals().await);
        another.sync().await;
        assert!(another.state().is_none());
        world.talk().await;
    }
}

#[tokio::test]
async fn our_key_packages_are_as_the_existing_clients_want_them() {
    let mut world = World::new().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let ordinary = world.ours.key_package(false).await;
    let bare = world.ours.key_package(true).await;
    let last_resort = world.ours.last_resort_key_package().await;
    for bytes in [ordinary, bare, last_resort] {
        let package = world.theirs.read_key_package(&bytes);
        assert!(package.life_time().has_acceptable_range());
        package.life_time().validate().unwrap();
        assert!(package.life_time().not_before() + 3600 <= now + 60, "back-dated by an hour");
        assert_eq!(package.extensions().iter().count(), 0);
        assert!(!package.last_resort());
        let leaf = package.leaf_node();
        assert_eq!(leaf.extensions().iter().count(), 0);
        let capabilities = leaf.capabilities();
        for needed in [CredentialType::Basic, CredentialType::X509] {
            assert!(capabilities.credentials().contains(&needed));
        }
        let suite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
        assert!(capabilities.ciphersuites().contains(&suite.into()));
        assert_eq!(leaf.credential().serialized_content(), world.ours.name().as_bytes());
    }
}

#[tokio::test]
async fn a_client_that_keeps_history_only_listens_and_one_of_another_form_is_not_added() {
    let mut world = World::of_ours().await;
    let name = "history-client:f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";
    let mut history = OpenMlsDevice::named(&world.hub, 5, STYLE, name.to_owned());
    add(&mut world.ours, &mut history, false).await;
    world.theirs.sync().await;
    assert_eq!(world.ours.state(), history.state());
    for sender in [&mut world.ours as &mut dyn Device, &mut world.theirs] {
        let number = sender.number();
        let ciphertext = sender.encrypt("for the record").await;
        world.hub.post(Some(number), ciphertext);
    }
    assert_eq!(history.sync().await, ["for the record"; 2]);
    let refused = world.ours.try_to_read(&history.encrypt("it talks").await).await;
    assert!(matches!(refused, Err(EngineError::SenderOnlyListens(_))), "{refused:?}");

    let mut stranger = OpenMlsDevice::named(&world.hub, 7, STYLE, "somebody".to_owned());
    let package = KeyPackage::from_bytes(&stranger.key_package(false).await).unwrap();
    let refused = world.ours.try_to_add(package).await;
    assert!(matches!(refused, Err(EngineError::InvalidClientId(_))), "{refused:?}");
    assert_eq!(world.ours.state(), history.state());
}

#[tokio::test]
async fn a_key_package_that_lives_too_long_is_not_added() {
    let mut world = World::of_ours().await;
    let days = 24 * 3600;
    let mut another = OpenMlsDevice::new(&world.hub, 3, STYLE);
    let package = another.key_package_bytes_for(86 * days);
    let refused = world.ours.try_to_add(KeyPackage::from_bytes(&package).unwrap()).await;
    assert!(matches!(refused, Err(EngineError::KeyPackageLivesTooLong { .. })), "{refused:?}");
    world.talk().await;
}
