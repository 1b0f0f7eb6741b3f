//! What stands inside the encryption: the content, bound to the place that it is for.
//!
//! A session proves which device has written a message, and nothing of where it belongs. So the plaintext names the
//! conversation, what the message is in it, and both devices, and the reader compares: a hub cannot move a ciphertext
//! into another conversation, and nobody can pass on as their own what another device has written.
//!
//! ```text
//! version      1 byte    1
//! purpose      1 byte    1 message, 2 name, 3 receipt, 4 renewal
//! conversation 16 bytes
//! sender       2 bytes of length, and the device's address
//! recipient    2 bytes of length, and the device's address
//! content      4 bytes of length, and the bytes
//! padding      zeros
//! ```

use tertulia_domain::{ConversationId, DeviceAddress, limits::MAX_PAIRWISE_CIPHERTEXT_BYTES};
use zeroize::Zeroizing;

use crate::{RatchetError, Result};

const VERSION: u8 = 1;
/// A message is at least so long once it is padded, so that short ones look alike.
const LEAST: usize = 256;
/// The longest content, in bytes: what is left of a ciphertext after the places, the padding and the encryption.
pub const MAX_CONTENT: usize = MAX_PAIRWISE_CIPHERTEXT_BYTES - MAX_PAIRWISE_CIPHERTEXT_BYTES / 4;

/// What a message is in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A message to the members.
    Message,
    /// A new name for the conversation, which only those send who may rename it.
    Name,
    /// What the sender tells of messages that it has received.
    Receipt,
    /// A secret that hints and outer keys come from next, where the messages travel in envelopes.
    Renewal,
}

impl Purpose {
    const fn tag(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Name => 2,
            Self::Receipt => 3,
            Self::Renewal => 4,
        }
    }
}

/// Where a message belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// The conversation.
    pub conversation: ConversationId,
    /// What it is there.
    pub purpose: Purpose,
}

/// Puts the content with its place into one padded plaintext.
pub(crate) fn seal(
    context: Context,
    sender: &DeviceAddress,
    recipient: &DeviceAddress,
    content: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    if content.len() > MAX_CONTENT {
        return Err(RatchetError::TooLong { size: content.len(), max: MAX_CONTENT });
    }
    let (sender, recipient) = (sender.to_identity(), recipient.to_identity());
    let length = 2 + 16 + 2 + sender.len() + 2 + recipient.len() + 4 + content.len();
    // Of its final size from the start: growing would leave copies of the content in memory.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(padded(length)));
    plaintext.extend([VERSION, context.purpose.tag()]);
    plaintext.extend_from_slice(context.conversation.as_bytes());
    for address in [&sender, &recipient] {
        let length = u16::try_from(address.len()).expect("an address has at most some 300 bytes");
        plaintext.extend(length.to_be_bytes());
        plaintext.extend_from_slice(address);
    }
    let length = u32::try_from(content.len()).expect("the length was bounded above");
    plaintext.extend(length.to_be_bytes());
    plaintext.extend_from_slice(content);
    let length = padded(plaintext.len());
    plaintext.resize(length, 0);
    Ok(plaintext)
}

/// The content of a plaintext, if it belongs here.
pub(crate) fn open(
    plaintext: &[u8],
    context: Context,
    sender: &DeviceAddress,
    recipient: &DeviceAddress,
) -> Result<Vec<u8>> {
    let mut rest = Reader(plaintext);
    if rest.byte()? != VERSION {
        return Err(RatchetError::Malformed("its version is not known here"));
    }
    let purpose = rest.byte()?;
    let conversation = rest.take(16)?;
    let length = rest.u16()?;
    let named_sender = rest.take(length.into())?;
    let length = rest.u16()?;
    let named_recipient = rest.take(length.into())?;
    let length = usize::try_from(rest.u32()?).map_err(|_| TRUNCATED)?;
    let content = rest.take(length)?;
    if rest.0.iter().any(|byte| *byte != 0) {
        return Err(RatchetError::Malformed("there is something in its padding"));
    }
    let belongs = [
        ("conversation", conversation == context.conversation.as_bytes()),
        ("purpose", purpose == context.purpose.tag()),
        ("sender", named_sender == sender.to_identity()),
        ("recipient", named_recipient == recipient.to_identity()),
    ];
    match belongs.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(RatchetError::WrongContext { what }),
        None => Ok(content.to_vec()),
    }
}

/// To how many bytes a plaintext is padded: to one of eight lengths between a power of two and the next, which adds at most an
/// eighth.
fn padded(length: usize) -> usize {
    if length <= LEAST {
        return LEAST;
    }
    let step = 1 << (length.ilog2() - 3);
    length.next_multiple_of(step)
}

const TRUNCATED: RatchetError = RatchetError::Malformed("it ends too early");

/// What of the bytes was not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use tertulia_domain::{DeviceId, UserId};

    const HERE: Context =
        Context { conversation: ConversationId::from_bytes([1; 16]), purpose: Purpose::Message };

    fn device(n: u8) -> DeviceAddress {
        DeviceAddress::new(
            UserId::from_bytes([n; 16]),
            DeviceId::new(n.into()),
            "hub.example".parse().unwrap(),
        )
    }

    #[test]
    fn a_content_is_what_it_was() {
        for content in [&b""[..], b"Shall we meet again?", &vec![7; MAX_CONTENT]] {
            let sealed = seal(HERE, &device(1), &device(2), content).unwrap();
            assert_eq!(open(&sealed, HERE, &device(1), &device(2)).unwrap(), content);
            assert_eq!(sealed.capacity(), sealed.len(), "it was never moved");
        }
        let long = vec![0; MAX_CONTENT + 1];
        assert!(matches!(seal(HERE, &device(1), &device(2), &long), Err(RatchetError::TooLong { .. })));
    }

    #[test]
    fn a_message_is_read_only_in_its_place() {
        let sealed = seal(HERE, &device(1), &device(2), b"x").unwrap();
        let elsewhere = Context { conversation: ConversationId::from_bytes([2; 16]), ..HERE };
        let renaming = Context { purpose: Purpose::Name, ..HERE };
        for (context, sender, recipient, expected) in [
            (elsewhere, 1, 2, "conversation"),
            (renaming, 1, 2, "purpose"),
            (HERE, 3, 2, "sender"),
            (HERE, 1, 3, "recipient"),
            (HERE, 2, 1, "sender"),
        ] {
            let refused = open(&sealed, context, &device(sender), &device(recipient)).unwrap_err();
            assert!(matches!(refused, RatchetError::WrongContext { what } if what == expected), "{refused}");
        }
    }

    #[test]
    fn short_messages_look_alike_and_long_ones_grow_by_an_eighth_at_most() {
        let length = |content: usize| seal(HERE, &device(1), &device(2), &vec![1; content]).unwrap().len();
        assert_eq!(length(0), length(60));
        for length in LEAST..MAX_PAIRWISE_CIPHERTEXT_BYTES {
            assert!((length..=length + length / 8).contains(&padded(length)), "{length}");
            assert!(padded(length) <= padded(length + 1));
        }
        assert!(padded(MAX_CONTENT + 1024) < MAX_PAIRWISE_CIPHERTEXT_BYTES - 256, "the encryption has room");
    }

    #[test]
    fn what_is_cut_or_has_something_in_its_padding_is_refused() {
        let sealed = seal(HERE, &device(1), &device(2), b"content").unwrap();
        let end = sealed.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for length in 0..end {
            assert!(matches!(
                open(&sealed[..length], HERE, &device(1), &device(2)),
                Err(RatchetError::Malformed(_))
            ));
        }
        let mut padded = sealed.to_vec();
        *padded.last_mut().unwrap() = 1;
        assert!(matches!(open(&padded, HERE, &device(1), &device(2)), Err(RatchetError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = open(&bytes, HERE, &device(1), &device(2));
        }
    }
}
