//! The types that a device knows.

use std::collections::BTreeMap;

use super::{BUILT_IN, ConversationType, Descriptor, DescriptorError, HUB, TypeId};

/// The types that a device knows: the built-in ones, and those of the application.
///
/// ```
/// use tertulia_conversation::types::{ConversationType as _, GroupV1, Registry};
///
/// let types = Registry::built_in();
/// assert_eq!(types.by_title("GroupV1"), Some(&GroupV1::DESCRIPTOR));
/// ```
#[derive(Debug, Clone)]
pub struct Registry {
    types: BTreeMap<TypeId, Descriptor>,
}

/// Why a type is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another type has this number. Give the new one another.
    #[error("{title} claims the number {id}, which is that of {taken_by}")]
    IdTaken {
        /// The type that was to be registered.
        title: &'static str,
        /// The number.
        id: TypeId,
        /// The type that has it.
        taken_by: &'static str,
    },
    /// Another type has this title. Give the new one another; a change of a type is a new version of it.
    #[error("{title} is the title of the type {taken_by} already, and was to be that of {id}")]
    TitleTaken {
        /// The title.
        title: &'static str,
        /// The number of the type that was to be registered.
        id: TypeId,
        /// The number of the type that has the title.
        taken_by: TypeId,
    },
    /// The number is one that is kept for this project's types. Take one from 0x8000 on.
    #[error("{title} claims the number {id}; those of applications begin with 0x8000")]
    Reserved {
        /// The type that was to be registered.
        title: &'static str,
        /// The number.
        id: TypeId,
    },
    /// The description is not complete. Say what is missing; in a constant [`Descriptor::complete`] has the compiler ask for it.
    #[error("{title} is not described completely: {cause}")]
    Incomplete {
        /// The type that was to be registered.
        title: &'static str,
        /// What is wrong.
        #[source]
        cause: DescriptorError,
    },
}

impl Registry {
    /// The types of this project: those that envelopes carry, and those that a hub carries.
    pub fn built_in() -> Self {
        let types = BUILT_IN.iter().chain(HUB).map(|descriptor| (descriptor.id, *descriptor));
        Self { types: types.collect() }
    }

    /// Adds a type of the application. Registering the very same type again changes nothing.
    pub fn register<T: ConversationType>(&mut self) -> Result<(), RegistryError> {
        let new = T::DESCRIPTOR;
        let Descriptor { title, id, .. } = new;
        new.check().map_err(|cause| RegistryError::Incomplete { title, cause })?;
        if let Some(known) = self.types.get(&id) {
            if *known == new {
                return Ok(());
            }
            return Err(RegistryError::IdTaken { title, id, taken_by: known.title });
        }
        if let Some(known) = self.by_title(title) {
            return Err(RegistryError::TitleTaken { title, id, taken_by: known.id });
        }
        if !id.is_of_application() {
            return Err(RegistryError::Reserved { title, id });
        }
        self.types.insert(id, new);
        Ok(())
    }

    /// The type with this number.
    pub fn get(&self, id: TypeId) -> Option<&Descriptor> {
        self.types.get(&id)
    }

    /// The type with this title.
    pub fn by_title(&self, title: &str) -> Option<&Descriptor> {
        self.iter().find(|descriptor| descriptor.title == title)
    }

    /// All types, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Descriptor> {
        self.types.values()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{types::GroupV1, wire::Outcome};

    /// A type of an application that says what the group says, with this number and title.
    macro_rules! own_type {
        ($name:ident, $title:literal, $id:literal) => {
            struct $name;
            impl ConversationType for $name {
                const DESCRIPTOR: Descriptor =
                    Descriptor { title: $title, id: TypeId::new($id), ..GroupV1::DESCRIPTOR }.complete();
                type Frame = Vec<u8>;
                fn is_handshake(_: &Vec<u8>) -> bool {
                    false
                }
                fn encode(frame: &Vec<u8>) -> Vec<u8> {
                    frame.clone()
                }
                fn decode(bytes: &[u8]) -> Outcome<Vec<u8>> {
                    Outcome::Decoded(bytes.to_vec())
                }
            }
        };
    }
    own_type!(Chess, "ChessV1", 0x8001);
    own_type!(SameNumber, "GoV1", 0x8001);
    own_type!(SameTitle, "ChessV1", 0x8002);
    own_type!(Disguised, "GroupV1", 0x8003);
    own_type!(Reserved, "ChessV2", 0x0200);
    own_type!(Usurper, "ChessV2", 0x0004);

    #[test]
    fn a_type_of_the_application_stands_beside_the_built_in_ones() {
        let mut types = Registry::built_in();
        let before = types.iter().count();
        types.register::<Chess>().unwrap();
        types.register::<Chess>().unwrap();
        assert_eq!(types.iter().count(), before + 1);
        assert_eq!(types.get(TypeId::new(0x8001)).unwrap().title, "ChessV1");
    }

    #[test]
    fn two_types_do_not_share_a_number_or_a_title() {
        let mut types = Registry::built_in();
        types.register::<Chess>().unwrap();
        let id = TypeId::new;
        assert_eq!(
            types.register::<SameNumber>(),
            Err(RegistryError::IdTaken { title: "GoV1", id: id(0x8001), taken_by: "ChessV1" })
        );
        assert_eq!(
            types.register::<SameTitle>(),
            Err(RegistryError::TitleTaken { title: "ChessV1", id: id(0x8002), taken_by: id(0x8001) })
        );
        assert_eq!(
            types.register::<Disguised>(),
            Err(RegistryError::TitleTaken { title: "GroupV1", id: id(0x8003), taken_by: id(4) })
        );
        assert_eq!(
            types.register::<Reserved>(),
            Err(RegistryError::Reserved { title: "ChessV2", id: id(0x200) })
        );
        assert_eq!(
            types.register::<Usurper>(),
            Err(RegistryError::IdTaken { title: "ChessV2", id: id(4), taken_by: "GroupV1" })
        );
    }

    #[test]
    fn the_built_in_types_are_complete_and_do_not_clash() {
        let types = Registry::built_in();
        assert_eq!(types.iter().count(), BUILT_IN.len() + HUB.len());
        let mut titles: Vec<_> = types.iter().map(|descriptor| descriptor.title).collect();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), BUILT_IN.len() + HUB.len());
        for descriptor in types.iter() {
            assert_eq!(descriptor.check(), Ok(()), "{}", descriptor.title);
            assert!(!descriptor.id.is_of_application());
        }
    }
}
