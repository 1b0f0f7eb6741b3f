//! What a pending commit is for, as it is stored.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};

use crate::{ClientId, CommitIntent};

/// What a pending commit is for, as [`CommitIntent`] has it.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
#[repr(u8)]
pub(super) enum Intent {
    Members(MemberChanges) = 1,
    Update = 2,
    Proposals = 3,
    Credential = 4,
    History = 5,
    Join = 6,
}

#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(super) struct MemberChanges {
    add: Vec<Client>,
    remove: Vec<Client>,
}

#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(super) struct Client(#[mls_codec(with = "mls_rs_codec::byte_vec")] Vec<u8>);

impl From<CommitIntent> for Intent {
    fn from(intent: CommitIntent) -> Self {
        let clients =
            |ids: Vec<ClientId>| ids.into_iter().map(|id| Client(id.into_bytes())).collect::<Vec<_>>();
        match intent {
            CommitIntent::Members { add, remove } => {
                Self::Members(MemberChanges { add: clients(add), remove: clients(remove) })
            }
            CommitIntent::Update => Self::Update,
            CommitIntent::Proposals => Self::Proposals,
            CommitIntent::Credential => Self::Credential,
            CommitIntent::History => Self::History,
            CommitIntent::Join => Self::Join,
        }
    }
}

impl From<&Intent> for CommitIntent {
    fn from(intent: &Intent) -> Self {
        let ids = |clients: &[Client]| clients.iter().map(|client| ClientId::from(&client.0[..])).collect();
        match intent {
            Intent::Members(MemberChanges { add, remove }) => {
                Self::Members { add: ids(add), remove: ids(remove) }
            }
            Intent::Update => Self::Update,
            Intent::Proposals => Self::Proposals,
            Intent::Credential => Self::Credential,
            Intent::History => Self::History,
            Intent::Join => Self::Join,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_is_the_released_one() {
        let members = CommitIntent::Members {
            add: vec![ClientId::from("a"), ClientId::from("bc")],
            remove: vec![ClientId::from("d")],
        };
        for (intent, expected) in [
            (members, "01050161026263020164"),
            (CommitIntent::Update, "02"),
            (CommitIntent::Proposals, "03"),
            (CommitIntent::Credential, "04"),
            (CommitIntent::History, "05"),
            (CommitIntent::Join, "06"),
        ] {
            let bytes = Intent::from(intent.clone()).mls_encode_to_vec().unwrap();
            assert_eq!(hex::encode(&bytes), expected);
            let read = Intent::mls_decode(&mut &bytes[..]).unwrap();
            assert_eq!(CommitIntent::from(&read), intent);
        }
    }
}
