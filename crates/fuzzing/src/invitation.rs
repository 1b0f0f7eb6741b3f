//! Invitations whose encryption is in order, and what is in it is not: what anybody can send who has the bundle.

use std::cell::RefCell;

use ed25519_dalek::SigningKey;
use hpke::{
    Deserializable as _, OpModeS, Serializable as _, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256 as X25519,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_conversation::{
    hint::{Hint, Salt},
    inbox::{
        Bundle, BundleContent, BundleDevice, BundleKey, Inbox, InboxError, InboxKey, InvitesTo,
        NewInvitation, Replays, Signer, invite,
    },
    types::{ConversationType as _, InboxV1},
    wire::{EncryptedBytes, EncryptedFrame, Envelope, InboxFrame, Outcome, SMALLEST_CLASS, SignedInvitation},
};

use crate::script;

/// Seconds since 1970 at which all of it happens.
const NOW: u64 = 1_800_000_000;
/// What is in front of an invitation where it is signed: the address, the inbox key and the encapsulated key.
const BEFORE: usize = 3 * 32;
/// Bytes of the length before a padded frame.
const LENGTH: usize = 4;

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// Somebody with an inbox, and somebody who writes to it.
struct World {
    receiver: Bundle,
    inbox_key: InboxKey,
    inbox: Inbox,
    sender: Bundle,
    device: SigningKey,
    random: StdRng,
}

/// An invitation in its parts.
struct Genuine {
    envelope: Envelope,
    /// Under which label it is signed.
    label: String,
    /// The invitation without its signature.
    content: Vec<u8>,
    /// The padded frame, as it is encrypted.
    padded: Vec<u8>,
}

/// The first byte says what the [script] in the rest damages: the envelope, the encrypted frame, or the invitation before it is
/// signed.
///
/// Only what the sender's own device has signed, for this very encryption, is an invitation, and it is one once; whatever else
/// comes, the genuine one is taken after it.
pub fn invitation(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    WORLD.with_borrow_mut(|world| {
        let genuine = world.next();
        match choice % 3 {
            0 => world.damaged_envelope(&genuine, rest),
            1 => world.damaged_frame(&genuine, rest),
            _ => world.damaged_invitation(&genuine, rest),
        }
        let opened = world.inbox.open(&genuine.envelope, NOW);
        assert!(matches!(opened, Outcome::Decoded(Ok(_))), "the genuine one is {opened:?}");
        let again = world.inbox.open(&genuine.envelope, NOW);
        assert!(
            matches!(again, Outcome::Decoded(Err(InboxError::Replayed))),
            "a second time it is {again:?}"
        );
        // What is remembered grows with each, and is the same when it is written.
        let replays = world.inbox.replays().encode();
        assert_eq!(Replays::decode(&replays).as_ref(), Some(world.inbox.replays()));
        if world.inbox.replays().len() >= Replays::MOST_OF_A_STRANGER {
            *world = World::new();
        }
    });
}

impl World {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(2);
        let (receiver, inbox_key, _) = person(&mut random);
        let (sender, _, device) = person(&mut random);
        let inbox = inbox(&receiver, &inbox_key);
        Self { receiver, inbox_key, inbox, sender, device, random }
    }

    fn next(&mut self) -> Genuine {
        let message = self.random.random::<[u8; 32]>().to_vec();
        let new = NewInvitation {
            sender: &self.sender,
            sender_device: 0,
            expires: NOW + 60,
            invites_to: InvitesTo::Private {
                creation_secret: self.random.random::<[u8; 32]>().into(),
                message,
            },
        };
        let pen = Pen { key: &self.device, signed: RefCell::default() };
        let envelope = invite(&self.receiver, 0, new, &pen, NOW, &mut self.random).expect("all is in order");
        let Signed { label, content, signature } = pen.signed.into_inner().expect("it is signed");
        let content = content[BEFORE..].to_vec();
        let padded = padded(content.clone(), signature);
        Genuine { envelope, label, content, padded }
    }

    fn damaged_envelope(&mut self, genuine: &Genuine, script: &[u8]) {
        let bytes = script::message(script, &[genuine.envelope.encode()]);
        let Outcome::Decoded(envelope) = Envelope::decode(&bytes) else { return };
        if envelope != genuine.envelope {
            let opened = self.inbox.open(&envelope, NOW);
            assert!(!matches!(opened, Outcome::Decoded(_)), "nobody has encrypted it");
        }
    }

    fn damaged_frame(&mut self, genuine: &Genuine, script: &[u8]) {
        let frame = script::message(script, std::slice::from_ref(&genuine.padded));
        let envelope = self.seal(|_| frame);
        let opened = self.inbox.open(&envelope, NOW);
        assert!(!matches!(opened, Outcome::Decoded(Ok(_))), "it is signed for another encryption");
    }

    fn damaged_invitation(&mut self, genuine: &Genuine, script: &[u8]) {
        let content = script::message(script, std::slice::from_ref(&genuine.content));
        let device = self.device.clone();
        let envelope = self.seal(|before| {
            let signed = [before, &content].concat();
            let signature = device.sign(&genuine.label, &signed).expect("the key is there");
            padded(content, signature)
        });
        if let Outcome::Decoded(Ok(taken)) = self.inbox.open(&envelope, NOW) {
            let sender = &taken.sender;
            let device = &sender.bundle.content().devices[sender.device];
            assert_eq!(device.signature_key, self.device.verifying_key().to_bytes(), "who has signed it");
            assert_eq!(Bundle::decode(sender.bundle.as_bytes()).as_ref(), Ok(&sender.bundle));
            assert!(taken.expires > NOW);
            // Its id may be the one of the genuine one, which would then be the second.
            self.inbox = inbox(&self.receiver, &self.inbox_key);
        }
    }

    /// Encrypts a frame that is made from what is signed in front of the invitation.
    fn seal(&mut self, frame: impl FnOnce(&[u8]) -> Vec<u8>) -> Envelope {
        let address = self.receiver.inbox_address();
        let to = self.receiver.content().devices[0].inbox_key;
        let key = <X25519 as hpke::Kem>::PublicKey::from_bytes(&to).expect("a bundle's key");
        // As `docs/spec/inbox-v1.md` says.
        let info = [&b"tertulia/inbox/v1 hpke"[..], address.as_bytes()].concat();
        let (encapsulated, mut context) =
            hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519>(
                &OpModeS::Base,
                &key,
                &info,
                &mut self.random,
            )
            .expect("a bundle's key is fit");
        let encapsulated_key: [u8; 32] = encapsulated.to_bytes().into();
        let frame = frame(&[&address.as_bytes()[..], &to, &encapsulated_key].concat());
        let salt = Salt::random(&mut self.random);
        let hint = Hint::salted(&address.conversation_id(), salt);
        let bound = [&hint.as_bytes()[..], &salt.number().to_be_bytes()].concat();
        let ciphertext = context.seal(&frame, &bound).expect("it is short");
        Envelope { hint, salt, body: EncryptedBytes::Hpke { encapsulated_key, ciphertext } }
    }
}

/// The frame with a signed invitation, padded to its class.
fn padded(invitation: Vec<u8>, signature: [u8; 64]) -> Vec<u8> {
    let frame = InboxFrame::Invitation(SignedInvitation { invitation, signature });
    let frame = EncryptedFrame { conversation_type: InboxV1::DESCRIPTOR.id, frame: InboxV1::encode(&frame) };
    let frame = frame.encode();
    let length = u32::try_from(frame.len()).expect("a short script has no four gigabytes");
    let mut padded = [&length.to_be_bytes()[..], &frame].concat();
    padded.resize((LENGTH + frame.len()).max(SMALLEST_CLASS).next_power_of_two(), 0);
    padded
}

/// An inbox to which nothing has come yet.
fn inbox(of: &Bundle, key: &InboxKey) -> Inbox {
    Inbox::new(&of.content().identity_key, vec![key.clone()], Replays::default())
}

/// A bundle, with the inbox key and the signature key of its device.
fn person(random: &mut StdRng) -> (Bundle, InboxKey, SigningKey) {
    let identity = SigningKey::from_bytes(&random.random());
    let device = SigningKey::from_bytes(&random.random());
    let inbox_key = InboxKey::generate(random);
    let ratchet_key = random.random();
    let fallback_key = BundleKey::sign(random.random(), &ratchet_key, &device).expect("the key signs");
    let content = BundleContent {
        identity_key: identity.verifying_key().to_bytes(),
        expires: NOW + 86_400,
        devices: vec![BundleDevice {
            signature_key: device.verifying_key().to_bytes(),
            inbox_key: inbox_key.public(),
            ratchet_key,
            one_time_keys: Vec::new(),
            fallback_key,
            key_package: Vec::new(),
        }],
    };
    let bundle = Bundle::sign(&content, &identity).expect("the key signs");
    (bundle, inbox_key, device)
}

/// A key that remembers what it has signed.
struct Pen<'a> {
    key: &'a SigningKey,
    signed: RefCell<Option<Signed>>,
}

struct Signed {
    label: String,
    content: Vec<u8>,
    signature: [u8; 64],
}

impl Signer for Pen<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
        let signature = Signer::sign(self.key, label, content)?;
        self.signed.replace(Some(Signed { label: label.to_owned(), content: content.to_vec(), signature }));
        Some(signature)
    }
}

/// Inputs that the corpus begins with: name, bytes.
pub(crate) fn seeds() -> [(&'static str, Vec<u8>); 5] {
    let damaged = |choice: u8, how: [u8; script::STEP]| [&[choice][..], &script::unchanged(0), &how].concat();
    [
        ("envelope", [&[0][..], &script::unchanged(0)].concat()),
        ("frame", [&[1][..], &script::unchanged(0)].concat()),
        ("frame_cut", damaged(1, [4, 0, 200, 0])),
        ("invitation", [&[2][..], &script::unchanged(0)].concat()),
        ("invitation_changed", damaged(2, [1, 0, 30, 7])),
    ]
}
