//! Members of conversations, and people with bundles.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)] // each test uses some of it

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tertulia_conversation::{
    EpochId, EpochSecrets, conversation_id,
    hint::{EpochStart, HintTable, Opened, Origin},
    inbox::{Bundle, BundleContent, BundleDevice, BundleKey, InboxKey},
    types::ConversationType,
    wire::{Envelope, Outcome},
};
use tertulia_domain::ConversationId;

pub type SigningKey = ed25519_dalek::SigningKey;

/// Seeded randomness. The seed is printed, and `SEED=…` replays it.
pub fn seeded() -> StdRng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// A conversation as each of its members has it.
pub struct Conversation {
    pub id: ConversationId,
    pub epoch: EpochId,
    pub secrets: EpochSecrets,
    pub members: Vec<HintTable>,
}

impl Conversation {
    /// So many members in epoch 0.
    pub fn new<T: ConversationType>(members: u32, random: &mut StdRng) -> Self {
        let id = conversation_id(T::DESCRIPTOR.id, &random.random());
        let epoch = EpochId { conversation: id, conversation_type: T::DESCRIPTOR.id, epoch: 0 };
        let secrets = EpochSecrets::derive(&random.random(), &epoch);
        let members = (0..members).map(|_| HintTable::new(0)).collect();
        let mut conversation = Self { id, epoch, secrets, members };
        for member in 0..conversation.members.len() {
            conversation.enter(member);
        }
        conversation
    }

    /// The next epoch, in which nobody is yet.
    pub fn advance(&mut self, random: &mut StdRng) {
        self.epoch.epoch += 1;
        self.secrets = EpochSecrets::derive(&random.random(), &self.epoch);
    }

    /// A member enters the current epoch, by keys of its own.
    pub fn enter(&mut self, member: usize) {
        self.enter_by(member, Origin::Own);
    }

    /// A member enters the current epoch.
    pub fn enter_by(&mut self, member: usize, origin: Origin) {
        let own_sender = u32::try_from(member).unwrap();
        let all = 0..u32::try_from(self.members.len()).unwrap();
        let senders: Vec<_> = all.filter(|sender| *sender != own_sender).collect();
        let (epoch, secrets) = (self.epoch, &self.secrets);
        let start = EpochStart { epoch, secrets, own_sender, senders: &senders, origin };
        self.members[member].begin_epoch(&start).unwrap();
    }

    /// The envelope in which a member sends a frame.
    pub fn send<T: ConversationType>(
        &mut self,
        member: usize,
        frame: &T::Frame,
        random: &mut StdRng,
    ) -> Vec<u8> {
        self.members[member].seal::<T>(&self.id, frame, random).unwrap().envelope().to_vec()
    }
}

/// What a member makes of an envelope.
pub fn open(table: &HintTable, envelope: &[u8]) -> Outcome<Opened> {
    Envelope::decode(envelope).and_then(|envelope| table.open(&envelope))
}

/// Opens an envelope that is genuine and notes it. None if it is not for this table.
pub fn receive<T: ConversationType>(table: &mut HintTable, envelope: &[u8]) -> Option<T::Frame> {
    match open(table, envelope) {
        Outcome::Decoded(opened) => {
            let frame = opened.frame::<T>().decoded().expect("a genuine frame");
            assert!(table.received(&opened.place), "a hint is found once");
            Some(frame)
        }
        Outcome::NotForUs => None,
        other => panic!("a genuine envelope is {other:?}"),
    }
}

/// A person with one device.
pub struct Person {
    pub identity: SigningKey,
    pub device: SigningKey,
    pub inbox_key: InboxKey,
    pub bundle: Bundle,
}

/// When everything happens, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

impl Person {
    pub fn new(random: &mut StdRng) -> Self {
        Self::with_one_time_keys(1, random)
    }

    pub fn with_one_time_keys(count: usize, random: &mut StdRng) -> Self {
        let identity = SigningKey::from_bytes(&random.random());
        let device = SigningKey::from_bytes(&random.random());
        let inbox_key = InboxKey::generate(random);
        let ratchet_key = random.random();
        let key = |random: &mut StdRng| BundleKey::sign(random.random(), &ratchet_key, &device).unwrap();
        let content = BundleContent {
            identity_key: identity.verifying_key().to_bytes(),
            expires: NOW + 86_400,
            devices: vec![BundleDevice {
                signature_key: device.verifying_key().to_bytes(),
                inbox_key: inbox_key.public(),
                ratchet_key,
                one_time_keys: (0..count).map(|_| key(random)).collect(),
                fallback_key: key(random),
                key_package: Vec::new(),
            }],
        };
        let bundle = Bundle::sign(&content, &identity).unwrap();
        Self { identity, device, inbox_key, bundle }
    }
}
