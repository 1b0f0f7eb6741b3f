//! What an inbox is flooded with.

use crate::Outcome;
use rand::RngExt as _;
use serde::Serialize;
use tertulia_conversation::{
    hint::{Hint, Salt},
    inbox::Bundle,
    topic::ContentTopic,
    wire::{EncryptedBytes, Envelope},
};
use tertulia_domain::ConversationId;
use tertulia_transport::Relay;

/// So many post at once.
const POSTING: usize = 16;
/// The shortest that there are: what costs its maker least.
const PLAINTEXT: usize = 1024;
const TAG: usize = 16;

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Junk {
    /// First contact for nobody: with any hint.
    Others,
    /// With the hint of the inbox, by somebody who has its owner's intro: each costs a Diffie-Hellman.
    Aimed,
}

impl Junk {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Others => "with any hint",
            Self::Aimed => "with the inbox's hint",
        }
    }

    fn envelope(self, inbox: &ConversationId) -> Vec<u8> {
        let random = &mut rand::rng();
        let salt = Salt::random(random);
        let hint = match self {
            Self::Others => Hint::from_bytes(random.random()),
            Self::Aimed => Hint::salted(inbox, salt),
        };
        let mut ciphertext = vec![0; PLAINTEXT + TAG];
        random.fill(&mut ciphertext[..]);
        let body = EncryptedBytes::Hpke { encapsulated_key: random.random(), ciphertext };
        Envelope { hint, salt, body }.encode()
    }
}

/// Posts so many to the inbox of who has shown this intro, and gives their bytes.
pub(crate) async fn flood(relay: &str, intro: &str, junk: Junk, envelopes: usize) -> Outcome<usize> {
    let address = intro.parse::<Bundle>()?.inbox_address();
    let (topic, inbox) = (ContentTopic::of_inbox(&address), address.conversation_id());
    let relay = Relay::new(relay)?;
    let posting = (0..POSTING).map(|first| {
        let relay = relay.clone();
        tokio::spawn(async move {
            let mut bytes = 0;
            for _ in (first..envelopes).step_by(POSTING) {
                let envelope = junk.envelope(&inbox);
                relay.post(&topic, &envelope).await?;
                bytes += envelope.len();
            }
            Outcome::Ok(bytes)
        })
    });
    let mut bytes = 0;
    for posting in posting.collect::<Vec<_>>() {
        bytes += posting.await??;
    }
    Ok(bytes)
}
