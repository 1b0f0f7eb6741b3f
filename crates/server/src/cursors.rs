//! Cursors: where a device stands in something that it reads in pages.
//!
//! A place is a position in the order of everything that the hub stored, for anybody. Who could read it would learn how much
//! others do, and a single difference tells: a request to somebody who has blocked one stores nothing. So a cursor is the place
//! encrypted, for one device and one thing that it reads. Nobody else can use it, and nobody can make one up.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the place: two positions of 8 bytes, big-endian; encrypted with AES-256-GCM-SIV (RFC 8452) |
//! | 16 | the tag, over the place and over whose cursor it is, and of what |
//!
//! Written in base64 for URLs, without padding. The nonce is always the same. That is what this cipher is made for: all that
//! shows is whether two cursors of a device are of the same place, which are then the same text.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tertulia_api::UserDevice;
use tertulia_domain::ConversationId;

use crate::storage::Position;

/// The salt of the derivation, so that what follows from the hub's key here follows from it nowhere else.
const SALT: &[u8] = b"Tertulia hub 1";
const KEY: &[u8] = b"cursors";

/// Bytes of a place.
const PLACE_BYTES: usize = 16;
/// Bytes of the tag.
const TAG_BYTES: usize = 16;
/// Characters of a cursor: 6 bits in each.
const CURSOR_LENGTH: usize = ((PLACE_BYTES + TAG_BYTES) * 8).div_ceil(6);
/// Bytes of what a cursor is bound to: a kind, a user, a device, a conversation.
const BOUND_BYTES: usize = 1 + 16 + 8 + 16;

/// Up to where a reader has everything, but for what it was told that it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// It has read up to here.
    pub(crate) position: Position,
    /// It knows that up to here entries are missing; never before `position`.
    pub(crate) aware: Position,
}

impl Place {
    /// The place of the same reader, who has read on.
    pub(crate) fn at(self, position: Position) -> Self {
        Self { position, aware: self.aware.max(position) }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { position, aware: position }
    }
}

/// What a cursor is a place in. A cursor is good for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The events of a device.
    Events(UserDevice),
    /// What a conversation's log has from before a device's user came.
    History(UserDevice, ConversationId),
}

impl Reading {
    fn bound(self) -> [u8; BOUND_BYTES] {
        let (kind, UserDevice { user, device }, conversation) = match self {
            Self::Events(device) => (1, device, [0; 16]),
            Self::History(device, conversation) => (2, device, *conversation.as_bytes()),
        };
        let mut bound = [0; BOUND_BYTES];
        bound[0] = kind;
        bound[1..17].copy_from_slice(user.as_bytes());
        bound[17..25].copy_from_slice(&device.get().to_be_bytes());
        bound[25..].copy_from_slice(&conversation);
        bound
    }
}

/// Makes cursors and reads them, with a key that all nodes of a hub have.
#[derive(Debug)]
pub(crate) struct Cursors(LessSafeKey);

impl Cursors {
    /// Those of the hub with this secret.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let key = key.expand(&[KEY], &AES_256_GCM_SIV).map(UnboundKey::from);
        Self(LessSafeKey::new(key.expect("a key is less than 255 hashes")))
    }

    /// The cursor after a place.
    pub(crate) fn cursor(&self, reading: Reading, place: impl Into<Place>) -> String {
        let Place { position, aware } = place.into();
        let mut bytes = Vec::with_capacity(PLACE_BYTES + TAG_BYTES);
        bytes.extend(position.to_be_bytes());
        bytes.extend(aware.to_be_bytes());
        self.0
            .seal_in_place_append_tag(nonce(), Aad::from(reading.bound()), &mut bytes)
            .expect("16 bytes are less than the cipher takes");
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a cursor stands for; none if this hub has not given it to this device for this.
    pub(crate) fn place(&self, reading: Reading, cursor: &str) -> Option<Place> {
        if cursor.len() != CURSOR_LENGTH {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let place = self.0.open_in_place(nonce(), Aad::from(reading.bound()), &mut bytes).ok()?;
        let (position, aware) = place.split_first_chunk::<8>()?;
        let (position, aware) =
            (Position::from_be_bytes(*position), Position::from_be_bytes(aware.try_into().ok()?));
        Some(Place { position, aware })
    }
}

/// The nonce of every cursor: see the module.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Cursors, Place, Position, Reading};
    use std::collections::BTreeSet;
    use tertulia_api::UserDevice;
    use tertulia_domain::{ConversationId, DeviceId, UserId};

    fn device(user: u8, device: u64) -> UserDevice {
        UserDevice { user: UserId::from_bytes([user; 16]), device: DeviceId::new(device) }
    }

    /// All that a hub could take for another: each differs from the first in one thing.
    fn readings() -> [Reading; 6] {
        let conversation = ConversationId::from_bytes;
        [
            Reading::Events(device(1, 1)),
            Reading::Events(device(2, 1)),
            Reading::Events(device(1, 2)),
            Reading::History(device(1, 1), conversation([0; 16])),
            Reading::History(device(1, 1), conversation([1; 16])),
            Reading::History(device(1, 2), conversation([1; 16])),
        ]
    }

    #[test]
    fn a_cursor_is_a_place_for_one_device_and_one_thing_that_it_reads() {
        let (cursors, same, other) = (Cursors::new(&[7; 64]), Cursors::new(&[7; 64]), Cursors::new(&[8; 64]));
        let places = [0, 7, Position::MAX].map(Place::from);
        for place in places.into_iter().chain([Place { position: 3, aware: 9 }]) {
            for of in readings() {
                let cursor = cursors.cursor(of, place);
                for with in readings() {
                    assert_eq!(cursors.place(with, &cursor), (with == of).then_some(place), "{with:?}");
                }
                assert_eq!(same.place(of, &cursor), Some(place), "another node of the hub");
                assert_eq!(other.place(of, &cursor), None, "another hub");
            }
        }
    }

    #[test]
    fn a_cursor_that_was_changed_in_one_character_is_none() {
        let (cursors, of) = (Cursors::new(&[7; 64]), readings()[0]);
        let cursor = cursors.cursor(of, 7);
        for index in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(cursors.place(of, std::str::from_utf8(&changed).unwrap()), None, "{index}");
        }
        for text in ["", "p7", "p7~p9", "é", &cursor[1..], &format!("{cursor}A"), &format!("{cursor}=")] {
            assert_eq!(cursors.place(of, text), None, "{text}");
        }
    }

    #[test]
    fn cursors_tell_neither_order_nor_distance() {
        let cursors = Cursors::new(&[7; 64]);
        let made: Vec<String> = readings()
            .into_iter()
            .flat_map(|of| (0..50).map(move |at| (of, at)))
            .map(|(of, at)| cursors.cursor(of, at))
            .collect();
        let beginnings: BTreeSet<&str> = made.iter().map(|cursor| &cursor[..11]).collect();
        assert_eq!(beginnings.len(), made.len(), "not even 8 bytes of two are the same");
        assert!(!made[..50].is_sorted());
    }
}
