//! Conversations that travel in envelopes, through carriers that know neither people nor conversations.
//!
//! What a hub does for its conversations is done here for these: envelopes are [taken](taking) from the topics of all carriers, recognised by
//! their [hints](table), and given to the [type](types) of their conversation; and what a type sends is [posted](posting) until the
//! carriers have it. Each of both is one transaction of the home, a [`Work`]: cursor or outbox, hints, message keys and messages move together.

mod carriers;
mod early;
mod future;
pub(crate) mod home;
mod inbox;
mod intro;
mod mls;
mod people;
mod posting;
mod private;
mod requests;
mod scanning;
mod table;
mod taking;
pub(crate) mod types;
mod upkeep;
mod work;

pub(crate) use carriers::Carriers;
pub(crate) use early::Early;
pub(crate) use home::OwnInbox;
pub(crate) use mls::{ADDS_PER_COMMIT, send_commit, upkeep_options};
pub(crate) use table::Hints;
pub(crate) use taking::number;
pub(crate) use upkeep::Waiting;
pub(crate) use work::Work;
