//! The message in which history travels: an application message of MLS that is the engine's and not the application's.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use super::HistorySpan;
use crate::{EngineError, MAX_MESSAGE_BYTES, Result};

/// Marks the message, as its `authenticated_data` (RFC 9420, section 6.3): readable for the hub, changeable for nobody.
pub(crate) const LABEL: &[u8] = b"tertulia history 1";

#[derive(MlsSize, MlsEncode, MlsDecode)]
struct Frame {
    spans: Vec<SharedSpan>,
    /// Whether `application` counts. It may be empty and be one.
    has_application: bool,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    application: Vec<u8>,
}

/// A span as it is given on.
#[derive(MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct SharedSpan {
    pub(super) last_epoch: Option<u64>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// The same, as it is read: the spans are taken out of their bytes one by one, so that their number is bounded.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct ReceivedFrame {
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    spans: Zeroizing<Vec<u8>>,
    has_application: bool,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    application: Vec<u8>,
}

/// Most spans in one message. A receiver looks at no more of them.
pub const MAX_SHARED_SPANS: usize = 16;

/// Most bytes of all secrets in one message that has several. A receiver looks at no more than that.
const MAX_SHARED_BYTES: usize = 16 * 1024 * 1024;

/// From so many bytes of secrets on, what is shared afterwards goes into several messages: hubs bound what a message may have.
pub(super) const HANDY_BYTES: usize = 128 * 1024;

/// How many of these spans, from the first on, go into one message with so many bytes: one at least.
pub(super) fn fits<T>(spans: &[T], most: usize, length: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let more = |span: &&T| {
        bytes += length(span);
        bytes <= most
    };
    spans.iter().take(MAX_SHARED_SPANS).take_while(more).count().max(1).min(spans.len())
}

/// Spans and the application's own message as one payload.
pub(super) fn frame(spans: &[HistorySpan], application: Option<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
    let max = fits(spans, MAX_SHARED_BYTES, |span| span.secret.as_bytes().len());
    if max < spans.len() {
        return Err(EngineError::TooMany { requested: spans.len(), max });
    }
    let shared = |span: &HistorySpan| SharedSpan {
        last_epoch: span.last_epoch,
        secret: Zeroizing::new(span.secret.as_bytes().to_vec()),
    };
    let frame = Frame {
        spans: spans.iter().map(shared).collect(),
        has_application: application.is_some(),
        application: application.unwrap_or_default(),
    };
    if frame.mls_encoded_len() > MAX_MESSAGE_BYTES {
        return Err(EngineError::TooMany { requested: spans.len(), max: spans.len().saturating_sub(1) });
    }
    let bytes = frame.mls_encode_to_vec().map_err(|error| EngineError::Library(Box::new(error)))?;
    Ok(Zeroizing::new(bytes))
}

/// What a message with this mark holds: the spans, as far as they are within the limits of a message, and the application's
/// message. None when it is malformed.
pub(crate) fn unframe(payload: &[u8]) -> Option<(Vec<SharedSpan>, Option<Vec<u8>>)> {
    let mut rest = payload;
    let frame = ReceivedFrame::mls_decode(&mut rest).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut spans = Vec::new();
    let mut unread = &frame.spans[..];
    while !unread.is_empty() && spans.len() < MAX_SHARED_SPANS {
        spans.push(SharedSpan::mls_decode(&mut unread).ok()?);
    }
    let within = fits(&spans, MAX_SHARED_BYTES, |span| span.secret.len());
    if within < spans.len() || !unread.is_empty() {
        tracing::warn!("a message has more history than one may have: the rest is left");
    }
    spans.truncate(within);
    Some((spans, frame.has_application.then_some(frame.application)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_frame_is_the_released_one() {
        let spans = vec![SharedSpan { last_epoch: Some(9), secret: Zeroizing::new(vec![1, 2]) }];
        let frame = Frame { spans, has_application: true, application: vec![3] };
        let bytes = frame.mls_encode_to_vec().unwrap();
        assert_eq!(hex::encode(&bytes), "0c01000000000000000902010201".to_owned() + "0103");
        let (spans, application) = unframe(&bytes).unwrap();
        assert_eq!((spans.len(), spans[0].last_epoch, application), (1, Some(9), Some(vec![3])));
    }

    #[test]
    fn no_more_is_taken_out_of_a_frame_than_one_may_have() {
        let taken = |lengths: &[usize]| {
            let span = |length| SharedSpan { last_epoch: None, secret: Zeroizing::new(vec![0; length]) };
            let spans = lengths.iter().map(|length| span(*length)).collect();
            let frame = Frame { spans, has_application: true, application: vec![3] };
            let (spans, application) = unframe(&frame.mls_encode_to_vec().unwrap()).unwrap();
            assert_eq!(application, Some(vec![3]), "the application's message is read all the same");
            spans.len()
        };
        assert_eq!(taken(&[0; 1000]), MAX_SHARED_SPANS);
        assert_eq!(taken(&[MAX_SHARED_BYTES / 2; 3]), 2);
        assert_eq!(taken(&[MAX_SHARED_BYTES + 1, 0]), 1, "a large group's alone");
        assert_eq!(taken(&[]), 0);
    }

    #[test]
    fn what_is_no_frame_is_none() {
        for payload in [&b""[..], b"hello", b"\x00\x00\x00\x00", &[0xff; 64]] {
            assert!(unframe(payload).is_none(), "{payload:?}");
        }
        assert!(unframe(b"\x00\x00\x00").is_some());
    }
}
