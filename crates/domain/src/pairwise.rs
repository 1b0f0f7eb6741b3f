//! Pairwise messages: for which devices there must be a ciphertext, and what a device's keys are signed as.

use std::collections::BTreeSet;

use crate::{
    ids::{DeviceAddress, DeviceId, UserId},
    signing::sign_content,
};

/// A device of a user.
pub type Recipient = (UserId, DeviceId);

/// Whose devices a message may leave out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IgnoreMissing {
    /// Nobody's.
    #[default]
    Nobody,
    /// Everybody's.
    Everybody,
    /// Those of these users.
    Users(BTreeSet<UserId>),
}

impl IgnoreMissing {
    fn covers(&self, user: UserId) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Users(users) => users.contains(&user),
        }
    }
}

/// How the devices that a message is for differ from those that it must be for. All in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Devices of members without a ciphertext, also those that may be ignored.
    pub missing: Vec<Recipient>,
    /// Ciphertexts for devices of who is no member, or for the sending device itself.
    pub redundant: Vec<Recipient>,
    /// Ciphertexts for devices that members do not have (any more).
    pub deleted: Vec<Recipient>,
    /// The devices to deliver to.
    pub deliver: Vec<Recipient>,
    /// Whether the message is to be sent: every missing device is one that the sender leaves out knowingly.
    pub is_complete: bool,
}

/// Compares the devices for which the sender made ciphertexts with those of the members.
///
/// `existing` are the devices of the members. `addressed` are those in the message. What is redundant or deleted is not
/// delivered, and keeps nothing from being sent: it does no harm, and the sender learns of it.
pub fn compare(
    sender: Recipient,
    members: &BTreeSet<UserId>,
    existing: &BTreeSet<Recipient>,
    addressed: &BTreeSet<Recipient>,
    ignore: &IgnoreMissing,
) -> Comparison {
    let mut comparison = Comparison { is_complete: true, ..Comparison::default() };
    for &recipient in existing.iter().filter(|&&recipient| recipient != sender) {
        if addressed.contains(&recipient) {
            comparison.deliver.push(recipient);
        } else {
            comparison.missing.push(recipient);
            comparison.is_complete &= ignore.covers(recipient.0);
        }
    }
    for &recipient in addressed {
        if recipient == sender || !members.contains(&recipient.0) {
            comparison.redundant.push(recipient);
        } else if !existing.contains(&recipient) {
            comparison.deleted.push(recipient);
        }
    }
    comparison
}

/// What a key of a device for pairwise sessions is, and so what it is signed as. A key that is signed as one thing is not
/// valid as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedKey {
    /// The device's identity key.
    Identity,
    /// A key for one session.
    OneTime([u8; 32]),
    /// The key for who finds no other.
    Fallback([u8; 32]),
}

/// The label of these signatures. Changes with the form of [`key_statement`].
pub const KEY_LABEL: &str = "pairwise key 1";

impl SignedKey {
    const fn tag(self) -> u8 {
        match self {
            Self::Identity => 1,
            Self::OneTime(_) => 2,
            Self::Fallback(_) => 3,
        }
    }
}

/// What a device says of a key when it signs it, to be signed with the label [`KEY_LABEL`]: that it is a key of that sort, of
/// this device, to be used with this identity key.
pub fn key_statement(device: &DeviceAddress, identity_key: &[u8; 32], key: SignedKey) -> Vec<u8> {
    let mut statement = vec![key.tag()];
    statement.extend_from_slice(identity_key);
    if let SignedKey::OneTime(key) | SignedKey::Fallback(key) = key {
        statement.extend_from_slice(&key);
    }
    // Everything before it has a length that follows from the tag.
    statement.extend_from_slice(&device.to_identity());
    statement
}

/// The bytes over which the signature of a key is made.
pub fn signed_bytes(device: &DeviceAddress, identity_key: &[u8; 32], key: SignedKey) -> Vec<u8> {
    sign_content(KEY_LABEL, &key_statement(device, identity_key, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn user(n: u8) -> UserId {
        UserId::from_bytes([n; 16])
    }

    const fn device(user_number: u8, n: u64) -> Recipient {
        (user(user_number), DeviceId::new(n))
    }

    /// Alice, with a second device; Bob, with two; and Carol, who is no member.
    const SENDER: Recipient = device(1, 1);
    const SIBLING: Recipient = device(1, 2);
    const BOB_1: Recipient = device(2, 1);
    const BOB_2: Recipient = device(2, 2);
    const BOB_GONE: Recipient = device(2, 3);
    const CAROL: Recipient = device(3, 1);

    fn compared(addressed: &[Recipient], ignore: &IgnoreMissing) -> Comparison {
        let members = [user(1), user(2)].into();
        let existing = [SENDER, SIBLING, BOB_1, BOB_2].into();
        compare(SENDER, &members, &existing, &addressed.iter().copied().collect(), ignore)
    }

    #[test]
    fn one_ciphertext_per_device_of_every_member_but_the_sending_one_is_complete() {
        let all = [SIBLING, BOB_1, BOB_2];
        let expected = Comparison { deliver: all.into(), is_complete: true, ..Comparison::default() };
        assert_eq!(compared(&all, &IgnoreMissing::Nobody), expected);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_sent() {
        let compared = compared(&[BOB_1], &IgnoreMissing::Nobody);
        assert_eq!(compared.missing, [SIBLING, BOB_2]);
        assert!(!compared.is_complete);
    }

    #[test]
    fn missing_devices_are_ignored_of_all_or_of_the_named_users_only() {
        let named = |users: &[UserId]| IgnoreMissing::Users(users.iter().copied().collect());
        for (ignore, is_complete) in [
            (IgnoreMissing::Nobody, false),
            (IgnoreMissing::Everybody, true),
            (named(&[user(1), user(2)]), true),
            (named(&[user(2)]), false),
            (named(&[user(1)]), false),
            (named(&[]), false),
        ] {
            let compared = compared(&[BOB_1], &ignore);
            assert_eq!(compared.is_complete, is_complete, "{ignore:?}");
            assert_eq!(compared.missing, [SIBLING, BOB_2], "it is told all the same");
            assert_eq!(compared.deliver, [BOB_1]);
        }
    }

    #[test]
    fn a_device_that_a_member_has_no_more_is_deleted() {
        let compared = compared(&[SIBLING, BOB_1, BOB_2, BOB_GONE], &IgnoreMissing::Nobody);
        assert_eq!((&*compared.deleted, &*compared.redundant), (&[BOB_GONE][..], &[][..]));
        assert!(compared.is_complete);
        assert_eq!(compared.deliver, [SIBLING, BOB_1, BOB_2]);
    }

    #[test]
    fn a_device_of_who_is_no_member_and_the_sending_one_are_redundant() {
        let compared = compared(&[SENDER, SIBLING, BOB_1, BOB_2, CAROL], &IgnoreMissing::Nobody);
        assert_eq!((&*compared.redundant, &*compared.deleted), (&[SENDER, CAROL][..], &[][..]));
        assert!(compared.is_complete);
        assert_eq!(compared.deliver, [SIBLING, BOB_1, BOB_2]);
    }

    /// Every device is in one list exactly, whatever is addressed.
    #[test]
    fn over_all_addressed_sets_the_lists_divide_the_devices() {
        let universe = [SENDER, SIBLING, BOB_1, BOB_2, BOB_GONE, CAROL];
        for mask in 0..1_u32 << universe.len() {
            let addressed: Vec<_> =
                (0..universe.len()).filter(|bit| mask & (1 << bit) != 0).map(|bit| universe[bit]).collect();
            let compared = compared(&addressed, &IgnoreMissing::Nobody);
            for recipient in universe {
                let lists = [&compared.missing, &compared.redundant, &compared.deleted, &compared.deliver];
                let within = lists.map(|list| list.contains(&recipient));
                let is_addressed = addressed.contains(&recipient);
                let expected = match recipient {
                    SENDER | CAROL => [false, is_addressed, false, false],
                    BOB_GONE => [false, false, is_addressed, false],
                    _ => [!is_addressed, false, false, is_addressed],
                };
                assert_eq!(within, expected, "{recipient:?} of {addressed:?}");
            }
            assert_eq!(compared.is_complete, compared.missing.is_empty());
        }
    }

    #[test]
    fn a_key_is_signed_as_what_it_is_and_for_one_device() {
        let address =
            |n| DeviceAddress::new(user(1), DeviceId::new(n), "hub.example".parse().expect("a domain"));
        let statements: BTreeSet<Vec<u8>> = [
            key_statement(&address(1), &[1; 32], SignedKey::Identity),
            key_statement(&address(2), &[1; 32], SignedKey::Identity),
            key_statement(&address(1), &[2; 32], SignedKey::Identity),
            key_statement(&address(1), &[1; 32], SignedKey::OneTime([3; 32])),
            key_statement(&address(1), &[1; 32], SignedKey::OneTime([4; 32])),
            key_statement(&address(1), &[1; 32], SignedKey::Fallback([3; 32])),
        ]
        .into();
        assert_eq!(statements.len(), 6);
    }
}
