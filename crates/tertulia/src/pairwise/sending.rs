//! A pairwise message on its way out: encrypted once for every device that is known, completed with those that the hub says are
//! missing, and repeated until the hub has an answer.

use crate::{Client, Error, Result, Suspicion, SyncReport, suspicion::note};
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{
    Base64, Code, Problem, UserDevice,
    pairwise::{ClaimedPairwiseKey, IgnoreMissing, PairwiseCiphertext, PairwiseMessage},
};
use tertulia_domain::{ConversationId, DeviceAddress, UserId};
use tertulia_mls::TransactionContext;
use tertulia_ratchet::{ClaimedKeys, Context, Purpose, Ratchet, RatchetError};
use tertulia_store::{OutboxKind, OutboxMessage};

/// Of how many devices keys are claimed in one request.
const CLAIM: usize = 200;

/// Keys that were claimed, by device.
type Claimed = BTreeMap<UserDevice, ClaimedKeys>;

impl Client {
    /// Encrypts a message of the outbox for all devices of the members that are known here, and keeps the bytes in the same
    /// transaction in which their keys are used up. Of the others the hub will tell.
    pub(crate) async fn encrypt_pairwise(&self, message: &OutboxMessage) -> Result<()> {
        let known = self.known_in(message.conversation)?;
        let mut reading = Ratchet::begin(&self.inner().store, self.own_address())?;
        let mut without_session = Vec::new();
        for peer in &known {
            if !reading.is_ready(&peer.address)? {
                without_session.push(UserDevice { user: peer.address.user, device: peer.address.device });
            }
        }
        let claimed = self.claim_pairwise(without_session).await?;

        let mut tx = self.inner().session.new_transaction().await?;
        // Another process may have done it while this one waited.
        let Some(message) = self.inner().store.read(|r| r.outbox_message(message.id))? else { return Ok(()) };
        if message.ciphertext.is_some() || !self.protocol(message.conversation)?.sends_pairwise() {
            return Ok(());
        }
        let known = self.known_in(message.conversation)?;
        let mut ratchet = self.ratchet(&tx)?;
        let mut body = PairwiseMessage {
            announces_name: message.kind == OutboxKind::Name,
            ciphertexts: Vec::with_capacity(known.len()),
            ignore_missing: IgnoreMissing::Nobody,
        };
        for peer in known.iter().filter(|peer| peer.address != self.own_address()) {
            // Who has no keys to claim is no more, or the hub will say so.
            if let Sealed::Ciphertext(one) =
                seal(&mut ratchet, &message, &peer.address, claimed.get(&device_of(&peer.address)))?
            {
                body.ciphertexts.push(one);
            }
        }
        super::store(&mut tx, ratchet)?;
        keep(&mut tx, message.id, &body)?;
        Ok(tx.finish().await?)
    }

    /// Makes a message complete that the hub did not take because of its devices: those that are missing get a ciphertext, those
    /// that are no more are left out. The other ciphertexts stay as they are: they were never sent, so their keys were not used.
    pub(crate) async fn complete_pairwise(&self, refused: &OutboxMessage, problem: &Problem) -> Result<()> {
        let Problem { missing, redundant, deleted, .. } = problem;
        self.check_members(refused.conversation, missing).await?;
        let claimed = self.claim_pairwise(missing.clone()).await?;

        let mut tx = self.inner().session.new_transaction().await?;
        let Some(message) = self.inner().store.read(|r| r.outbox_message(refused.id))? else { return Ok(()) };
        // Another process may have completed it meanwhile.
        if message.ciphertext != refused.ciphertext {
            return Ok(());
        }
        let Some(bytes) = &message.ciphertext else { return Ok(()) };
        let mut body: PairwiseMessage =
            serde_json::from_slice(bytes).map_err(|_| RatchetError::Damaged { what: "pairwise message" })?;
        let mut ratchet = self.ratchet(&tx)?;
        for device in deleted {
            ratchet.forget(&self.address_of(*device));
        }
        let no_more: BTreeSet<UserDevice> = redundant.iter().chain(deleted).copied().collect();
        body.ciphertexts.retain(|one| !no_more.contains(&UserDevice { user: one.user, device: one.device }));
        let mut left_out: BTreeSet<UserId> = match body.ignore_missing {
            IgnoreMissing::Users(users) => users.into_iter().collect(),
            _ => BTreeSet::new(),
        };
        for device in missing {
            let address = self.address_of(*device);
            if self.knows_other_device(message.conversation, &address)? && !ratchet.is_known(&address)? {
                let suspicion = Suspicion::NewDevice { user: device.user, device: device.device };
                tx.store_write(move |w| note(w, message.conversation, &suspicion))?;
            }
            match seal(&mut ratchet, &message, &address, claimed.get(device))? {
                Sealed::Ciphertext(one) => body.ciphertexts.push(one),
                Sealed::LeftOut => {
                    left_out.insert(device.user);
                }
            }
        }
        body.ignore_missing = if left_out.is_empty() {
            IgnoreMissing::Nobody
        } else {
            IgnoreMissing::Users(left_out.into_iter().collect())
        };
        super::store(&mut tx, ratchet)?;
        keep(&mut tx, message.id, &body)?;
        Ok(tx.finish().await?)
    }

    /// Refuses to encrypt for devices of who is no member. Who has just become one may not have been heard of here.
    async fn check_members(&self, conversation: ConversationId, devices: &[UserDevice]) -> Result<()> {
        for is_up_to_date in [false, true] {
            let members = self.inner().store.read(|r| r.members(conversation))?;
            let is_member = |device: &UserDevice| {
                members.iter().any(|member| member.user == device.user)
                    && self.belongs(conversation, device.user)
            };
            if devices.iter().all(is_member) {
                return Ok(());
            }
            if !is_up_to_date {
                self.catch_up(&mut SyncReport::default()).await?;
            }
        }
        Err(Error::UntrustworthyHub { what: "it asks for a message to a device of who is no member" })
    }

    /// Claims a key of each of the devices. What the hub gives in a wrong form is as good as nothing; so is a claim for somebody
    /// who is no member any more, of which this home has not heard yet.
    async fn claim_pairwise(&self, devices: Vec<UserDevice>) -> Result<Claimed> {
        let mut claimed = Claimed::new();
        for some in devices.chunks(CLAIM) {
            let keys = match self.hub()?.claim_pairwise_keys(some.to_vec()).await {
                Err(error) if matches!(error.hub_code(), Some(Code::NotConnected | Code::UnknownUser)) => {
                    continue;
                }
                answer => answer?.keys,
            };
            for key in keys {
                let device = UserDevice { user: key.user, device: key.device };
                if let Some(keys) = self.claimed_keys(&key) {
                    claimed.insert(device, keys);
                }
            }
        }
        Ok(claimed)
    }

    fn claimed_keys(&self, key: &ClaimedPairwiseKey) -> Option<ClaimedKeys> {
        Some(ClaimedKeys {
            address: self.address_of(UserDevice { user: key.user, device: key.device }),
            signature_key: key.signature_key.as_ref().try_into().ok()?,
            identity_key: key.identity_key.as_ref().try_into().ok()?,
            key: key.key.key.as_ref().try_into().ok()?,
            is_fallback: key.fallback,
            signature: key.key.signature.as_ref().try_into().ok()?,
        })
    }
}

/// Keeps the bytes that are sent until the hub has an answer to them.
fn keep(tx: &mut TransactionContext, id: i64, body: &PairwiseMessage) -> Result<()> {
    let bytes = serde_json::to_vec(body).expect("ids and bytes are always JSON");
    Ok(tx.store_write(move |w| w.set_pairwise_ciphertext(id, &bytes))?)
}

/// What became of a message for one device.
enum Sealed {
    Ciphertext(PairwiseCiphertext),
    /// There is no key for the device, or none that it has signed.
    LeftOut,
}

/// Encrypts a message for one device, with a new session if there is no other.
fn seal(
    ratchet: &mut Ratchet,
    message: &OutboxMessage,
    to: &DeviceAddress,
    claimed: Option<&ClaimedKeys>,
) -> Result<Sealed> {
    if !ratchet.is_ready(to)? {
        let Some(keys) = claimed else { return Ok(Sealed::LeftOut) };
        match ratchet.begin_session(keys) {
            Err(
                error @ (RatchetError::UntrustedKey | RatchetError::KeysChanged | RatchetError::UnfitKey),
            ) => {
                tracing::warn!(device = %to.short(), %error, "a device is left out");
                return Ok(Sealed::LeftOut);
            }
            begun => begun?,
        }
    }
    let purpose = match message.kind {
        OutboxKind::Name => Purpose::Name,
        _ => Purpose::Message,
    };
    let context = Context { conversation: message.conversation, purpose };
    let ciphertext = Base64(ratchet.encrypt(context, to, &message.content)?);
    Ok(Sealed::Ciphertext(PairwiseCiphertext { user: to.user, device: to.device, ciphertext }))
}

fn device_of(address: &DeviceAddress) -> UserDevice {
    UserDevice { user: address.user, device: address.device }
}
