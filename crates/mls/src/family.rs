//! Conversations within conversations: a child goes when its parent goes.

use std::collections::{HashSet, VecDeque};

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use tertulia_store::RecordKey;
use zeroize::Zeroizing;

use crate::{
    ConversationGuard, ConversationId, EngineError, Result,
    overlay::{Overlay, RecordKind},
    record::{decode, encode},
};

/// The version that is written.
const VERSION: u16 = 1;

const WHAT: &str = "parent";

/// The parent of a conversation.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct ParentRecord {
    version: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    parent: Vec<u8>,
}

impl ConversationGuard<'_> {
    /// Makes this conversation a child of another, which must exist: it is wiped when the parent is, whether by
    /// [`wipe`](Self::wipe) or because this device was removed from the parent.
    ///
    /// A conversation has one parent at most: a new one takes the place of the old. It is known to this device only.
    ///
    /// # Errors
    ///
    /// [`OwnAncestor`](EngineError::OwnAncestor) if the parent is the conversation itself or descends from it.
    #[allow(clippy::unused_async)] // the contract has it async
    pub async fn mark_as_child_of(&mut self, parent_id: &ConversationId) -> Result<()> {
        let overlay = self.overlay()?;
        for id in [&self.id, parent_id] {
            if !overlay.group_exists(id.as_bytes())? {
                return Err(EngineError::ConversationNotFound(id.clone()));
            }
        }
        if descendants(overlay, &self.id)?.contains(parent_id) {
            return Err(EngineError::OwnAncestor { child: self.id.clone(), parent: parent_id.clone() });
        }
        let old = parent(overlay, &self.id)?;
        let record = encode(&ParentRecord { version: VERSION, parent: parent_id.as_bytes().to_vec() }, WHAT)?;
        if let Some(old) = old {
            overlay.delete_record(child_key(&old, &self.id));
        }
        overlay.put_record(parent_key(&self.id), record);
        overlay.put_record(child_key(parent_id, &self.id), Zeroizing::new(Vec::new()));
        Ok(())
    }

    /// The conversation that this one is a child of.
    pub fn parent(&self) -> Result<Option<ConversationId>> {
        parent(self.overlay()?, &self.id)
    }

    /// The children of this conversation.
    pub fn children(&self) -> Result<Vec<ConversationId>> {
        children(self.overlay()?, &self.id)
    }
}

pub(crate) fn parent(overlay: &Overlay, id: &ConversationId) -> Result<Option<ConversationId>> {
    let Some(bytes) = overlay.record(&parent_key(id))? else { return Ok(None) };
    let record: ParentRecord = decode(&bytes, WHAT)?;
    if record.version != VERSION {
        return Err(EngineError::DamagedState { what: WHAT, source: None });
    }
    Ok(Some(ConversationId::from(record.parent)))
}

pub(crate) fn children(overlay: &Overlay, id: &ConversationId) -> Result<Vec<ConversationId>> {
    let records = overlay.records(RecordKind::Child, id.as_bytes())?;
    Ok(records.into_iter().map(|(child, _)| ConversationId::from(child)).collect())
}

/// The conversation, its children, theirs, and so on, each once.
pub(crate) fn descendants(overlay: &Overlay, id: &ConversationId) -> Result<Vec<ConversationId>> {
    let mut found = vec![id.clone()];
    let mut seen = HashSet::from([id.clone()]);
    let mut open = VecDeque::from([id.clone()]);
    while let Some(next) = open.pop_front() {
        for child in children(overlay, &next)? {
            // The records cannot form a circle unless they are damaged; that must not be an endless loop.
            if seen.insert(child.clone()) {
                found.push(child.clone());
                open.push_back(child);
            }
        }
    }
    Ok(found)
}

/// The records that tie a conversation to its parent and its children.
pub(crate) fn ties(overlay: &Overlay, id: &ConversationId) -> Result<Vec<RecordKey>> {
    let mut ties = vec![parent_key(id)];
    match parent(overlay, id) {
        Ok(parent) => ties.extend(parent.map(|parent| child_key(&parent, id))),
        // A parent that cannot be read must not stand in the way of a wipe. A store that is busy may.
        Err(EngineError::DamagedState { .. }) => {}
        Err(error) => return Err(error),
    }
    ties.extend(children(overlay, id)?.iter().map(|child| child_key(id, child)));
    Ok(ties)
}

fn parent_key(child: &ConversationId) -> RecordKey {
    RecordKind::Parent.of(child.as_bytes(), &[])
}

fn child_key(parent: &ConversationId, child: &ConversationId) -> RecordKey {
    RecordKind::Child.of(parent.as_bytes(), child.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_parent_is_the_released_one() {
        let bytes = encode(&ParentRecord { version: VERSION, parent: vec![1, 2, 3] }, WHAT).unwrap();
        assert_eq!(hex::encode(&bytes[..]), "000103010203");
    }
}
