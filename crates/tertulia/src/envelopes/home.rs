//! Homes without an account: how one is made, and where its inbox is.

use crate::{Client, Error, Result};
use tertulia_conversation::{
    inbox::{ClientAddress, IdentityKey, InboxAddress, Signer as _},
    topic::ContentTopic,
};
use tertulia_domain::{ConversationId, Handle};

impl Client {
    /// The identity key of a home without an account.
    ///
    /// # Errors
    ///
    /// [`Error::HasAccount`].
    pub(crate) fn identity(&self) -> Result<IdentityKey> {
        let record = self.inner().store.read(|r| r.identity())?.ok_or(Error::HasAccount)?;
        Ok(IdentityKey::from_secret(&record.secret))
    }
}

/// Where first contact for a home without an account is left. It never changes.
#[derive(Debug)]
pub(crate) struct OwnInbox {
    pub(crate) identity_key: [u8; 32],
    /// Its id, which hints are made from.
    pub(crate) conversation: ConversationId,
    pub(crate) topic: ContentTopic,
}

impl OwnInbox {
    pub(crate) fn of(identity: &IdentityKey) -> Self {
        let identity_key = identity.public_key();
        let address = InboxAddress::of(&ClientAddress::of_identity(&identity_key));
        Self {
            identity_key,
            conversation: address.conversation_id(),
            topic: ContentTopic::of_inbox(&address),
        }
    }
}

/// What somebody is called for whom nobody here has a name: `key-` and the first `digits` digits of the fingerprint.
pub(crate) fn name_by_key(identity_key: &[u8; 32], digits: usize) -> Handle {
    let address = ClientAddress::of_identity(identity_key);
    let fingerprint = address.as_str().rsplit('/').next().unwrap_or_default();
    let digits = fingerprint.get(..digits).unwrap_or(fingerprint);
    format!("key-{digits}").parse().expect("letters, digits and a dash are a handle")
}
