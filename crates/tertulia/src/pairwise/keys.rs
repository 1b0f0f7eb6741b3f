//! The keys that others begin sessions with: published, and kept filled up.

use crate::{Client, Result, client::now};
use tertulia_api::{
    Base64,
    pairwise::{PairwiseKeyUpload, PairwiseOneTimeKey, SignedPairwiseKey},
};
use tertulia_domain::limits::ONE_TIME_KEYS_LOW;
use tertulia_mls::{CredentialRef, TransactionContext};
use tertulia_ratchet::{KeyUpload, Ratchet, RatchetError, Signer};

/// How many one-time keys a device keeps at the hub. Each lets somebody begin a session with it.
const ONE_TIME_KEYS: usize = 50;

/// The device's MLS credential signs.
pub(crate) struct CredentialSigner<'a> {
    tx: &'a TransactionContext,
    credential: CredentialRef,
    public_key: [u8; 32],
}

impl<'a> CredentialSigner<'a> {
    pub(crate) fn of(client: &Client, tx: &'a TransactionContext) -> Result<Self> {
        let credential = client.own_credential(tx)?;
        let public_key = credential.public_key().try_into().map_err(|_| RatchetError::UnfitKey)?;
        Ok(Self { tx, credential, public_key })
    }
}

impl tertulia_conversation::inbox::Signer for CredentialSigner<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
        Signer::sign(self, label, content).ok()
    }
}

impl Signer for CredentialSigner<'_> {
    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    fn sign(
        &self,
        label: &str,
        content: &[u8],
    ) -> std::result::Result<[u8; 64], Box<dyn std::error::Error + Send + Sync>> {
        let signature = self.tx.sign(&self.credential, label, content)?;
        signature.try_into().map_err(|_| "the credential's signatures are not those of Ed25519".into())
    }
}

impl Client {
    /// Publishes keys when some were used, when they are old, and at first.
    pub(crate) async fn renew_pairwise_keys(&self, some_used: bool) -> Result<()> {
        let due = Ratchet::begin(&self.inner().store, self.own_address())?.are_keys_due(now())?;
        if !some_used && !due {
            return Ok(());
        }
        let at_hub = self.hub()?.pairwise_key_count().await?.count;
        if !due && at_hub >= ONE_TIME_KEYS_LOW {
            return Ok(());
        }
        let mut tx = self.inner().session.new_transaction().await?;
        let mut ratchet = self.ratchet(&tx)?;
        let upload = {
            let signer = CredentialSigner::of(self, &tx)?;
            ratchet.prepare_keys(ONE_TIME_KEYS, at_hub as usize, &signer, now())?
        };
        super::store(&mut tx, ratchet)?;
        tx.finish().await?;

        self.hub()?.upload_pairwise_keys(&body(&upload)).await?;

        let mut tx = self.inner().session.new_transaction().await?;
        let mut ratchet = self.ratchet(&tx)?;
        ratchet.keys_published(&upload)?;
        super::store(&mut tx, ratchet)?;
        Ok(tx.finish().await?)
    }
}

fn body(upload: &KeyUpload) -> PairwiseKeyUpload {
    let signed = |key: [u8; 32], signature: [u8; 64]| SignedPairwiseKey {
        key: Base64(key.to_vec()),
        signature: Base64(signature.to_vec()),
    };
    let one_time_keys = upload.one_time_keys.iter();
    PairwiseKeyUpload {
        incarnation: upload.incarnation,
        identity_key: Base64(upload.identity_key.to_vec()),
        one_time_keys: one_time_keys
            .map(|key| PairwiseOneTimeKey { id: key.id, key: signed(key.key, key.signature) })
            .collect(),
        fallback: upload.fallback.as_ref().map(|fallback| signed(fallback.key, fallback.signature)),
    }
}
