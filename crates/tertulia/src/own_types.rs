//! Types of conversations of the application's own: which of them this client knows, and what becomes of their frames.

use crate::{Client, Error, Result, apply::Applied};
use std::{collections::BTreeMap, fmt};
use tertulia_content::MimiContent;
use tertulia_conversation::{
    hub_conversation_id,
    types::{
        Carrier, ConversationType, Descriptor, Encoding, GroupV1, Hints, Ids, Outer, Registry, RegistryError,
        Scheme, Topics, TypeId,
    },
    wire::{Outcome, WireError},
};
use tertulia_domain::ConversationId;
use tertulia_store::{EnvelopedRecord, OwnTypeRecord};

/// Why a type of an application's own cannot be used. It is told when a home is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// The type clashes with another, or is not described completely. See the error inside.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The description asks for something that nothing here carries. Change it to what is possible, as `OWN_ON_MLS` has it.
    #[error("{title} is described with {part} that nothing here carries; possible is {possible}")]
    NotCarried {
        /// The type.
        title: &'static str,
        /// The part of the description.
        part: &'static str,
        /// What can be carried.
        possible: &'static str,
    },
}

/// The types of the application's own that a client knows.
#[derive(Clone)]
pub(crate) struct OwnTypes {
    all: Registry,
    own: BTreeMap<TypeId, KnownType>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct KnownType {
    pub(crate) descriptor: &'static Descriptor,
    /// What becomes of a frame's bytes.
    decode: fn(&[u8]) -> Outcome<()>,
}

impl Default for OwnTypes {
    fn default() -> Self {
        Self { all: Registry::built_in(), own: BTreeMap::new() }
    }
}

impl fmt::Debug for OwnTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.own.values().map(|own| own.descriptor.title)).finish()
    }
}

impl OwnTypes {
    pub(crate) fn register<T: ConversationType>(&mut self) -> Result<(), TypeError> {
        self.all.register::<T>()?;
        let descriptor = const { &T::DESCRIPTOR };
        if let Some((part, possible)) = not_carried(descriptor) {
            return Err(TypeError::NotCarried { title: descriptor.title, part, possible });
        }
        let known = KnownType { descriptor, decode: |bytes| T::decode(bytes).map(|_| ()) };
        self.own.entry(descriptor.id).or_insert(known);
        Ok(())
    }

    pub(crate) fn get(&self, id: TypeId) -> Option<&KnownType> {
        self.own.get(&id)
    }

    /// Whether it is an application's type that is not known here.
    pub(crate) fn is_to_come(&self, id: TypeId) -> bool {
        id.is_of_application() && self.get(id).is_none()
    }

    /// The type with this number as people know it.
    pub(crate) fn name(&self, id: TypeId) -> String {
        self.get(id).map_or_else(|| id.to_string(), |known| known.descriptor.title.to_owned())
    }
}

/// The part of a description that asks for something else than what is carried, and what could be asked for.
fn not_carried(of: &Descriptor) -> Option<(&'static str, &'static str)> {
    let group = &GroupV1::DESCRIPTOR.members;
    let parts = [
        (
            of.encryption.scheme == Scheme::Mls,
            "an encryption",
            "MLS, with a user or with a thousand; a Double Ratchet only the 1:1 of two who are connected has",
        ),
        (of.encryption.outer == Outer::EpochKey, "an outer encryption", "a key of the epoch"),
        (
            matches!(of.carrier, Carrier::Either | Carrier::Envelopes),
            "a carrier",
            "either, or envelopes only",
        ),
        (
            matches!(of.encoding, Encoding::Own | Encoding::Protobuf),
            "an encoding",
            "the application's own, or Protocol Buffers",
        ),
        (of.topics == Topics::Conversation, "topics", "the bucket of the conversation's id"),
        (of.ids == Ids::CreationSecret, "ids", "those from a creation secret"),
        (of.hints == Hints::Ratcheted, "hints", "ratcheted ones"),
        (
            !of.frames.iter().any(|frame| frame.is_handshake),
            "frames that change members or keys",
            "frames that do not, for members and keys are changed as in a group",
        ),
        (
            of.members.max_users <= group.max_users && of.members.max_devices <= group.max_devices,
            "limits",
            "as many users and devices as a group without a hub has",
        ),
    ];
    parts.into_iter().find(|(is_carried, ..)| !is_carried).map(|(_, part, possible)| (part, possible))
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFate {
    /// It is read and shown.
    Kept,
    /// A later version of the application may read it: it is kept, and shown as such.
    Unsupported,
    /// The type passes it over.
    NotForUs,
    /// It is wrong.
    Invalid(WireError),
}

impl FrameFate {
    /// Whether nothing of it is kept.
    pub(crate) const fn is_dropped(self) -> bool {
        matches!(self, Self::NotForUs | Self::Invalid(_))
    }
}

impl Applied {
    /// Counts what became of the frame in a message, if it has one or should have.
    pub(crate) fn count_frame(&mut self, conversation: ConversationId, fate: Option<FrameFate>) {
        match fate {
            None | Some(FrameFate::Kept) => {}
            Some(FrameFate::Unsupported) => self.unsupported += 1,
            Some(FrameFate::NotForUs) => self.others += 1,
            Some(FrameFate::Invalid(error)) => {
                tracing::warn!(conversation = %conversation.short(), %error, "a frame was dropped");
                self.invalid += 1;
            }
        }
    }
}

/// Of which type of an application's own a conversation is that travels in envelopes, if it is of one.
pub(crate) fn own_type_of(record: &EnvelopedRecord) -> Option<OwnTypeRecord> {
    TypeId::new(record.conversation_type).is_of_application().then(|| OwnTypeRecord {
        conversation: record.conversation,
        conversation_type: record.conversation_type,
        creation_secret: record.creation_secret.clone(),
    })
}

impl Client {
    pub(crate) fn types(&self) -> &OwnTypes {
        &self.inner().types
    }

    /// The type, if the application has registered it.
    pub(crate) fn known_type<T: ConversationType>(&self) -> Result<&KnownType> {
        let known = self.types().get(T::DESCRIPTOR.id).filter(|known| *known.descriptor == T::DESCRIPTOR);
        known.ok_or(Error::TypeNotRegistered { title: T::DESCRIPTOR.title })
    }

    /// Most users in a conversation of this type.
    pub(crate) fn most_members(&self, of: TypeId) -> usize {
        let descriptor = self.types().get(of).map_or(&GroupV1::DESCRIPTOR, |known| known.descriptor);
        usize::try_from(descriptor.members.max_users).unwrap_or(usize::MAX)
    }

    /// Of which type of an application's own a message has shown its conversation to be, where a hub carries it: the id proves it.
    pub(crate) fn proven_type(
        &self,
        id: ConversationId,
        content: &MimiContent,
    ) -> Result<Option<OwnTypeRecord>> {
        let Some((number, secret)) = content.conversation_type() else { return Ok(None) };
        let of = TypeId::new(number);
        let is_pairwise = || {
            let row = self.inner().store.read(|r| r.conversation(id))?;
            Ok::<_, Error>(row.is_some_and(|row| row.record.protocol.sends_pairwise()))
        };
        if !of.is_of_application() || hub_conversation_id(of, &secret) != id || is_pairwise()? {
            return Ok(None);
        }
        let creation_secret = zeroize::Zeroizing::new(secret);
        Ok(Some(OwnTypeRecord { conversation: id, conversation_type: number, creation_secret }))
    }

    /// What becomes of a message that is a frame, or is in a conversation where only frames say something; none for any other.
    pub(crate) fn judge(
        &self,
        id: ConversationId,
        proven: Option<&OwnTypeRecord>,
        content: &MimiContent,
    ) -> Result<Option<FrameFate>> {
        let known = match proven {
            Some(proven) => Some(proven.conversation_type),
            None => self.inner().store.read(|r| r.own_type(id))?.map(|own| own.conversation_type),
        };
        Ok(match (known, content.as_frame()) {
            (None, None) => None,
            (None, Some(_)) => {
                let missing = WireError::Missing { what: "conversation of a frame", part: "type" };
                Some(FrameFate::Invalid(missing))
            }
            (Some(_), None) => {
                let missing = WireError::Missing { what: "text", part: "frame" };
                content.text().map(|_| FrameFate::Invalid(missing))
            }
            (Some(expected), Some((got, _))) if got != expected => {
                Some(FrameFate::Invalid(WireError::WrongType { got, expected }))
            }
            (Some(of), Some((_, frame))) => Some(match self.types().get(TypeId::new(of)) {
                None => FrameFate::Unsupported,
                Some(known) => match (known.decode)(frame) {
                    Outcome::Decoded(()) => FrameFate::Kept,
                    Outcome::Unsupported(_) => FrameFate::Unsupported,
                    Outcome::NotForUs => FrameFate::NotForUs,
                    Outcome::Invalid(error) => FrameFate::Invalid(error),
                },
            }),
        })
    }

    /// The message, and beside what it says the type of its conversation, where nothing else tells it to those who come.
    pub(crate) fn with_own_type(&self, id: ConversationId, content: MimiContent) -> Result<MimiContent> {
        let own = self.inner().store.read(|r| r.own_type(id))?;
        Ok(match own {
            Some(own) if !self.is_enveloped(id)? => {
                content.with_conversation_type(own.conversation_type, &own.creation_secret)
            }
            _ => content,
        })
    }
}

#[cfg(test)]
mod tests;
