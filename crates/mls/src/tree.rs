//! The ratchet tree of a group as it is stored: in parts, so that a commit writes those that it changes.
//!
//! A commit changes a leaf and its direct path (RFC 9420, section 7.5), a few places of a long array. A part is [`NODES`]
//! nodes one after the other: the first levels above a leaf are in its own part, each further one is in another.

use std::collections::BTreeMap;

use mls_rs::{
    group::ExportedTree,
    mls_rs_codec::{self, MlsEncode as _, VarInt},
};

use crate::{EngineError, Result, record::sha256};

/// Nodes of a part: some 4 kB, a page of the store.
const NODES: usize = 32;

const WHAT: &str = "ratchet tree";

/// Half of a SHA-256 over the parts' digests: against damage.
pub(crate) type TreeDigest = [u8; 16];

/// A whole tree.
#[derive(Clone, Default)]
pub(crate) struct StoredTree {
    /// Each node with a byte before it that tells whether it is blank (RFC 9420, section 7.8), as in the encoded array.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// By which the parts that have changed are found. They are whole, since members choose what is in a tree: none may find two
/// parts that are taken for each other.
#[derive(Clone, Default)]
pub(crate) struct PartDigests(Vec<[u8; 32]>);

/// What is to be written of a tree.
#[derive(Clone, Default)]
pub(crate) struct TreeChange {
    pub(crate) parts: BTreeMap<u32, Vec<u8>>,
    /// Of how many parts the tree is now.
    pub(crate) count: u32,
}

impl StoredTree {
    pub(crate) fn of(tree: &ExportedTree<'_>) -> Result<Self, mls_rs_codec::Error> {
        let encoded = |nodes: &[_]| {
            let mut part = Vec::new();
            nodes.iter().try_for_each(|node: &Option<_>| node.mls_encode(&mut part)).map(|()| part)
        };
        Ok(Self { parts: tree.nodes().chunks(NODES).map(encoded).collect::<Result<_, _>>()? })
    }

    /// The tree as the extension has it (RFC 9420, section 12.4.3.3).
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let damaged = |_| EngineError::DamagedState { what: WHAT, source: None };
        let length = VarInt::try_from(self.size()).map_err(damaged)?;
        let mut bytes = Vec::with_capacity(size_of::<u32>() + self.size());
        length.mls_encode(&mut bytes).map_err(damaged)?;
        self.parts.iter().for_each(|part| bytes.extend(part));
        Ok(bytes)
    }

    /// Bytes without the length before them.
    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    pub(crate) fn digests(&self) -> PartDigests {
        PartDigests(self.parts.iter().map(|part| sha256(part)).collect())
    }

    /// The same, if the tree is the one of this digest.
    pub(crate) fn checked(&self, digest: TreeDigest) -> Result<PartDigests> {
        let digests = self.digests();
        if digests.of_all() == digest {
            Ok(digests)
        } else {
            Err(EngineError::DamagedState { what: WHAT, source: None })
        }
    }
}

impl PartDigests {
    pub(crate) fn of_all(&self) -> TreeDigest {
        let digest = sha256(self.0.as_flattened());
        std::array::from_fn(|at| digest[at])
    }

    /// What of `tree`, which has these digests, a store lacks that has one of the `stored`.
    pub(crate) fn change(&self, tree: StoredTree, stored: &Self) -> TreeChange {
        let new = |at: &usize| self.0.get(*at) != stored.0.get(*at);
        let parts = (0..).zip(tree.parts).enumerate().filter(|(at, _)| new(at)).map(|(_, part)| part);
        TreeChange { parts: parts.collect(), count: u32::try_from(self.0.len()).unwrap_or(u32::MAX) }
    }
}

impl TreeChange {
    /// The change from nothing.
    pub(crate) fn whole(tree: StoredTree) -> Self {
        let parts: BTreeMap<_, _> = (0..).zip(tree.parts).collect();
        Self { count: u32::try_from(parts.len()).unwrap_or(u32::MAX), parts }
    }

    /// This change and then another.
    pub(crate) fn then(mut self, later: Self) -> Self {
        self.parts.extend(later.parts);
        self.parts.retain(|at, _| *at < later.count);
        Self { count: later.count, ..self }
    }

    /// The tree after the change. Parts that are nowhere are empty, which its digest tells.
    pub(crate) fn on(self, tree: StoredTree) -> StoredTree {
        let mut before = tree.parts.into_iter();
        let mut changed = self.parts;
        let part = |at| {
            let before = before.next();
            changed.remove(&at).or(before).unwrap_or_default()
        };
        StoredTree { parts: (0..self.count).map(part).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(parts: &[&str]) -> StoredTree {
        StoredTree { parts: parts.iter().map(|part| part.as_bytes().to_vec()).collect() }
    }

    fn between(before: &StoredTree, after: &StoredTree) -> TreeChange {
        after.digests().change(after.clone(), &before.digests())
    }

    #[test]
    fn only_parts_that_have_changed_are_written() {
        let (before, after) = (tree(&["a", "b", "c"]), tree(&["a", "x", "c", "d"]));
        let change = between(&before, &after);
        assert_eq!(change.parts.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(change.on(before).parts, after.parts);
    }

    #[test]
    fn a_tree_may_become_smaller_and_larger_again() {
        let steps = [tree(&["a", "b", "c"]), tree(&["a"]), tree(&["a", "b", "x"])];
        let first = between(&steps[0], &steps[1]);
        assert!(first.parts.is_empty() && first.count == 1);
        let both = first.then(between(&steps[1], &steps[2]));
        assert_eq!(both.on(steps[0].clone()).parts, steps[2].parts);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = tree(&["a", "b", "c"]);
        let digest = whole.digests().of_all();
        assert!(whole.checked(digest).is_ok());
        for damaged in [tree(&["a", "b"]), tree(&["a", "x", "c"]), tree(&["a", "c", "b"]), tree(&["ab", "c"])]
        {
            assert!(matches!(damaged.checked(digest), Err(EngineError::DamagedState { what: WHAT, .. })));
        }
    }
}
