//! First contact: from a bundle, as text or as a QR code, to an invitation that is taken once.
#![allow(clippy::unwrap_used, clippy::items_after_statements)]

mod common;

use common::{NOW, Person, SigningKey, seeded};
use rand::{RngExt as _, rngs::StdRng};
use tertulia_conversation::{
    inbox::{
        Bundle, BundleError, Inbox, InboxError, Invitation, InvitesTo, MAX_INVITATION_LIFETIME,
        NewInvitation, PREFIX, QrCode, Replays, invite,
    },
    topic::ContentTopic,
    wire::{EncryptedBytes, Envelope, Outcome, WireError},
};
use zeroize::Zeroizing;

fn inbox_of(person: &Person) -> Inbox {
    let identity = person.bundle.content().identity_key;
    Inbox::new(&identity, vec![person.inbox_key.clone()], Replays::default())
}

fn private(secret: [u8; 32]) -> InvitesTo {
    InvitesTo::Private { creation_secret: Zeroizing::new(secret), message: b"a first message".to_vec() }
}

fn invitation(sender: &Person, expires: u64) -> NewInvitation<'_> {
    NewInvitation { sender: &sender.bundle, sender_device: 0, expires, invites_to: private([9; 32]) }
}

fn send(from: &Person, to: &Person, random: &mut StdRng) -> Envelope {
    invite(&to.bundle, 0, invitation(from, NOW + 60), &from.device, NOW, random).unwrap()
}

#[test]
fn a_stranger_writes_to_who_gave_out_a_bundle() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    // Bruno gives his bundle to Ana as text.
    let text = bruno.bundle.to_string();
    assert!(text.starts_with(PREFIX));
    let received: Bundle = format!(" {text}\n").parse().unwrap();
    assert_eq!(received, bruno.bundle);

    let new = invitation(&ana, NOW + 60);
    let bytes = invite(&received, 0, new, &ana.device, NOW, random).unwrap().encode();
    let mut inbox = inbox_of(&bruno);
    assert_eq!(ContentTopic::of_inbox(inbox.address()), ContentTopic::of_inbox(&received.inbox_address()));

    let Outcome::Decoded(Ok(opened)) =
        Envelope::decode(&bytes).and_then(|envelope| inbox.open(&envelope, NOW))
    else {
        panic!("it is for Bruno");
    };
    assert_eq!(opened.sender.client_address(), ana.bundle.client_address());
    assert_eq!((opened.sender.bundle, opened.sender.device), (ana.bundle.clone(), 0));
    assert_eq!(opened.invites_to, private([9; 32]));
    // A third person learns nothing, not even for whom it is.
    let carla = Person::new(random);
    let envelope = Envelope::decode(&bytes).decoded().unwrap();
    assert!(matches!(inbox_of(&carla).open(&envelope, NOW), Outcome::NotForUs));
    let hex = hex::encode(&bytes);
    for key in [&ana, &bruno].map(|person| person.bundle.content().identity_key) {
        assert!(!hex.contains(&hex::encode(key)));
    }
    assert!(!hex.contains(&hex::encode(inbox.address().as_bytes())));
}

#[test]
fn an_invitation_is_taken_once_also_after_a_restart() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    let envelope = send(&ana, &bruno, random);
    let mut inbox = inbox_of(&bruno);
    assert!(matches!(inbox.open(&envelope, NOW), Outcome::Decoded(Ok(_))));
    assert!(matches!(inbox.open(&envelope, NOW), Outcome::Decoded(Err(InboxError::Replayed))));
    let stored = Replays::decode(&inbox.replays().encode()).unwrap();
    let identity = bruno.bundle.content().identity_key;
    let mut again = Inbox::new(&identity, vec![bruno.inbox_key.clone()], stored);
    assert!(matches!(again.open(&envelope, NOW), Outcome::Decoded(Err(InboxError::Replayed))));
}

#[test]
fn what_is_only_looked_at_can_come_again_until_it_is_noted() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    let envelope = send(&ana, &bruno, random);
    let mut inbox = inbox_of(&bruno);
    for _ in 0..2 {
        assert!(matches!(inbox.look_at(&envelope, NOW), Outcome::Decoded(Ok(_))));
    }
    let Outcome::Decoded(Ok(invitation)) = inbox.look_at(&envelope, NOW) else { panic!("it is for Bruno") };
    inbox.note(&invitation, true, NOW);
    assert!(matches!(inbox.look_at(&envelope, NOW), Outcome::Decoded(Err(InboxError::Replayed))));
    // One that was stored was noted when it came.
    let stored = Invitation::stored(invitation.sender, invitation.expires, invitation.invites_to);
    inbox.note(&stored, true, NOW);
    assert_eq!(inbox.replays().len(), 1);
}

#[test]
fn an_invitation_expires_and_is_never_valid_for_longer_than_it_is_remembered() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    let envelope = send(&ana, &bruno, random);
    assert!(matches!(inbox_of(&bruno).open(&envelope, NOW + 60), Outcome::Decoded(Err(InboxError::Expired))));
    let too_long = invitation(&ana, NOW + MAX_INVITATION_LIFETIME + 1);
    let refused = invite(&bruno.bundle, 0, too_long, &ana.device, NOW, random);
    assert!(matches!(refused, Err(InboxError::TooLong { .. })));
    // A sender that does not keep to it.
    let early = NOW - MAX_INVITATION_LIFETIME;
    assert!(matches!(
        inbox_of(&bruno).open(&envelope, early),
        Outcome::Decoded(Err(InboxError::TooLong { .. }))
    ));
    let expired = invite(&bruno.bundle, 0, invitation(&ana, NOW + 86_500), &ana.device, NOW + 86_400, random);
    assert_eq!(expired.unwrap_err(), InboxError::Bundle(BundleError::Expired));
}

#[test]
fn nobody_invites_in_anothers_name() {
    let random = &mut seeded();
    let (ana, bruno, mallory) = (Person::new(random), Person::new(random), Person::new(random));
    // Mallory signs with her own key, with Ana's bundle beside it.
    let forged = invite(&bruno.bundle, 0, invitation(&ana, NOW + 60), &mallory.device, NOW, random);
    assert_eq!(forged.unwrap_err(), InboxError::NoDevice { index: 0 });
    // A signer that claims Ana's key.
    struct Liar([u8; 32], SigningKey);
    impl tertulia_conversation::inbox::Signer for Liar {
        fn public_key(&self) -> [u8; 32] {
            self.0
        }
        fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
            tertulia_conversation::inbox::Signer::sign(&self.1, label, content)
        }
    }
    let liar = Liar(ana.device.verifying_key().to_bytes(), mallory.device.clone());
    let envelope = invite(&bruno.bundle, 0, invitation(&ana, NOW + 60), &liar, NOW, random).unwrap();
    assert!(matches!(inbox_of(&bruno).open(&envelope, NOW), Outcome::Decoded(Err(InboxError::Signature))));
}

#[test]
fn a_damaged_invitation_is_refused() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    let envelope = send(&ana, &bruno, random);
    let EncryptedBytes::Hpke { encapsulated_key, ciphertext } = envelope.body.clone() else {
        panic!("it is HPKE")
    };
    for at in (0..ciphertext.len()).step_by(97) {
        let mut ciphertext = ciphertext.clone();
        ciphertext[at] ^= 1;
        let body = EncryptedBytes::Hpke { encapsulated_key, ciphertext };
        let outcome = inbox_of(&bruno).open(&Envelope { body, ..envelope.clone() }, NOW);
        assert!(matches!(outcome, Outcome::Invalid(WireError::Undecryptable)));
    }
    let zero = EncryptedBytes::Hpke { encapsulated_key: [0; 32], ciphertext };
    let outcome = inbox_of(&bruno).open(&Envelope { body: zero, ..envelope }, NOW);
    assert!(matches!(outcome, Outcome::Invalid(WireError::Undecryptable)), "a key of small order");
}

#[test]
fn a_changed_bundle_is_refused() {
    let random = &mut seeded();
    let (ana, mallory) = (Person::new(random), Person::new(random));
    for at in 0..ana.bundle.as_bytes().len() {
        let mut bytes = ana.bundle.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(Bundle::decode(&bytes).is_err(), "at {at}");
    }
    // Mallory's device under Ana's identity, and Ana's keys beside another ratchet key.
    let mut content = ana.bundle.content().clone();
    content.devices = mallory.bundle.content().devices.clone();
    let refused = Bundle::sign(&content, &mallory.identity).unwrap_err();
    assert_eq!(refused, BundleError::Signature { what: "bundle", by: "identity key" });
    let mut content = ana.bundle.content().clone();
    content.devices[0].ratchet_key = [1; 32];
    let refused = Bundle::sign(&content, &ana.identity).unwrap_err();
    assert_eq!(refused, BundleError::Signature { what: "key for sessions", by: "device" });
    let mut content = ana.bundle.content().clone();
    content.devices.clear();
    let refused = Bundle::sign(&content, &ana.identity).unwrap_err();
    assert!(matches!(refused, BundleError::Devices { got: 0, .. } | BundleError::Malformed(_)));
}

#[test]
fn what_is_no_bundle_says_what_is_wrong() {
    let random = &mut seeded();
    let text = Person::new(random).bundle.to_string();
    assert_eq!("hello".parse::<Bundle>(), Err(BundleError::Prefix));
    let later = text.replacen("_1_", "_2_", 1);
    assert_eq!(later.parse::<Bundle>(), Err(BundleError::Version { version: 2 }));
    assert_eq!(text.replacen("_1_", "_01_", 1).parse::<Bundle>(), Err(BundleError::Prefix));
    assert_eq!(format!("{text}!").parse::<Bundle>(), Err(BundleError::Base64));
    assert!(text[..text.len() - 10].parse::<Bundle>().is_err());
    let long = format!("{PREFIX}{}", "A".repeat(1_000_000));
    assert!(matches!(long.parse::<Bundle>(), Err(BundleError::Malformed(WireError::TooLong { .. }))));
}

#[test]
fn a_qr_code_is_read_back_from_picture_and_terminal() {
    let random = &mut seeded();
    let bundle = Person::new(random).bundle;
    let code = QrCode::of(&bundle).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(code.to_png())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    let (width, height) = (frame.width as usize, frame.height as usize);
    assert_eq!(read_qr(width, height, |x, y| pixels[y * width + x]), bundle.to_string());

    // On a dark terminal light modules are drawn.
    for inverted in [false, true] {
        let text = code.to_text(inverted);
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let (columns, rows) = (lines[0].len(), lines.len() * 2);
        const SCALE: usize = 4;
        let pixel = |x: usize, y: usize| {
            let (x, y) = (x / SCALE, y / SCALE);
            let (upper, lower) = match lines[y / 2][x] {
                '█' => (true, true),
                '▀' => (true, false),
                '▄' => (false, true),
                _ => (false, false),
            };
            let drawn = if y % 2 == 0 { upper } else { lower };
            if drawn == inverted { 0 } else { 255 }
        };
        assert_eq!(read_qr(columns * SCALE, rows * SCALE, pixel), bundle.to_string(), "inverted: {inverted}");
    }
}

#[test]
fn what_does_not_fit_into_a_qr_code_is_said() {
    let random = &mut seeded();
    let person = Person::with_one_time_keys(16, random);
    QrCode::of(&person.bundle).unwrap();
    let mut content = person.bundle.content().clone();
    content.devices[0].key_package = vec![1; 400];
    let bundle = Bundle::sign(&content, &person.identity).unwrap();
    let got = bundle.to_string().len();
    assert_eq!(QrCode::of(&bundle).unwrap_err(), BundleError::TooLongForQr { got, max: 2953 });
}

#[test]
fn a_flood_of_junk_costs_little_and_a_real_invitation_still_arrives() {
    let random = &mut seeded();
    let (ana, bruno) = (Person::new(random), Person::new(random));
    let mut inbox = inbox_of(&bruno);
    let genuine = send(&ana, &bruno, random).encode();
    let mut junk = genuine.clone();
    for _ in 0..100_000 {
        // Other hints: nobody without the bundle can make one that is for this inbox.
        let hint = hex::encode(random.random::<[u8; 16]>());
        junk[2..34].copy_from_slice(hint.as_bytes());
        let outcome = Envelope::decode(&junk).and_then(|envelope| inbox.open(&envelope, NOW));
        assert!(matches!(outcome, Outcome::NotForUs));
    }
    assert!(inbox.replays().is_empty());
    let outcome = Envelope::decode(&genuine).and_then(|envelope| inbox.open(&envelope, NOW));
    assert!(matches!(outcome, Outcome::Decoded(Ok(_))));
}

#[test]
fn no_key_is_printed() {
    let random = &mut seeded();
    let person = Person::new(random);
    let printed = format!("{:?}", person.inbox_key);
    assert!(!printed.contains(&hex::encode(person.inbox_key.secret().as_slice())[..16]));
    let invites_to = private([9; 32]);
    assert_eq!(format!("{invites_to:?}"), "Private(…)");
}

/// The text in a picture.
fn read_qr(width: usize, height: usize, pixel: impl FnMut(usize, usize) -> u8) -> String {
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, pixel);
    let grids = picture.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}
