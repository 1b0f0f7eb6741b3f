//! The pairwise side of a person's device: keys that are signed as they must be, and ciphertexts that are any bytes, for the
//! hub cannot tell.

use super::hub::{Answer, Person};
use tertulia_api::{
    Base64, UserDevice,
    conversation::{Conversation, NewConversation},
    event::EventBody,
    pairwise::{
        ClaimedPairwiseKey, ClaimedPairwiseKeys, IgnoreMissing, PairwiseCiphertext, PairwiseKeyClaim,
        PairwiseKeyCount, PairwiseKeyUpload, PairwiseMessage, PairwiseOneTimeKey, ProtocolUpdate,
        SignedPairwiseKey,
    },
};
use tertulia_domain::{
    ConversationId, DeviceAddress, Handshake, Protocol,
    pairwise::{SignedKey, signed_bytes},
};

impl Person {
    pub fn address(&self) -> UserDevice {
        UserDevice { user: self.user, device: self.mls.device }
    }

    /// A device's identity key for these tests.
    fn identity_key(&self) -> [u8; 32] {
        self.mls.signature_key.as_slice().try_into().unwrap()
    }

    pub fn signed(&self, key: SignedKey) -> SignedPairwiseKey {
        let address = DeviceAddress::new(self.user, self.mls.device, "localhost".parse().unwrap());
        let bytes = match key {
            SignedKey::OneTime(key) | SignedKey::Fallback(key) => key,
            SignedKey::Identity => self.identity_key(),
        };
        let signature = self.mls.sign(&signed_bytes(&address, &self.identity_key(), key));
        SignedPairwiseKey { key: Base64(bytes.to_vec()), signature: Base64(signature) }
    }

    /// An upload of one-time keys with these numbers, each of which fills its key, and a fallback key of 255.
    pub fn pairwise_upload(&self, incarnation: u64, numbers: &[u8]) -> PairwiseKeyUpload {
        let one_time =
            |&n: &u8| PairwiseOneTimeKey { id: n.into(), key: self.signed(SignedKey::OneTime([n; 32])) };
        PairwiseKeyUpload {
            incarnation,
            identity_key: Base64(self.identity_key().to_vec()),
            one_time_keys: numbers.iter().map(one_time).collect(),
            fallback: Some(self.signed(SignedKey::Fallback([255; 32]))),
        }
    }

    pub async fn upload_pairwise(&self, upload: &PairwiseKeyUpload) -> Answer {
        self.post("/v1/pairwise-keys", upload).await
    }

    /// Publishes one-time keys with these numbers, and gives how many the hub has then.
    pub async fn publish_pairwise(&self, numbers: &[u8]) -> u32 {
        let count: PairwiseKeyCount = self.upload_pairwise(&self.pairwise_upload(0, numbers)).await.done();
        count.count
    }

    pub async fn try_claim_pairwise(&self, devices: &[UserDevice]) -> Answer {
        let claim = PairwiseKeyClaim { devices: devices.to_vec() };
        self.post("/v1/pairwise-keys/claims", &claim).await
    }

    pub async fn claim_pairwise(&self, devices: &[UserDevice]) -> Vec<ClaimedPairwiseKey> {
        self.try_claim_pairwise(devices).await.done::<ClaimedPairwiseKeys>().keys
    }

    /// A new pairwise group of this person with these members.
    pub async fn pairwise_group(&self, members: &[&Person]) -> ConversationId {
        let conversation = ConversationId::random();
        let new = NewConversation {
            conversation,
            protocol: Protocol::Pairwise,
            handshake: Handshake::Plaintext,
            team: false,
            parent: None,
        };
        let made: Conversation = self.post("/v1/conversations", &new).await.done();
        assert_eq!(made.protocol, Protocol::Pairwise);
        self.add_to(conversation, members).await.empty();
        conversation
    }

    pub async fn add_to(&self, conversation: ConversationId, members: &[&Person]) -> Answer {
        let users: Vec<_> = members.iter().map(|member| member.user).collect();
        let path = format!("/v1/conversations/{conversation}/members");
        self.post(&path, &serde_json::json!({ "users": users })).await
    }

    pub async fn send_pairwise(&self, conversation: ConversationId, message: &PairwiseMessage) -> Answer {
        self.post(&format!("/v1/conversations/{conversation}/pairwise-messages"), message).await
    }

    pub async fn set_protocol(&self, conversation: ConversationId, protocol: Protocol) -> Answer {
        let path = format!("/v1/conversations/{conversation}/protocol");
        self.put(&path, &ProtocolUpdate { protocol }).await
    }

    /// The ciphertexts of the pairwise messages in this person's events.
    pub async fn ciphertexts(&self) -> Vec<Option<Vec<u8>>> {
        let pairwise = |body| match body {
            EventBody::Pairwise { ciphertext, .. } => Some(ciphertext.map(|ciphertext| ciphertext.0)),
            _ => None,
        };
        self.events().await.into_iter().filter_map(|event| pairwise(event.body)).collect()
    }
}

/// A message with a ciphertext for each of these devices, which names the device.
pub fn message_for(devices: &[UserDevice]) -> PairwiseMessage {
    let ciphertexts = devices.iter().map(|&device| PairwiseCiphertext {
        user: device.user,
        device: device.device,
        ciphertext: Base64(ciphertext_for(device)),
    });
    PairwiseMessage {
        announces_name: false,
        ciphertexts: ciphertexts.collect(),
        ignore_missing: IgnoreMissing::Nobody,
    }
}

/// The same with other ciphertexts: the same bytes would be the same message.
pub fn other_message_for(devices: &[UserDevice], text: &str) -> PairwiseMessage {
    let mut message = message_for(devices);
    for one in &mut message.ciphertexts {
        one.ciphertext.0.extend_from_slice(text.as_bytes());
    }
    message
}

/// What a device is to find in its event.
pub fn ciphertext_for(device: UserDevice) -> Vec<u8> {
    format!("for {}", device.device).into_bytes()
}
