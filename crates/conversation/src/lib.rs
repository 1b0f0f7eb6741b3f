//! Conversations through carriers that know nothing: types, envelopes, hints, inboxes.
//!
//! **Owns** what a conversation type is, and the [descriptions](types) of all that exist, also of those that a hub carries; the
//! [bytes](wire) that travel; [ids](conversation_id) and [hints](hint); the [encryption](EpochSecrets) around the messages of MLS and of the Double
//! Ratchet; [bundles and first contact](inbox); content [topics](topic); and the [work] that an envelope costs. **Leaves to others** the
//! encryption of content (`tertulia-mls`, `tertulia-ratchet`), storage, network, clocks, and when anything is done: it is
//! sans-I/O. Randomness and time are given to it.
//!
//! - Decoding is a total function: any bytes have one [`Outcome`](wire::Outcome) of four, and none makes it panic or takes memory out of
//!   proportion.
//! - No hint is used twice: [`HintTable::seal`](hint::HintTable::seal) gives envelope and counter together, to be stored together.
//! - No bytes of another's change anything until their content has proved to be genuine: opening and
//!   [noting](hint::HintTable::received) are two steps.
//! - How an envelope travels is nobody's business here. A relay, peers and a hub get the same bytes, and a message that comes by two ways is
//!   found in the table once.
//!
//! The pages in `docs/spec` say all of it for who implements it elsewhere, and `docs/spec/vectors` has the bytes.
//!
//! # What it does not do
//!
//! - Hide when somebody writes, how much within a size class, and to which bucket of a topic.
//! - Order commits, or repair gaps: it carries what others decide.
//!
//! ```
//! use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
//! use tertulia_conversation::{
//!     EpochId, EpochSecrets, conversation_id,
//!     hint::{EpochStart, HintTable, Origin},
//!     types::{ConversationType as _, GroupV1},
//!     wire::{Envelope, GroupFrame, Outcome},
//! };
//!
//! // Ana makes a group and gives the creation secret to Bruno, whose leaf is 1. Both export the same bytes from the epoch of MLS.
//! let mut random: StdRng = rand::make_rng();
//! let (creation_secret, exported): ([u8; 32], [u8; 32]) = random.random();
//! let group = conversation_id(GroupV1::DESCRIPTOR.id, &creation_secret);
//! let epoch = EpochId { conversation: group, conversation_type: GroupV1::DESCRIPTOR.id, epoch: 1 };
//! let secrets = EpochSecrets::derive(&exported, &epoch);
//! let (mut ana, mut bruno) = (HintTable::new(0), HintTable::new(0));
//! ana.begin_epoch(&EpochStart { epoch, secrets: &secrets, own_sender: 0, senders: &[1], origin: Origin::Own })?;
//! bruno.begin_epoch(&EpochStart { epoch, secrets: &secrets, own_sender: 1, senders: &[0], origin: Origin::Own })?;
//!
//! // Ana's message, which MLS has encrypted. The record is stored with the envelope, and then the envelope is posted.
//! let message = GroupFrame::Content(b"an MLS message".to_vec());
//! let sealed = ana.seal::<GroupV1>(&group, &message, &mut random)?;
//! let (_record, posted) = (sealed.record(), sealed.envelope());
//!
//! // Bruno finds it among all that comes, and lets MLS decrypt it. Then the hint is used up.
//! let Outcome::Decoded(opened) = Envelope::decode(posted).and_then(|envelope| bruno.open(&envelope)) else {
//!     panic!("it is for Bruno");
//! };
//! assert_eq!(opened.frame::<GroupV1>(), Outcome::Decoded(message));
//! assert!(bruno.received(&opened.place));
//! # Ok::<(), tertulia_conversation::hint::HintError>(())
//! ```

mod crypto;
mod epoch;
pub mod hint;
mod id;
pub mod inbox;
pub mod topic;
pub mod types;
pub mod wire;
pub mod work;

pub use epoch::{EpochId, EpochSecrets};
pub use id::{conversation_id, hub_conversation_id};
