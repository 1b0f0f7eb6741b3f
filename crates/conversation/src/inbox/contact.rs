//! First contact: an invitation to somebody of whom one has the bundle and nothing else.
//!
//! It is encrypted by HPKE (RFC 9180) in base mode to a device's inbox key, and the sender's device signs inside. The signature is over the receiver's
//! inbox address and inbox key, the encapsulated key of this very encryption, and the invitation. So nobody can pass an invitation
//! on as if it had been meant for somebody else, nor put it into another encryption.

use rand::{CryptoRng, RngExt as _};
use zeroize::Zeroizing;

use super::{
    Bundle, BundleError, ClientAddress, InboxAddress, InboxError, InboxKey, InvitesTo, Replays, Signer,
    bundle::verifies, key,
};
use crate::{
    hint::{Hint, Salt},
    types::{ConversationType as _, InboxV1},
    wire::{
        EncryptedBytes, EncryptedFrame, Envelope, InboxFrame, InvitationContent, Outcome, SignedInvitation,
        WireError, pad, unpad,
    },
};

/// How long an invitation may be valid, in seconds: 30 days. So long the id of one that had an effect is remembered.
pub const MAX_INVITATION_LIFETIME: u64 = 30 * 24 * 60 * 60;

const INFO_LABEL: &[u8] = b"tertulia/inbox/v1 hpke";
const SIGNATURE_LABEL: &str = "inbox invitation 1";

/// An invitation that is to be sent.
#[derive(Debug)]
pub struct NewInvitation<'a> {
    /// The sender's own bundle, by which the receiver answers.
    pub sender: &'a Bundle,
    /// Which of its devices sends, counted from 0.
    pub sender_device: usize,
    /// Seconds since 1970 after which it is refused.
    pub expires: u64,
    /// What it is to.
    pub invites_to: InvitesTo,
}

/// Makes the envelope for one device of the receiver, counted from 0. It belongs on the topic
/// [`ContentTopic::of_inbox`](crate::topic::ContentTopic::of_inbox). `now` is in seconds since 1970.
pub fn invite(
    receiver: &Bundle,
    device: usize,
    invitation: NewInvitation<'_>,
    signer: &dyn Signer,
    now: u64,
    random: &mut impl CryptoRng,
) -> Result<Envelope, InboxError> {
    let NewInvitation { sender, sender_device, expires, invites_to } = invitation;
    if receiver.is_expired(now) || sender.is_expired(now) {
        return Err(BundleError::Expired.into());
    }
    in_time(expires, now)?;
    let to = receiver.content().devices.get(device).ok_or(InboxError::NoDevice { index: device })?;
    let from = sender.content().devices.get(sender_device);
    if from.is_none_or(|from| from.signature_key != signer.public_key()) {
        return Err(InboxError::NoDevice { index: sender_device });
    }
    let address = receiver.inbox_address();
    let content = Zeroizing::new(
        InvitationContent {
            id: random.random(),
            expires,
            sender_bundle: sender.as_bytes().to_vec(),
            sender_device: u32::try_from(sender_device).unwrap_or(u32::MAX),
            invites_to,
        }
        .encode(),
    );
    let (encapsulated_key, mut sealing) =
        key::seal_to(&to.inbox_key, &info(&address), random).ok_or(InboxError::UnfitKey)?;
    let signed = statement(&address, &to.inbox_key, &encapsulated_key, &content);
    let signature = signer.sign(SIGNATURE_LABEL, &signed).ok_or(BundleError::Signing)?;
    let frame = InboxFrame::Invitation(SignedInvitation { invitation: content.to_vec(), signature });
    let frame = EncryptedFrame { conversation_type: InboxV1::DESCRIPTOR.id, frame: InboxV1::encode(&frame) };
    let padded = pad(&Zeroizing::new(frame.encode()))?;
    let salt = Salt::random(random);
    let hint = Hint::salted(&address.conversation_id(), salt);
    let ciphertext = sealing.seal(&padded, &bound(hint, salt)).ok_or(InboxError::UnfitKey)?;
    Ok(Envelope { hint, salt, body: EncryptedBytes::Hpke { encapsulated_key, ciphertext } })
}

/// A device's inbox: where it is, the keys that open it, and what has come.
#[derive(Debug)]
pub struct Inbox {
    address: InboxAddress,
    keys: Vec<InboxKey>,
    replays: Replays,
}

/// An invitation that is genuine, in time, and new.
#[derive(Debug)]
pub struct Invitation {
    /// Its id; none of one that was stored meanwhile, and so was noted.
    id: Option<[u8; 16]>,
    /// Who sends it, as its bundle says.
    pub sender: Contact,
    /// Seconds since 1970 after which it is void.
    pub expires: u64,
    /// What it is to.
    pub invites_to: InvitesTo,
}

impl Invitation {
    /// One that was taken, as it was stored.
    pub const fn stored(sender: Contact, expires: u64, invites_to: InvitesTo) -> Self {
        Self { id: None, sender, expires, invites_to }
    }
}

/// Who has sent an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Their bundle.
    pub bundle: Bundle,
    /// Which of its devices has sent it, counted from 0.
    pub device: usize,
}

impl Contact {
    /// Who it is.
    pub fn client_address(&self) -> ClientAddress {
        self.bundle.client_address()
    }
}

impl Inbox {
    /// The inbox of who has this identity key, on a device with these inbox keys: the one of the current bundle and those of earlier ones
    /// that are still about. At most eight are tried.
    pub fn new(identity_key: &[u8; 32], keys: Vec<InboxKey>, replays: Replays) -> Self {
        const MOST_KEYS: usize = 8;
        let mut keys = keys;
        keys.truncate(MOST_KEYS);
        Self { address: InboxAddress::of(&ClientAddress::of_identity(identity_key)), keys, replays }
    }

    /// Where it is.
    pub const fn address(&self) -> &InboxAddress {
        &self.address
    }

    /// What has come, to be [stored](Replays::encode) together with an invitation.
    pub const fn replays(&self) -> &Replays {
        &self.replays
    }

    /// Opens an envelope that may be for this inbox, at this time in seconds since 1970, and [notes](Self::note) it as of somebody who is not known.
    pub fn open(&mut self, envelope: &Envelope, now: u64) -> Outcome<Result<Invitation, InboxError>> {
        let opened = self.look_at(envelope, now);
        if let Outcome::Decoded(Ok(invitation)) = &opened {
            self.note(invitation, false, now);
        }
        opened
    }

    /// Opens an envelope and notes nothing: so several threads can look at what somebody floods an inbox with, and what has no effect takes no memory.
    ///
    /// What is not for this inbox costs one hash. One that is genuine and comes too late, or again, is an `Err` inside what was decoded.
    pub fn look_at(&self, envelope: &Envelope, now: u64) -> Outcome<Result<Invitation, InboxError>> {
        self.read(envelope, now)
    }

    /// Notes an invitation that had an effect, so that it is not taken again. `is_known` says that the user has asked the sender, or is connected with them: of such people
    /// more is remembered, and no stranger takes anything of it.
    pub fn note(&mut self, invitation: &Invitation, is_known: bool, now: u64) {
        if let Some(id) = invitation.id {
            let sender = invitation.sender.bundle.content().identity_key;
            self.replays.note(sender, is_known, (invitation.expires, id), now);
        }
    }

    fn read(&self, envelope: &Envelope, now: u64) -> Outcome<Result<Invitation, InboxError>> {
        if !self.is_aimed_at(envelope) {
            return Outcome::NotForUs;
        }
        let EncryptedBytes::Hpke { encapsulated_key, .. } = &envelope.body else {
            return Outcome::Invalid(WireError::WrongScheme);
        };
        let Some((inbox_key, padded)) = self.decrypt(envelope) else {
            // It may be for another device of the same person.
            return Outcome::Invalid(WireError::Undecryptable);
        };
        let frame = match unpad(&padded) {
            Ok(frame) => EncryptedFrame::decode(frame, InboxV1::DESCRIPTOR.id),
            Err(error) => Outcome::Invalid(error),
        };
        frame.and_then(|frame| InboxV1::decode(&frame.frame)).and_then(|InboxFrame::Invitation(signed)| {
            let signed_bytes = statement(&self.address, &inbox_key, encapsulated_key, &signed.invitation);
            InvitationContent::decode(&signed.invitation)
                .map(|content| self.admit(content, &signed_bytes, &signed.signature, now))
        })
    }

    fn is_aimed_at(&self, Envelope { hint, salt, .. }: &Envelope) -> bool {
        *salt != Salt::NONE && Hint::salted(&self.address.conversation_id(), *salt) == *hint
    }

    /// What is in an envelope, and the public half of the key that has opened it.
    fn decrypt(&self, envelope: &Envelope) -> Option<([u8; 32], Zeroizing<Vec<u8>>)> {
        let EncryptedBytes::Hpke { encapsulated_key, ciphertext } = &envelope.body else { return None };
        let (info, bound) = (info(&self.address), bound(envelope.hint, envelope.salt));
        self.keys
            .iter()
            .find_map(|key| Some((key.public(), key.open(encapsulated_key, ciphertext, &info, &bound)?)))
    }

    fn admit(
        &self,
        content: InvitationContent,
        signed: &[u8],
        signature: &[u8; 64],
        now: u64,
    ) -> Result<Invitation, InboxError> {
        let InvitationContent { id, expires, sender_bundle, sender_device, invites_to } = content;
        in_time(expires, now)?;
        let bundle = Bundle::decode(&sender_bundle)?;
        self.replays.check(&bundle.content().identity_key, expires, id)?;
        if bundle.is_expired(now) {
            return Err(BundleError::Expired.into());
        }
        let index = usize::try_from(sender_device).unwrap_or(usize::MAX);
        let device = bundle.content().devices.get(index).ok_or(InboxError::NoDevice { index })?;
        if !verifies(&device.signature_key, SIGNATURE_LABEL, signed, signature) {
            return Err(InboxError::Signature);
        }
        Ok(Invitation { id: Some(id), sender: Contact { bundle, device: index }, expires, invites_to })
    }
}

fn in_time(expires: u64, now: u64) -> Result<(), InboxError> {
    match expires.checked_sub(now) {
        None | Some(0) => Err(InboxError::Expired),
        Some(seconds) if seconds > MAX_INVITATION_LIFETIME => {
            Err(InboxError::TooLong { seconds, max: MAX_INVITATION_LIFETIME })
        }
        Some(_) => Ok(()),
    }
}

/// What the HPKE key schedule is bound to.
fn info(address: &InboxAddress) -> Vec<u8> {
    [INFO_LABEL, address.as_bytes()].concat()
}

/// What the ciphertext is bound to.
fn bound(hint: Hint, salt: Salt) -> Vec<u8> {
    [&hint.as_bytes()[..], &salt.number().to_be_bytes()].concat()
}

/// What the sender's device signs.
fn statement(
    address: &InboxAddress,
    inbox_key: &[u8; 32],
    encapsulated_key: &[u8; 32],
    invitation: &[u8],
) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([&address.as_bytes()[..], inbox_key, encapsulated_key, invitation].concat())
}
