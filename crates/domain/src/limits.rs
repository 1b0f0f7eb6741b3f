//! Bounds that clients keep and hubs enforce, each with its reason. A hub may be configured to allow less.
//!
//! Lengths of names are with their types: [`Handle`](crate::ids::Handle), [`Domain`](crate::ids::Domain),
//! [`ConversationName`](crate::conversation::ConversationName).

use std::{ops::RangeInclusive, time::Duration};

/// Longest application message (an MLS `PrivateMessage`), in bytes.
///
/// Room for any text; files go separately, encrypted, and the message carries their key. A hub stores and sends each
/// message whole, and a client that catches up holds many at a time.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Most proposals that are pending in a group. Of those that the hub cannot read, most in an epoch.
///
/// Each has to be in the next commit, or be looked at for it; a member cannot be made to carry out thousands.
pub const MAX_PENDING_PROPOSALS: usize = 200;

/// Most subconversations of one conversation, counted by their names, whether or not anybody is in them.
///
/// An application needs a handful; the hub remembers each name for good, so that no group id comes twice.
pub const MAX_SUBCONVERSATIONS: u32 = 100;

/// Longest thing that a device tells its user's other devices, in bytes.
///
/// Flags and short lists; what is larger belongs into a message.
pub const MAX_OWN_DEVICE_BYTES: usize = 16 * 1024;

/// Longest commit bundle (commit, Welcome and `GroupInfo`), in bytes.
///
/// `GroupInfo` and Welcome each carry the ratchet tree, a few hundred bytes for a leaf with its share of the parents:
/// enough for groups of several thousand devices.
pub const MAX_COMMIT_BUNDLE_BYTES: usize = 8 * 1024 * 1024;

/// Longest key package, in bytes.
///
/// One with a basic credential has a few hundred; a chain of X.509 certificates takes a few thousand.
pub const MAX_KEY_PACKAGE_BYTES: usize = 16 * 1024;

/// Longest lifetime of a key package that clients add others by, however long a hub lets it be. For clocks that differ an hour comes
/// on top.
///
/// Who has its private key reads what its device is let into; after 84 days nobody has it any more. A device that was away for
/// longer is still added by its last-resort key package if it was renewed in that time.
pub const MAX_KEY_PACKAGE_LIFETIME: Duration = Duration::from_hours(84 * 24);

/// Most key packages in one upload, and most that a hub keeps for a device.
///
/// Each is used once, by somebody who adds the device to a group: enough for two hundred invitations between two visits.
pub const MAX_KEY_PACKAGES: usize = 200;

/// Key packages of a device at a hub below which its owner is told to make more.
///
/// So many invitations can still come before the last-resort one is used, which is used more than once.
pub const KEY_PACKAGES_LOW: u32 = 20;

/// One-time keys of a device at a hub below which its owner is told to make more.
///
/// So many sessions can still be begun before the fallback key is used, which is used more than once.
pub const ONE_TIME_KEYS_LOW: u32 = 20;

/// For how long a hub keeps events for devices that have not read them, unless it is configured otherwise: 28 days.
///
/// Longer than a holiday. A device that was away for longer misses what was said before, and goes on.
pub const EVENT_RETENTION: Duration = Duration::from_hours(28 * 24);

/// How long a guest is let in, unless the hub is configured otherwise: for a day's meeting.
pub const GUEST_LIFETIME: Duration = Duration::from_hours(24);

/// Longest time that a hub lets guests in for: 30 days.
///
/// Who stays longer has an account of their own: a guest cannot remove a lost device, nor come back with another.
pub const MAX_GUEST_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// Most devices of one user.
///
/// Every device is a leaf in every group of the user, and every change of a group costs by its leaves.
pub const MAX_DEVICES_PER_USER: usize = 8;

/// Most rows of one user that are `accepted` or `sent`.
///
/// It bounds how many strangers one account can write to, and the list that every device of the user loads.
pub const MAX_CONNECTIONS: usize = 1000;

/// Length of a password, in bytes of UTF-8.
///
/// Below 8 a password can be guessed however well it is hashed (NIST SP 800-63B, section 5.1.1.1). The upper bound
/// leaves room for any passphrase and keeps a log-in from being made costly by its length.
pub const PASSWORD_BYTES: RangeInclusive<usize> = 8..=1024;

/// Most users that a search finds.
///
/// Enough to choose from on a screen, and little enough that who wants to list everybody has to ask very often.
pub const MAX_FOUND: usize = 20;

/// Most members of a team.
///
/// Who joins or leaves is told to every member, in one transaction.
pub const MAX_TEAM_MEMBERS: usize = 500;

/// Most open invitations of a team.
pub const MAX_TEAM_INVITATIONS: usize = 100;

/// Most roles for conversations that a team defines.
pub const MAX_TEAM_ROLES: usize = 100;

/// Most channels of a team.
///
/// Everybody in the team is shown all of them, in one answer.
pub const MAX_TEAM_CHANNELS: usize = 500;

/// Longest request body that is neither a message nor a commit bundle nor key packages, in bytes.
///
/// The largest such body names a few hundred users.
pub const MAX_JSON_BYTES: usize = 64 * 1024;

/// Most users named in one request, as when a group is made or members are added.
///
/// Adding costs the committer a seal for each new device, and large additions in one commit cost more than by their
/// number; a larger group is made by several.
pub const MAX_USERS_PER_REQUEST: usize = 500;

/// Longest ciphertext for one device in a pairwise message, in bytes.
///
/// A pairwise message has one for every device, so a text of this length in a group of a hundred takes megabytes. What is
/// longer belongs into a file, or into a conversation on MLS.
pub const MAX_PAIRWISE_CIPHERTEXT_BYTES: usize = 64 * 1024;

/// Most members of a conversation whose protocol is pairwise.
///
/// The cost of every message grows with the devices of all members; MLS is made for larger groups.
pub const MAX_PAIRWISE_MEMBERS: usize = 128;

/// Most devices that one pairwise message is for: all that so many members can have.
pub const MAX_PAIRWISE_RECIPIENTS: usize = MAX_PAIRWISE_MEMBERS * MAX_DEVICES_PER_USER;

/// Longest pairwise message with all its ciphertexts, in bytes of JSON.
pub const MAX_PAIRWISE_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Most one-time keys for pairwise sessions that a hub keeps for a device, and most in one upload.
///
/// The library at the other end recommends to publish 50. A device keeps the private halves of far more, so that none
/// is forgotten while a message that used it is on its way.
pub const MAX_ONE_TIME_KEYS: usize = 100;
