//! The chains of ratcheted hints.

use zeroize::Zeroizing;

use super::{APPLICATION_WINDOW, HANDSHAKE_WINDOW, Hint};
use crate::{
    crypto::{HmacSha256, hmac, mac},
    epoch::EpochSecrets,
};

const LABEL: &[u8; 16] = b"tertulia/hint/v1";

/// What a hint is for. Handshakes have hints of their own, so that many messages do not push a commit out of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Content and all that changes nothing.
    Application,
    /// What changes members or keys.
    Handshake,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Application, Self::Handshake];

    /// How many hints are known in advance.
    pub const fn window(self) -> u32 {
        match self {
            Self::Application => APPLICATION_WINDOW,
            Self::Handshake => HANDSHAKE_WINDOW,
        }
    }

    /// The byte by which it goes into keys.
    const fn tag(self) -> u8 {
        match self {
            Self::Application => 1,
            Self::Handshake => 2,
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Application => 0,
            Self::Handshake => 1,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Application => "messages",
            Self::Handshake => "handshakes",
        }
    }
}

/// The chains of an epoch: `K = HMAC-SHA256(hint secret, label ‖ kind ‖ sender)`.
pub(crate) struct Chains(HmacSha256);

/// The keys of a sender's two chains. They are kept, since making them would be half the work of looking a hint up; what HMAC makes of them is
/// not, since it takes more than twice the memory. Wiped when dropped.
#[derive(Default)]
pub(crate) struct ChainKeys(Zeroizing<[[u8; 32]; 2]>);

/// The chain of one sender and kind: `hint = HMAC-SHA256(K, generation)`, the first 16 bytes.
pub(crate) struct Chain(HmacSha256);

impl Chains {
    pub(crate) fn of(secrets: &EpochSecrets) -> Self {
        Self(hmac(&secrets.hint))
    }

    /// Writes a sender's keys where they stay, so that no copy of them is left behind.
    pub(crate) fn write_keys(&self, sender: u32, keys: &mut ChainKeys) {
        for kind in Kind::BOTH {
            let mut input = [0; LABEL.len() + 1 + 4];
            input[..LABEL.len()].copy_from_slice(LABEL);
            input[LABEL.len()] = kind.tag();
            input[LABEL.len() + 1..].copy_from_slice(&sender.to_be_bytes());
            keys.0[kind.index()] = mac(&self.0, &input);
        }
    }

    pub(crate) fn chain(&self, kind: Kind, sender: u32) -> Chain {
        let mut keys = ChainKeys::default();
        self.write_keys(sender, &mut keys);
        keys.chain(kind)
    }
}

impl ChainKeys {
    pub(crate) fn chain(&self, kind: Kind) -> Chain {
        Chain(hmac(&self.0[kind.index()]))
    }
}

impl Chain {
    pub(crate) fn hint(&self, generation: u32) -> Hint {
        Hint::truncated(mac(&self.0, &generation.to_be_bytes()))
    }
}
