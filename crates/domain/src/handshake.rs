//! Whether a conversation's commits and proposals are encrypted, which is decided when it is made and for good.
//!
//! | | `plaintext` | `ciphertext` |
//! |---|---|---|
//! | what a commit says beside its effect: who proposed what | readable for the hub | for the members only |
//! | who is in the group, and with which role | readable for the hub | readable for the hub |
//! | the hub checks a commit by | the commit itself | the `GroupInfo` that its sender gives with it |
//!
//! In both the members check every commit by the group's policy.

use crate::text::named;

/// How commits and members' proposals are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Handshake {
    /// As MLS `PublicMessage`s: signed, and readable for the hub, which so checks them whole.
    #[default]
    Plaintext,
    /// As MLS `PrivateMessage`s, readable for the members only.
    Ciphertext,
}

named!(Handshake, "handshake policy", {
    Plaintext => "plaintext",
    Ciphertext => "ciphertext",
});

impl Handshake {
    /// Whether it is what goes without saying.
    pub fn is_plaintext(&self) -> bool {
        *self == Self::Plaintext
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_have_the_names_of_the_contract() {
        let names: Vec<_> = Handshake::ALL.iter().map(|policy| policy.as_str()).collect();
        assert_eq!(names, ["plaintext", "ciphertext"]);
        assert!(Handshake::default().is_plaintext() && !Handshake::Ciphertext.is_plaintext());
    }
}
