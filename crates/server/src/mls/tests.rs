//! The hub's view of groups that real MLS clients make.

#![allow(clippy::unwrap_used)]

use super::{
    CIPHER_SUITE, CommitBundle, Observer, Rejection, Removed, ValidCommit, message::ApplicationMessage,
};
use mls_rs::{CipherSuiteProvider as _, CryptoProvider as _, Group, time::MlsTime};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use support::{Bundle, Config, MlsDevice, commit, encrypt, leaf_of, message};
use tertulia_api::{Code, UserDevice};
use tertulia_domain::{ConversationId, DeviceId, Domain, UserId};

#[path = "../../tests/support/mls.rs"]
#[allow(dead_code, unreachable_pub)] // shared with the tests over HTTP, which need more of it
mod support;

const GROUP: [u8; 16] = [7; 16];

/// A hub, and a group at epoch 1 with one device each of two users.
struct Setting {
    observer: Observer,
    hub_key: Vec<u8>,
    alice: MlsDevice,
    bob: MlsDevice,
    at_alice: Group<Config>,
    at_bob: Group<Config>,
    first: ValidCommit,
}

fn observer() -> (Observer, Vec<u8>) {
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CIPHER_SUITE).unwrap();
    let (secret, public) = suite.signature_key_generate().unwrap();
    (Observer::new(Domain::localhost(), secret, public.clone()), public.to_vec())
}

fn device() -> MlsDevice {
    MlsDevice::new(UserId::random(), &Domain::localhost())
}

fn name(device: &MlsDevice) -> UserDevice {
    UserDevice { user: device.user, device: device.device }
}

fn removed(device: &MlsDevice, by: Option<&MlsDevice>) -> Removed {
    Removed { device: name(device), by: by.map(|by| by.user) }
}

fn parse(bundle: &Bundle) -> CommitBundle {
    CommitBundle::parse(&bundle.body().into()).unwrap()
}

impl Setting {
    fn new() -> Self {
        let (observer, hub_key) = observer();
        let (alice, bob) = (device(), device());
        let mut at_alice = alice.create_group(&GROUP, &hub_key);
        let bundle = commit(&mut at_alice, &[bob.key_package()], &[]);
        let first = observer.first_commit(&parse(&bundle), name(&alice), MlsTime::now()).unwrap();
        at_alice.apply_pending_commit().unwrap();
        let at_bob = bob.join(&bundle.welcome.unwrap().to_bytes().unwrap());
        Self { observer, hub_key, alice, bob, at_alice, at_bob, first }
    }

    fn check(&self, bundle: &Bundle, sender: &MlsDevice) -> Result<ValidCommit, Rejection> {
        self.observer.commit(&self.first.snapshot, &parse(bundle), name(sender), MlsTime::now())
    }
}

fn refused(result: Result<ValidCommit, Rejection>, code: Code) {
    let rejection = result.expect_err("must be refused");
    assert_eq!(rejection.code(), code, "{rejection}");
}

#[test]
fn the_first_commit_shows_who_is_in_the_group() {
    let Setting { first, alice, bob, .. } = Setting::new();
    assert_eq!(first.epoch, 1);
    assert_eq!(first.committer.device, name(&alice));
    assert_eq!(first.committer.signature_key, alice.signature_key);
    let [added] = first.added.as_slice() else { panic!("one device is added") };
    assert_eq!((added.device, &added.signature_key, added.index), (name(&bob), &bob.signature_key, 1));
    assert!(first.joins && !first.external && first.removed.is_empty());
}

#[test]
fn the_first_commit_of_another_device_is_refused() {
    let (observer, hub_key) = observer();
    let (alice, mallory) = (device(), device());
    let mut group = alice.create_group(&GROUP, &hub_key);
    let bundle = commit(&mut group, &[], &[]);
    refused(observer.first_commit(&parse(&bundle), name(&mallory), MlsTime::now()), Code::InvalidCommit);
}

#[test]
fn a_group_that_another_key_can_propose_to_is_refused() {
    let (observer, _) = observer();
    let alice = device();
    let mut group = alice.create_group(&GROUP, &alice.signature_key);
    let bundle = commit(&mut group, &[], &[]);
    refused(observer.first_commit(&parse(&bundle), name(&alice), MlsTime::now()), Code::InvalidCommit);
}

#[test]
fn members_of_other_hubs_and_with_other_names_are_refused() {
    let Setting { hub_key, observer, alice, .. } = Setting::new();
    let (user, id) = (UserId::random(), DeviceId::random());
    for identity in [format!("{user}:{id}@elsewhere.example"), format!("{user}@localhost"), String::new()] {
        let stranger = MlsDevice::with_identity(user, id, identity);
        let mut group = alice.create_group(&GROUP, &hub_key);
        let bundle = commit(&mut group, &[stranger.key_package()], &[]);
        let result = observer.first_commit(&parse(&bundle), name(&alice), MlsTime::now());
        assert!(result.is_err());
    }
}

#[test]
fn a_device_cannot_be_in_a_group_twice_under_two_spellings() {
    let mut setting = Setting::new();
    let user = UserId::random();
    let id = DeviceId::new(7);
    let padded = MlsDevice::with_identity(user, id, format!("{user}:{id}@localhost"));
    let unpadded = MlsDevice::with_identity(user, id, format!("{user}:7@localhost"));
    let bundle = commit(&mut setting.at_alice, &[padded.key_package(), unpadded.key_package()], &[]);
    refused(setting.check(&bundle, &setting.alice), Code::InvalidCommit);
}

#[test]
fn later_commits_tell_who_comes_and_goes() {
    let mut setting = Setting::new();
    let carol = device();
    let bobs_leaf = leaf_of(&setting.at_alice, &setting.bob);
    let bundle = commit(&mut setting.at_alice, &[carol.key_package()], &[bobs_leaf]);
    let valid = setting.check(&bundle, &setting.alice).unwrap();
    assert_eq!(valid.epoch, 2);
    assert_eq!(valid.added.iter().map(|leaf| leaf.device).collect::<Vec<_>>(), [name(&carol)]);
    assert_eq!(valid.removed, [removed(&setting.bob, Some(&setting.alice))]);
    assert_eq!(valid.committer.device, name(&setting.alice));
    assert!(!valid.joins);

    setting.at_alice.apply_pending_commit().unwrap();
    let bundle = commit(&mut setting.at_alice, &[], &[]);
    setting.first = valid;
    assert_eq!(setting.check(&bundle, &setting.alice).unwrap().epoch, 3);
}

#[test]
fn a_commit_is_taken_from_its_own_sender_only() {
    let mut setting = Setting::new();
    let bundle = commit(&mut setting.at_alice, &[], &[]);
    refused(setting.check(&bundle, &setting.bob), Code::InvalidCommit);
    assert!(setting.check(&bundle, &setting.alice).is_ok());
}

#[test]
fn a_group_info_of_another_commit_is_inconsistent() {
    let mut setting = Setting::new();
    let mut bundle = commit(&mut setting.at_alice, &[], &[]);
    setting.at_alice.clear_pending_commit();
    bundle.group_info = commit(&mut setting.at_alice, &[], &[]).group_info;
    refused(setting.check(&bundle, &setting.alice), Code::InconsistentGroupInfo);

    let mut bundle = commit(&mut setting.at_bob, &[], &[]);
    bundle.group_info = setting.at_bob.group_info_message_allowing_ext_commit(true).unwrap();
    refused(setting.check(&bundle, &setting.bob), Code::InconsistentGroupInfo);

    bundle.group_info = setting.at_bob.group_info_message(true).unwrap();
    refused(setting.check(&bundle, &setting.bob), Code::InconsistentGroupInfo);
}

#[test]
fn a_welcome_is_for_exactly_those_who_are_added() {
    let mut setting = Setting::new();
    let carol = device();
    let good = commit(&mut setting.at_alice, &[carol.key_package()], &[]);
    let mut without = good.clone();
    without.welcome = None;
    refused(setting.check(&without, &setting.alice), Code::InvalidCommit);

    setting.at_alice.clear_pending_commit();
    let mut foreign = good.clone();
    foreign.welcome = commit(&mut setting.at_alice, &[carol.key_package()], &[]).welcome;
    refused(setting.check(&foreign, &setting.alice), Code::InvalidCommit);

    setting.at_alice.clear_pending_commit();
    let mut idle = commit(&mut setting.at_alice, &[], &[]);
    idle.welcome.clone_from(&good.welcome);
    refused(setting.check(&idle, &setting.alice), Code::InvalidCommit);
    assert!(setting.check(&good, &setting.alice).is_ok());
}

#[test]
fn a_device_comes_back_by_external_commit_and_removes_nobody_else() {
    let setting = Setting::new();
    let info = setting.at_alice.group_info_message_allowing_ext_commit(true).unwrap().to_bytes().unwrap();
    let own = leaf_of(&setting.at_alice, &setting.bob);
    let (_, bundle) = setting.bob.external_commit(&info, Some(own));
    let valid = setting.check(&bundle, &setting.bob).unwrap();
    assert!(valid.joins && valid.external);
    assert_eq!(valid.removed, [removed(&setting.bob, Some(&setting.bob))]);
    assert_eq!(valid.committer.device, name(&setting.bob));
    refused(setting.check(&bundle, &setting.alice), Code::InvalidCommit);

    let (_, without_removal) = device().external_commit(&info, None);
    refused(setting.check(&without_removal, &setting.bob), Code::InvalidCommit);
}

#[test]
fn removals_that_the_hub_proposes_must_be_committed() {
    let mut setting = Setting::new();
    let bob = setting.bob.user;
    let proposed =
        setting.observer.propose_removals(&setting.first.snapshot, |device| device.user == bob).unwrap();
    let [removal] = proposed.proposals.as_slice() else { panic!("one leaf is bob's") };
    assert_eq!(removal.leaf, leaf_of(&setting.at_alice, &setting.bob));
    let again = setting.observer.propose_removals(&proposed.snapshot, |device| device.user == bob).unwrap();
    assert!(again.proposals.is_empty(), "what is pending is not proposed again");
    let without_proposal = std::mem::replace(&mut setting.first.snapshot, proposed.snapshot);

    let ignorant = commit(&mut setting.at_alice, &[], &[]);
    refused(setting.check(&ignorant, &setting.alice), Code::MissingProposals);
    setting.at_alice.clear_pending_commit();

    let by_value = commit(&mut setting.at_alice, &[], &[removal.leaf]);
    let valid = setting.check(&by_value, &setting.alice).unwrap();
    assert_eq!(valid.removed, [removed(&setting.bob, Some(&setting.alice))]);
    setting.at_alice.clear_pending_commit();

    setting.at_alice.process_incoming_message(message(&removal.message)).unwrap();
    let by_reference = commit(&mut setting.at_alice, &[], &[]);
    let valid = setting.check(&by_reference, &setting.alice).unwrap();
    assert_eq!(valid.removed, [removed(&setting.bob, None)]);
    assert_eq!(valid.pending, std::slice::from_ref(&removal.reference));

    setting.first.snapshot = without_proposal;
    refused(setting.check(&by_reference, &setting.alice), Code::ProposalNotFound);
}

#[test]
fn bodies_are_taken_apart_and_nothing_else_is_taken() {
    let mut setting = Setting::new();
    let text = encrypt(&mut setting.at_alice, "hello");
    let parsed = ApplicationMessage::parse(&text.clone().into()).unwrap();
    assert_eq!(parsed, ApplicationMessage { group_id: GROUP.to_vec(), epoch: 1 });
    let key_package = setting.alice.key_package();
    let bundle = commit(&mut setting.at_alice, &[device().key_package()], &[]);
    let body = bundle.body();
    let commit_alone = bundle.commit.to_bytes().unwrap();

    let twice = [text.clone(), text.clone()].concat();
    for wrong in
        [&[][..], &text[1..], &text[..text.len() - 1], &twice, &key_package, &commit_alone, b"\0\x02"]
    {
        assert!(matches!(ApplicationMessage::parse(&wrong.to_vec().into()), Err(Rejection::Malformed(_))));
    }
    let of_this_epoch = [body.clone(), text].concat();
    let two_commits = [commit_alone.clone(), body.clone()].concat();
    let with_key_package = [body.clone(), key_package].concat();
    for wrong in
        [&[][..], &commit_alone, &body[..body.len() - 1], &of_this_epoch, &two_commits, &with_key_package]
    {
        assert!(matches!(CommitBundle::parse(&wrong.to_vec().into()), Err(Rejection::Malformed(_))));
    }
    let parsed = CommitBundle::parse(&body.clone().into()).unwrap();
    assert_eq!((parsed.group_id.as_slice(), parsed.epoch), (&GROUP[..], 1));
    assert_eq!(parsed.commit.bytes, commit_alone);
    assert!(parsed.welcome.is_some() && parsed.message.is_none());
}

#[test]
fn no_prefix_and_no_flipped_bit_of_a_bundle_is_taken_or_panics() {
    let mut setting = Setting::new();
    let bundle = commit(&mut setting.at_alice, &[device().key_package()], &[]);
    let body = bundle.body();
    for end in 0..body.len() {
        let parsed = CommitBundle::parse(&body[..end].to_vec().into());
        assert!(parsed.is_err() || parsed.unwrap().welcome.is_none(), "cut at {end}");
    }
    // The hub cannot read the membership tag at the commit's end, which is made with a secret of the group, nor what the
    // Welcome encrypts. Every other bit is signed or in the tree; a stride keeps the test short.
    let commit_end = bundle.commit.to_bytes().unwrap().len();
    let info_end = commit_end + bundle.group_info.to_bytes().unwrap().len();
    for bit in (0..info_end * 8).step_by(97) {
        let mut flipped = body.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(bundle) = CommitBundle::parse(&flipped.into()) else { continue };
        let result =
            setting.observer.commit(&setting.first.snapshot, &bundle, name(&setting.alice), MlsTime::now());
        let in_membership_tag = (commit_end - 32..commit_end).contains(&(bit / 8));
        assert!(result.is_err() || in_membership_tag, "bit {bit}");
    }
}

/// A device that lies in a drawer keeps its leaf, and nobody else is kept from committing.
#[test]
fn of_encrypted_commits_only_the_new_leaves_have_to_be_within_their_lifetime() {
    const DAY: u64 = 24 * 60 * 60;
    let (observer, hub_key) = observer();
    let (alice, bob, carol) = (device(), device(), device());
    let mut at_alice = alice.create_encrypted(ConversationId::random(), &hub_key);
    let check = |stored: Option<&ValidCommit>, bundle: &Bundle, now| {
        observer.hidden_commit(stored.map(|stored| &stored.snapshot[..]), &parse(bundle), name(&alice), now)
    };
    let adding = commit(&mut at_alice, &[bob.key_package()], &[]);
    let now = MlsTime::now();
    let later = MlsTime::from(now.seconds_since_epoch() + 84 * DAY);
    refused(check(None, &adding, later), Code::InvalidCommit);
    let first = check(None, &adding, now).unwrap();
    at_alice.apply_pending_commit().unwrap();

    let going_on = commit(&mut at_alice, &[], &[]);
    let second = check(Some(&first), &going_on, later).unwrap();
    assert!(second.added.is_empty() && second.removed.is_empty() && second.epoch == 2);
    at_alice.apply_pending_commit().unwrap();

    // Nobody comes by a key package of then, nor by one of a time to come.
    let adding = commit(&mut at_alice, &[carol.key_package()], &[]);
    let now = MlsTime::now();
    for wrong in [later, MlsTime::from(now.seconds_since_epoch() - DAY)] {
        refused(check(Some(&second), &adding, wrong), Code::InvalidCommit);
    }
    assert_eq!(check(Some(&second), &adding, now).unwrap().added.len(), 1);
}
