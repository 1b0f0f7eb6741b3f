//! What anybody can send to an inbox whose bundle they have, and nobody's device would: it is refused, and the genuine invitation is taken afterwards.
#![allow(clippy::unwrap_used)]

mod common;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/raw.rs"]
mod raw;

use std::cell::RefCell;

use common::{NOW, Person, SigningKey};
use rand::{SeedableRng as _, rngs::StdRng};
use raw::{encrypted_frame, padded, padded_to, seal_to_inbox};
use tertulia_conversation::{
    hint::{Hint, Salt},
    inbox::{Inbox, InboxError, Invitation, InvitesTo, NewInvitation, Replays, Signer, invite},
    types::{ConversationType as _, GroupV1, InboxV1, PrivateV1},
    wire::{
        EncryptedBytes, Envelope, GroupFrame, InboxFrame, Outcome, PrivateFrame, SMALLEST_CLASS,
        SignedInvitation, WireError,
    },
};
use zeroize::Zeroizing;

/// What is in front of an invitation where it is signed: the address, the inbox key and the encapsulated key.
const BEFORE: usize = 3 * 32;

/// What a key has signed: label, content, signature.
type Signed = (String, Vec<u8>, [u8; 64]);

/// A key that remembers what it has signed.
struct Pen<'a> {
    key: &'a SigningKey,
    signed: RefCell<Option<Signed>>,
}

impl Signer for Pen<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
        let signature = Signer::sign(self.key, label, content)?;
        self.signed.replace(Some((label.to_owned(), content.to_vec(), signature)));
        Some(signature)
    }
}

/// Ana has written to Bruno.
struct Setting {
    random: StdRng,
    ana: Person,
    bruno: Person,
    envelope: Envelope,
    /// The invitation, under which label Ana has signed it, and her signature.
    invitation: Vec<u8>,
    label: String,
    signature: [u8; 64],
}

impl Setting {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let (ana, bruno) = (Person::new(&mut random), Person::new(&mut random));
        let pen = Pen { key: &ana.device, signed: RefCell::default() };
        let invites_to = InvitesTo::Private {
            creation_secret: Zeroizing::new([9; 32]),
            message: b"a first message".to_vec(),
        };
        let new = NewInvitation { sender: &ana.bundle, sender_device: 0, expires: NOW + 60, invites_to };
        let envelope = invite(&bruno.bundle, 0, new, &pen, NOW, &mut random).unwrap();
        let (label, signed, signature) = pen.signed.into_inner().unwrap();
        let invitation = signed[BEFORE..].to_vec();
        Self { random, ana, bruno, envelope, invitation, label, signature }
    }

    /// The frame with the invitation and a signature of it.
    fn frame(&self, signature: [u8; 64]) -> Vec<u8> {
        let signed = SignedInvitation { invitation: self.invitation.clone(), signature };
        InboxV1::encode(&InboxFrame::Invitation(signed))
    }

    /// An envelope to somebody with the invitation, which Ana signs for this encryption, in a frame that is made of the genuine one.
    fn signed_anew(&mut self, to: To<'_>, form: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Envelope {
        let mut random = StdRng::from_rng(&mut self.random);
        let receiver = match to {
            To::Bruno => &self.bruno,
            To::Carla(carla) => carla,
        };
        seal_to_inbox(
            &receiver.bundle,
            |before| {
                let signed = [before, &self.invitation].concat();
                form(self.frame(Signer::sign(&self.ana.device, &self.label, &signed).unwrap()))
            },
            &mut random,
        )
    }

    /// That Bruno takes what Ana has written, once.
    fn assert_taken(&self, mut inbox: Inbox) {
        assert!(inbox.replays().is_empty(), "what is refused is not noted");
        assert!(matches!(inbox.open(&self.envelope, NOW), Outcome::Decoded(Ok(_))));
        assert!(matches!(inbox.open(&self.envelope, NOW), Outcome::Decoded(Err(InboxError::Replayed))));
    }
}

#[derive(Clone, Copy)]
enum To<'a> {
    Bruno,
    Carla(&'a Person),
}

fn inbox_of(person: &Person) -> Inbox {
    let identity = person.bundle.content().identity_key;
    Inbox::new(&identity, vec![person.inbox_key.clone()], Replays::default())
}

fn is_taken(outcome: &Outcome<Result<Invitation, InboxError>>) -> bool {
    matches!(outcome, Outcome::Decoded(Ok(_)))
}

#[test]
fn a_frame_of_another_type_is_refused() {
    let mut setting = Setting::new();
    let mut inbox = inbox_of(&setting.bruno);
    // The very same is taken as what it is.
    let same = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1, &frame)));
    assert!(is_taken(&inbox.look_at(&same, NOW)));

    for number in [2, 3, 4, 5, 6, 0x8001] {
        let envelope = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(number, &frame)));
        let outcome = inbox.open(&envelope, NOW);
        let Outcome::Invalid(WireError::WrongType { got, expected: 1 }) = outcome else {
            panic!("a frame of the type {number} is {outcome:?}")
        };
        assert_eq!(u64::from(got), number);
    }
    let later = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1 << 16, &frame)));
    assert!(matches!(inbox.open(&later, NOW), Outcome::Unsupported(_)));
    let none = setting.signed_anew(To::Bruno, |frame| padded(&raw::field(2, &frame)));
    assert!(matches!(inbox.open(&none, NOW), Outcome::Invalid(WireError::Missing { .. })));
    // Frames of other types that say to be an inbox's.
    let content = PrivateV1::encode(&PrivateFrame::Content(b"content".to_vec()));
    let welcome = GroupV1::encode(&GroupFrame::Welcome(b"welcome".to_vec()));
    for frame in [content, welcome] {
        let envelope = setting.signed_anew(To::Bruno, |_| padded(&encrypted_frame(1, &frame)));
        let outcome = inbox.open(&envelope, NOW);
        assert!(matches!(outcome, Outcome::Invalid(_) | Outcome::Unsupported(_)), "{outcome:?}");
    }
    // Not padded as it has to be.
    for is_wide in [true, false] {
        let envelope = setting.signed_anew(To::Bruno, |frame| {
            let frame = encrypted_frame(1, &frame);
            let mut bytes = if is_wide { padded_to(&frame, 8 * SMALLEST_CLASS) } else { padded(&frame) };
            *bytes.last_mut().unwrap() = u8::from(!is_wide);
            bytes
        });
        assert!(matches!(inbox.open(&envelope, NOW), Outcome::Invalid(WireError::Padding)));
    }
    setting.assert_taken(inbox);
}

#[test]
fn an_invitation_is_not_passed_on_to_somebody_else() {
    let mut setting = Setting::new();
    let carla = Person::new(&mut setting.random);
    let mut inbox = inbox_of(&carla);
    // As it is, it is not for her.
    assert!(matches!(inbox.open(&setting.envelope, NOW), Outcome::NotForUs));

    // Bruno, who has read it, encrypts it to Carla with Ana's own signature.
    let frame = padded(&encrypted_frame(1, &setting.frame(setting.signature)));
    let passed_on = seal_to_inbox(&carla.bundle, |_| frame.clone(), &mut setting.random);
    assert!(matches!(inbox.open(&passed_on, NOW), Outcome::Decoded(Err(InboxError::Signature))));
    // Nor does he put it into an encryption to himself once more.
    let again = seal_to_inbox(&setting.bruno.bundle, |_| frame.clone(), &mut setting.random);
    let outcome = inbox_of(&setting.bruno).open(&again, NOW);
    assert!(matches!(outcome, Outcome::Decoded(Err(InboxError::Signature))));
    // Nor with a signature of his own.
    let own = seal_to_inbox(
        &carla.bundle,
        |before| {
            let signed = [before, &setting.invitation].concat();
            let signature = Signer::sign(&setting.bruno.device, &setting.label, &signed).unwrap();
            padded(&encrypted_frame(1, &setting.frame(signature)))
        },
        &mut StdRng::seed_from_u64(8),
    );
    assert!(matches!(inbox.open(&own, NOW), Outcome::Decoded(Err(InboxError::Signature))));
    assert!(inbox.replays().is_empty(), "what is refused is not noted");
    // What Ana signs for Carla, she takes.
    let hers = setting.signed_anew(To::Carla(&carla), |frame| padded(&encrypted_frame(1, &frame)));
    assert!(is_taken(&inbox.open(&hers, NOW)));
    setting.assert_taken(inbox_of(&setting.bruno));
}

#[test]
fn an_invitation_under_another_hint_or_salt_is_refused() {
    let mut setting = Setting::new();
    let mut inbox = inbox_of(&setting.bruno);
    let genuine = setting.envelope.clone();
    let id = inbox.address().conversation_id();
    let salt = Salt::random(&mut setting.random);
    assert_ne!(salt, genuine.salt);

    // A hint that is right for its salt finds the inbox, and the ciphertext is bound to another.
    let moved = Envelope { hint: Hint::salted(&id, salt), salt, ..genuine.clone() };
    assert!(matches!(inbox.open(&moved, NOW), Outcome::Invalid(WireError::Undecryptable)));
    // One that is not right for its salt is nobody's.
    let resalted = Envelope { salt, ..genuine.clone() };
    assert!(matches!(inbox.open(&resalted, NOW), Outcome::NotForUs));
    for byte in 0..16 {
        let mut hint = *genuine.hint.as_bytes();
        hint[byte] ^= 1;
        let other = Envelope { hint: Hint::from_bytes(hint), ..genuine.clone() };
        assert!(matches!(inbox.open(&other, NOW), Outcome::NotForUs), "byte {byte}");
    }
    let unsalted = Envelope { salt: Salt::NONE, ..genuine.clone() };
    assert!(matches!(inbox.open(&unsalted, NOW), Outcome::NotForUs));
    // Another encapsulated key, and another way to encrypt.
    let EncryptedBytes::Hpke { ciphertext, .. } = genuine.body.clone() else { panic!("it is HPKE") };
    let encapsulated_key = seal_to_inbox(&setting.bruno.bundle, |_| padded(b""), &mut setting.random);
    let EncryptedBytes::Hpke { encapsulated_key, .. } = encapsulated_key.body else { panic!("it is HPKE") };
    let body = EncryptedBytes::Hpke { encapsulated_key, ciphertext: ciphertext.clone() };
    let outcome = inbox.open(&Envelope { body, ..genuine.clone() }, NOW);
    assert!(matches!(outcome, Outcome::Invalid(WireError::Undecryptable)));
    let body = EncryptedBytes::EpochSealed { key_salt: encapsulated_key, ciphertext };
    let outcome = inbox.open(&Envelope { body, ..genuine }, NOW);
    assert!(matches!(outcome, Outcome::Invalid(WireError::WrongScheme)));
    setting.assert_taken(inbox);
}

#[test]
fn an_invitation_that_is_cut_is_refused_wherever_it_is_cut() {
    let mut setting = Setting::new();
    let mut inbox = inbox_of(&setting.bruno);
    // On the way.
    let whole = setting.envelope.encode();
    for length in 0..whole.len() {
        let outcome = Envelope::decode(&whole[..length]);
        assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes of the envelope: {outcome:?}");
    }
    // Cut before it is encrypted, by who has signed it: in the plaintext, in the frame of the inbox, and in the invitation.
    let mut frame = Vec::new();
    setting.signed_anew(To::Bruno, |whole| {
        frame = whole;
        Vec::new()
    });
    let encrypted = encrypted_frame(1, &frame);
    for length in 0..encrypted.len() {
        let envelope = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1, &frame)[..length]));
        let outcome = inbox.open(&envelope, NOW);
        assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes of what is encrypted: {outcome:?}");
    }
    for length in 0..frame.len() {
        let envelope = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1, &frame[..length])));
        let outcome = inbox.open(&envelope, NOW);
        assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes of the frame: {outcome:?}");
    }
    let invitation = setting.invitation.clone();
    for length in 0..invitation.len() {
        setting.invitation = invitation[..length].to_vec();
        let envelope = setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1, &frame)));
        let outcome = inbox.open(&envelope, NOW);
        assert!(matches!(outcome, Outcome::Invalid(_)), "{length} bytes of the invitation: {outcome:?}");
    }
    // A padding that is cut is no class, and none at all has not even a length.
    for length in [0, 3, 4, SMALLEST_CLASS / 2] {
        let envelope =
            setting.signed_anew(To::Bruno, |frame| padded(&encrypted_frame(1, &frame))[..length].to_vec());
        assert!(matches!(
            Envelope::decode(&envelope.encode()),
            Outcome::Invalid(WireError::SizeClass { .. })
        ));
        assert!(matches!(inbox.open(&envelope, NOW), Outcome::Invalid(WireError::Padding)));
    }
    setting.invitation = invitation;
    setting.assert_taken(inbox);
}
