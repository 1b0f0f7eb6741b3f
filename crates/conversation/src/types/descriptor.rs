//! The parts of a conversation type's description.

use std::fmt;

use serde::Serialize;

/// The number of a conversation type, unique among all that a device knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TypeId(u16);

impl TypeId {
    /// The first number that applications can give their own types; those below are this project's.
    pub const FIRST_OF_APPLICATIONS: u16 = 0x8000;

    /// The type with this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether the number is of those that applications give their own types.
    pub const fn is_of_application(self) -> bool {
        self.0 >= Self::FIRST_OF_APPLICATIONS
    }

    /// The two bytes by which it goes into hashes and keys, in network order.
    pub const fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

/// All that defines a conversation type. Every field has to be given, and [`complete`](Self::complete) refuses an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// The title of the specification, which names the type: letters and digits, ending with `V` and the version.
    pub title: &'static str,
    /// Its number.
    pub id: TypeId,
    /// What it is for, in one sentence.
    pub summary: &'static str,
    /// What brings its messages.
    pub carrier: Carrier,
    /// How they are encrypted.
    pub encryption: Encryption,
    /// All that can be said in it.
    pub frames: &'static [FrameKind],
    /// How frames become bytes.
    pub encoding: Encoding,
    /// Where messages are left and found.
    pub topics: Topics,
    /// How the ids of its conversations are made.
    pub ids: Ids,
    /// How a receiver finds the conversation that an envelope belongs to.
    pub hints: Hints,
    /// Who can be in it.
    pub members: Members,
    /// What it protects, and what not.
    pub guarantees: Guarantees,
}

/// What brings the messages of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Carrier {
    /// Envelopes, over anything that can carry bytes: a relay, peers, a hub that is used as a relay.
    Envelopes,
    /// A hub that knows the conversation and its members, and orders its messages.
    Hub,
    /// Envelopes in a home without an account, and a hub in one with an account. What a description says of hints, ids and topics is so in
    /// envelopes; a hub knows the conversation by an id that [tells nothing](crate::hub_conversation_id) of the type.
    Either,
}

impl Carrier {
    /// As tables show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Envelopes => "envelopes",
            Self::Hub => "a hub",
            Self::Either => "envelopes or a hub",
        }
    }
}

/// How messages are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Encryption {
    /// The scheme whose keys members have and others do not.
    pub scheme: Scheme,
    /// What stands around it.
    pub outer: Outer,
    /// The algorithms, and where keys come from.
    pub details: &'static str,
}

/// The scheme that encrypts content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scheme {
    /// Hybrid public key encryption (RFC 9180) to a published key.
    Hpke,
    /// A Double Ratchet between two devices.
    DoubleRatchet,
    /// Messaging Layer Security (RFC 9420).
    Mls,
    /// One's own, of an application.
    Own,
}

impl Scheme {
    /// As tables show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hpke => "HPKE",
            Self::DoubleRatchet => "Double Ratchet",
            Self::Mls => "MLS",
            Self::Own => "its own",
        }
    }
}

/// What stands around the scheme's own messages, so that nobody sees which conversation and epoch they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outer {
    /// Nothing: the carrier sees them as they are.
    None,
    /// Nothing more is needed, since the scheme hides all.
    Included,
    /// An AEAD under a key from the epoch's exported secret.
    EpochKey,
}

/// One kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FrameKind {
    /// Its name.
    pub name: &'static str,
    /// The number of its field in the type's frame message. 0 where the carrier has another way to tell frames apart.
    pub number: u32,
    /// What it carries.
    pub carries: &'static str,
    /// Whether it changes who is in the conversation or its keys. Its hint is then of the handshake kind.
    pub is_handshake: bool,
}

/// How frames become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// Protocol Buffers 3 in the canonical form, inside `EncryptedFrame`, padded to a size class.
    Protobuf,
    /// The application's own, inside `EncryptedFrame`, padded to a size class.
    Own,
    /// MLS messages as RFC 9420 writes them, in the bodies of the hub's API.
    Mls,
    /// One ciphertext for each device, in JSON in the bodies of the hub's API.
    PerDevice,
}

/// Where messages are left and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Topics {
    /// The bucket that the receiver's inbox address falls into.
    Inbox,
    /// The bucket that the conversation's id falls into.
    Conversation,
    /// The conversation's log at its hub.
    Log,
}

/// How ids are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ids {
    /// From the type's number and a secret that only members know.
    CreationSecret,
    /// From the type's number and the receiver's inbox address, which whoever has the bundle knows.
    InboxAddress,
    /// Random.
    Random,
    /// The user's own id.
    User,
    /// From both users' ids and domains.
    BothUsers,
    /// From the parent's id and a name.
    ParentAndName,
}

/// How a receiver finds the conversation of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Hints {
    /// The carrier names the conversation.
    None,
    /// A salted hash of the conversation's id: every conversation has to be tried.
    Salted,
    /// A value per message from a chain per sender, looked up in a table.
    Ratcheted,
}

impl Hints {
    /// As tables show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Salted => "salted",
            Self::Ratcheted => "ratcheted",
        }
    }
}

/// Who can be in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Members {
    /// Fewest users.
    pub min_users: u32,
    /// Most users.
    pub max_users: u32,
    /// Most devices of all of them.
    pub max_devices: u32,
    /// Who they are, and how they come and go.
    pub rules: &'static str,
}

/// What a type protects. Each is a sentence, also where the answer is "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Guarantees {
    /// Who can read content.
    pub confidentiality: &'static str,
    /// What a reader knows of who wrote it.
    pub authentication: &'static str,
    /// What stolen keys tell of what was said before.
    pub forward_secrecy: &'static str,
    /// What stolen keys tell of what is said later.
    pub post_compromise: &'static str,
    /// Whether an observer can tell that two messages are of one conversation.
    pub unlinkability: &'static str,
    /// Whether a reader can prove to others what was written.
    pub deniability: &'static str,
    /// What shows nevertheless.
    pub leaks: &'static [&'static str],
}

/// Why a description is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The title does not name a type and a version. Call it like `ChessV1`: letters and digits, at most 64, a capital first,
    /// `V` and the version last.
    #[error("a type's title is of letters and digits and ends with V and a version, as in ChessV1")]
    Title,
    /// A text or a list is empty. Say what the type does in this respect, also if it is nothing.
    #[error("the description lacks its {0}")]
    Empty(&'static str),
    /// Two frames have one number, or one has none though frames are told apart by it. Number them from 1.
    #[error("the frames are not numbered so that each has its own number")]
    FrameNumbers,
    /// The least number of users or devices is above the most, or is zero. Correct the limits.
    #[error("the limits of members contradict each other")]
    Limits,
    /// A type that envelopes carry has no hints, or one that a hub carries has some. Choose those that fit the carrier.
    #[error("the hints do not fit what carries the messages")]
    HintsOfCarrier,
}

impl Descriptor {
    /// The description itself, if it is complete. In a constant an incomplete one is an error of the compiler:
    ///
    /// ```compile_fail
    /// use tertulia_conversation::types::{Descriptor, GroupV1, ConversationType as _};
    /// const SILENT: Descriptor = Descriptor { summary: "", ..GroupV1::DESCRIPTOR }.complete();
    /// # fn main() { let _ = SILENT; }
    /// ```
    ///
    /// # Panics
    ///
    /// If it is not. Outside constants use [`check`](Self::check).
    #[must_use]
    pub const fn complete(self) -> Self {
        match self.check() {
            Ok(()) => self,
            Err(DescriptorError::Title) => panic!("the title is not one like ChessV1"),
            Err(DescriptorError::Empty(_)) => panic!("a text or a list of the description is empty"),
            Err(DescriptorError::FrameNumbers) => {
                panic!("the frames are not numbered from 1, each by its own")
            }
            Err(DescriptorError::Limits) => panic!("the limits of members contradict each other"),
            Err(DescriptorError::HintsOfCarrier) => panic!("the hints do not fit the carrier"),
        }
    }

    /// Whether it is complete.
    pub const fn check(&self) -> Result<(), DescriptorError> {
        if !is_title(self.title.as_bytes()) {
            return Err(DescriptorError::Title);
        }
        if let Some(what) = self.missing() {
            return Err(DescriptorError::Empty(what));
        }
        let by_number = !matches!(self.carrier, Carrier::Hub);
        if by_number && !are_numbered(self.frames) {
            return Err(DescriptorError::FrameNumbers);
        }
        let Members { min_users, max_users, max_devices, .. } = self.members;
        if min_users == 0 || min_users > max_users || max_devices < min_users {
            return Err(DescriptorError::Limits);
        }
        if by_number == matches!(self.hints, Hints::None) {
            return Err(DescriptorError::HintsOfCarrier);
        }
        Ok(())
    }

    const fn missing(&self) -> Option<&'static str> {
        let Guarantees { confidentiality, authentication, forward_secrecy, post_compromise, .. } =
            self.guarantees;
        let texts: [(&'static str, &'static str); 10] = [
            (self.summary, "summary"),
            (self.encryption.details, "details of the encryption"),
            (self.members.rules, "rules of membership"),
            (confidentiality, "confidentiality"),
            (authentication, "authentication"),
            (forward_secrecy, "forward secrecy"),
            (post_compromise, "post-compromise security"),
            (self.guarantees.unlinkability, "unlinkability"),
            (self.guarantees.deniability, "deniability"),
            (if self.guarantees.leaks.is_empty() { "" } else { "some" }, "leaks"),
        ];
        let mut index = 0;
        while index < texts.len() {
            if texts[index].0.is_empty() {
                return Some(texts[index].1);
            }
            index += 1;
        }
        if self.frames.is_empty() { Some("frames") } else { None }
    }
}

const fn is_title(title: &[u8]) -> bool {
    if title.is_empty() || title.len() > 64 || !title[0].is_ascii_uppercase() {
        return false;
    }
    let mut index = 0;
    while index < title.len() {
        if !title[index].is_ascii_alphanumeric() {
            return false;
        }
        index += 1;
    }
    let mut version = title.len();
    while version > 0 && title[version - 1].is_ascii_digit() {
        version -= 1;
    }
    // A letter before the V, a version behind it that does not begin with zero.
    version >= 2 && version < title.len() && title[version - 1] == b'V' && title[version] != b'0'
}

const fn are_numbered(frames: &[FrameKind]) -> bool {
    let mut index = 0;
    while index < frames.len() {
        let mut earlier = 0;
        while earlier < index {
            if frames[earlier].number == frames[index].number {
                return false;
            }
            earlier += 1;
        }
        if frames[index].number == 0 || frames[index].name.is_empty() || frames[index].carries.is_empty() {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ConversationType as _, GroupV1};

    #[test]
    fn a_title_names_a_type_and_a_version() {
        for good in ["InboxV1", "ChessV12", "X25519V3"] {
            assert!(is_title(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "V1",
            "Inbox",
            "inboxV1",
            "InboxV",
            "InboxV0",
            "InboxV01",
            "Inbox V1",
            "InboxV1\n",
            "ÉcoleV1",
        ] {
            assert!(!is_title(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn what_lacks_something_says_what() {
        const TWICE: [FrameKind; 2] = [GroupV1::DESCRIPTOR.frames[0]; 2];
        let group = GroupV1::DESCRIPTOR;
        assert_eq!(Descriptor { title: "Group", ..group }.check(), Err(DescriptorError::Title));
        assert_eq!(Descriptor { frames: &[], ..group }.check(), Err(DescriptorError::Empty("frames")));
        let guarantees = Guarantees { leaks: &[], ..group.guarantees };
        assert_eq!(Descriptor { guarantees, ..group }.check(), Err(DescriptorError::Empty("leaks")));
        assert_eq!(Descriptor { frames: &TWICE, ..group }.check(), Err(DescriptorError::FrameNumbers));
        let members = Members { max_users: 0, ..group.members };
        assert_eq!(Descriptor { members, ..group }.check(), Err(DescriptorError::Limits));
        assert_eq!(Descriptor { hints: Hints::None, ..group }.check(), Err(DescriptorError::HintsOfCarrier));
    }
}
