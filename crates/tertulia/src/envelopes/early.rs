//! Envelopes that nobody here could recognise yet: what one carrier has of an epoch before the one that orders has brought the commit that begins it.

use std::collections::VecDeque;
use tertulia_transport::Position;

/// Most envelopes that are kept.
const MOST: usize = 256;
/// Most bytes of them.
const MOST_BYTES: usize = 4 << 20;

/// An envelope, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EarlyEnvelope {
    pub(crate) carrier: String,
    pub(crate) position: Position,
    pub(crate) bytes: Vec<u8>,
}

/// The newest of them, in memory only: the carrier that orders gets them too, and gives them later.
#[derive(Debug, Default)]
pub(crate) struct Early {
    kept: VecDeque<EarlyEnvelope>,
    bytes: usize,
}

impl Early {
    /// Keeps one more, and forgets the oldest beyond the bounds.
    pub(crate) fn keep(&mut self, envelope: EarlyEnvelope) {
        self.bytes += envelope.bytes.len();
        self.kept.push_back(envelope);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Gives all of them up, the oldest first.
    pub(crate) fn take(&mut self) -> VecDeque<EarlyEnvelope> {
        self.bytes = 0;
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_bounds() {
        let envelope = |position: u64, length: usize| EarlyEnvelope {
            carrier: "second".to_owned(),
            position: Position(position),
            bytes: vec![0; length],
        };
        let mut early = Early::default();
        for position in 0..1000 {
            early.keep(envelope(position, 1));
        }
        let kept = early.take();
        assert_eq!(
            (kept.len(), kept.front().map(|first| first.position.0)),
            (MOST, Some(1000 - MOST as u64))
        );
        early.keep(envelope(1, MOST_BYTES));
        early.keep(envelope(2, 1));
        assert_eq!(early.take().len(), 1, "the large one has gone");
        assert_eq!(early.bytes, 0);
    }
}
