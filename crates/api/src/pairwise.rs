//! Pairwise messages: the keys that devices publish for them, and one ciphertext for each device.

use crate::{bytes::Base64, error::UserDevice};
use serde::{Deserialize, Serialize};
use tertulia_domain::{DeviceId, Protocol, UserId};
use utoipa::ToSchema;

/// A key that the device has signed, with the label `Tertulia pairwise key 1` in the form of RFC 9420 §5.1.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedPairwiseKey {
    /// A Curve25519 public key of 32 bytes.
    pub key: Base64,
    /// The signature, 64 bytes, over what the key is, the identity key, the key and the device's address.
    pub signature: Base64,
}

/// A key that is handed out once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseOneTimeKey {
    /// The device's number for it. Rises; a key whose number is not larger than one that was uploaded before is passed over.
    pub id: u64,
    /// The key.
    #[serde(flatten)]
    pub key: SignedPairwiseKey,
}

/// Keys of the calling device for pairwise sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseKeyUpload {
    /// Rises when the device has lost its state or was restored from a copy: all that it uploaded before is dropped then. An
    /// upload of an earlier incarnation changes nothing.
    pub incarnation: u64,
    /// The device's identity key, a Curve25519 public key of 32 bytes. It stays the same for good.
    pub identity_key: Base64,
    /// Keys that are handed out once each, at most 100 with those that the hub has.
    #[serde(default)]
    pub one_time_keys: Vec<PairwiseOneTimeKey>,
    /// The key that is handed out when there is no other, as often as need be. It replaces the last one, and belongs to the
    /// first upload of an incarnation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<SignedPairwiseKey>,
}

/// How many one-time keys of the calling device can still be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseKeyCount {
    /// One-time keys, the fallback key not counted.
    pub count: u32,
}

/// Asks for a key of each of these devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseKeyClaim {
    /// The devices, at most 500 in one request. Their users must each be the caller, connected with the caller, or in a
    /// conversation with the caller.
    pub devices: Vec<UserDevice>,
}

/// A key that was handed out. It is given to nobody else, unless it is the fallback key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedPairwiseKey {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The device's MLS signature key, an Ed25519 public key of 32 bytes, with which all its keys are signed.
    pub signature_key: Base64,
    /// The device's identity key.
    pub identity_key: Base64,
    /// The key.
    #[serde(flatten)]
    pub key: SignedPairwiseKey,
    /// Whether it is the fallback key.
    pub fallback: bool,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedPairwiseKeys {
    /// One for each device that has published keys.
    pub keys: Vec<ClaimedPairwiseKey>,
}

/// Whose devices a message may leave out: nobody's, everybody's, or those of some users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IgnoreMissing {
    /// Nobody's: when a device is missing, nothing is sent.
    #[default]
    Nobody,
    /// Everybody's.
    Everybody,
    /// Those of these users.
    #[schema(value_type = Vec<String>)]
    Users(Vec<UserId>),
}

impl IgnoreMissing {
    /// Whether it is the default.
    pub fn is_nobody(&self) -> bool {
        *self == Self::Nobody
    }
}

/// A ciphertext for one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseCiphertext {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// At most 65,536 bytes.
    pub ciphertext: Base64,
}

/// A message in a conversation whose protocol is pairwise or mixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseMessage {
    /// Whether it announces the conversation's name, which not every member may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announces_name: bool,
    /// One for each device of every member that has published keys, other than the sending device.
    pub ciphertexts: Vec<PairwiseCiphertext>,
    /// Whose devices the sender leaves out knowingly.
    #[serde(default, skip_serializing_if = "IgnoreMissing::is_nobody")]
    pub ignore_missing: IgnoreMissing,
}

/// A pairwise message was accepted. Sending the same bytes again gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairwiseAccepted {
    /// The message's number in the conversation's log.
    pub sequence: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// How the devices of the message differed from those that there are.
    #[serde(flatten)]
    pub mismatch: DeviceMismatch,
}

/// How the devices that a message was for differ from those of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceMismatch {
    /// Devices without a ciphertext, which the sender left out knowingly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<UserDevice>,
    /// Devices of who is no member, and the sending device: their ciphertexts were dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redundant: Vec<UserDevice>,
    /// Devices that members do not have (any more): their ciphertexts were dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<UserDevice>,
}

/// Changes the protocol of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProtocolUpdate {
    /// `mixed` or `mls`: from pairwise over mixed to mls, one step at a time and never back. Of a 1:1 also `pairwise`, before its
    /// first commit.
    #[schema(value_type = String, example = "mixed")]
    pub protocol: Protocol,
}

/// Adds users to a conversation whose protocol is pairwise. With MLS, members come by commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewMembers {
    /// The users, each connected with the caller. Those who are members already are passed over.
    #[schema(value_type = Vec<String>)]
    pub users: Vec<UserId>,
    /// The role that they get: `admin`, `member`, or one that the conversation's team defines; `wire_admin` and `wire_member` are
    /// taken too. `member` unless given. The caller's own role has all its actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "member")]
    pub role: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_keeps_its_form() {
        let (user, device) = (UserId::from_bytes([7; 16]), DeviceId::new(1));
        let ciphertexts = vec![PairwiseCiphertext { user, device, ciphertext: Base64(b"x".to_vec()) }];
        let plain = PairwiseMessage {
            announces_name: false,
            ciphertexts: ciphertexts.clone(),
            ignore_missing: IgnoreMissing::Nobody,
        };
        let full = PairwiseMessage {
            announces_name: true,
            ciphertexts,
            ignore_missing: IgnoreMissing::Users(vec![user]),
        };
        let written = [&plain, &full].map(|message| serde_json::to_string(message).unwrap());
        insta::assert_snapshot!(written.join("\n"));
        for (message, text) in [plain, full].into_iter().zip(written) {
            assert_eq!(serde_json::from_str::<PairwiseMessage>(&text).unwrap(), message);
        }
    }

    #[test]
    fn claimed_keys_keep_their_form() {
        let key = SignedPairwiseKey { key: Base64(vec![1]), signature: Base64(vec![2]) };
        let one_time = PairwiseOneTimeKey { id: 3, key: key.clone() };
        let claimed = ClaimedPairwiseKey {
            user: UserId::from_bytes([7; 16]),
            device: DeviceId::new(1),
            signature_key: Base64(vec![4]),
            identity_key: Base64(vec![5]),
            key,
            fallback: false,
        };
        let written = [serde_json::to_string(&one_time).unwrap(), serde_json::to_string(&claimed).unwrap()];
        insta::assert_snapshot!(written.join("\n"));
        assert_eq!(serde_json::from_str::<PairwiseOneTimeKey>(&written[0]).unwrap(), one_time);
        assert_eq!(serde_json::from_str::<ClaimedPairwiseKey>(&written[1]).unwrap(), claimed);
    }
}
