//! What all members must have in common.

use tertulia_mls::{ClientId, ConversationId, Session};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    authenticator: Vec<u8>,
    exporter: Vec<u8>,
    pub(crate) roster: Vec<ClientId>,
}

pub(crate) fn state(session: &Session, id: &ConversationId) -> State {
    let view = session.conversation(id).unwrap();
    State {
        epoch: view.epoch(),
        authenticator: view.epoch_authenticator().unwrap(),
        exporter: view.export_secret_key(32).unwrap().to_vec(),
        roster: view.client_ids().unwrap(),
    }
}
