//! Reports of what became of messages: receipts (draft-mahy-mimi-message-status-01).

use minicbor::{Decoder, Encoder};

use crate::content::MimiContent;
use crate::error::{ContentError, InvalidContent};
use crate::id::MessageId;
use crate::limits::MAX_STATUSES;
use crate::media;
use crate::part::{Disposition, Part, PartContent};

/// What became of a message at the sender of a report (section 3 of that draft).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageStatus {
    /// It was not read, or not any more.
    Unread,
    /// A client of the sender received it.
    Delivered,
    /// The sender read it.
    Read,
    /// It expired.
    Expired,
    /// It was deleted.
    Deleted,
    /// The sender's client hides it.
    Hidden,
    /// Something went wrong with its reception.
    Error,
    /// One that the draft does not define: 7 to 255. Kept as it is.
    Other(u8),
}

impl MessageStatus {
    fn number(self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Delivered => 1,
            Self::Read => 2,
            Self::Expired => 3,
            Self::Deleted => 4,
            Self::Hidden => 5,
            Self::Error => 6,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Unread,
            1 => Self::Delivered,
            2 => Self::Read,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Hidden,
            6 => Self::Error,
            other => Self::Other(other),
        }
    }
}

impl MimiContent {
    /// A report of what became of these messages, all of the room that it is sent to. At most
    /// [`MAX_STATUSES`](crate::limits::MAX_STATUSES) of them are read by others.
    pub fn status_report(statuses: &[(MessageId, MessageStatus)]) -> Self {
        Self::new(Part::single(Disposition::UNSPECIFIED, media::MESSAGE_STATUS, written(statuses)))
    }

    /// What the message reports of others, if it is a report.
    ///
    /// # Errors
    /// [`ContentError`] for a report that is not of the form. Whatever the bytes, the memory used is bounded by their number.
    pub fn as_status_report(&self) -> Result<Option<Vec<(MessageId, MessageStatus)>>, ContentError> {
        match &self.body.content {
            PartContent::Single { content_type, content } if content_type == media::MESSAGE_STATUS => {
                read(content).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn written(statuses: &[(MessageId, MessageStatus)]) -> Vec<u8> {
    const MEMORY: &str = "writing CBOR to memory cannot fail";
    let mut cbor = Encoder::new(Vec::new());
    cbor.array(statuses.len() as u64).expect(MEMORY);
    for (id, status) in statuses {
        cbor.array(2).and_then(|cbor| cbor.bytes(id.as_bytes())).expect(MEMORY);
        cbor.u8(status.number()).expect(MEMORY);
    }
    cbor.into_writer()
}

/// Reads strictly: exactly what [`written`] gives for it.
fn read(bytes: &[u8]) -> Result<Vec<(MessageId, MessageStatus)>, ContentError> {
    let mut cbor = Decoder::new(bytes);
    let count = array(&mut cbor, "a report: an array of definite length")?;
    if count > MAX_STATUSES as u64 {
        return Err(InvalidContent::TooManyStatuses { count }.into());
    }
    let mut statuses = Vec::new();
    for _ in 0..count {
        let at = cbor.position();
        let malformed = |expected| ContentError::Malformed { at, expected };
        if array(&mut cbor, "a message id and a status")? != 2 {
            return Err(malformed("a message id and a status"));
        }
        let id = cbor.bytes().ok().and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| malformed("a message id of 32 bytes"))?;
        let id = MessageId::from_bytes(id).map_err(InvalidContent::from)?;
        let status = cbor.u8().map_err(|_| malformed("a status of 8 bits"))?;
        statuses.push((id, MessageStatus::from_number(status)));
    }
    match bytes.len() - cbor.position() {
        0 => {}
        extra => return Err(ContentError::TrailingBytes { extra }),
    }
    let again = written(&statuses);
    if again == bytes {
        Ok(statuses)
    } else {
        let at = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        Err(ContentError::NotDeterministic { at })
    }
}

fn array(cbor: &mut Decoder<'_>, expected: &'static str) -> Result<u64, ContentError> {
    let at = cbor.position();
    cbor.array().ok().flatten().ok_or(ContentError::Malformed { at, expected })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// The example of the draft, section 5.
    const EXAMPLE: &str = "84\
        825820017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f402\
        825820015354973c2b65ca937bf1e035ae53a5ab80e947afa43d46920d4202e5cc0b2702\
        825820018d825adf9f6be00dcafc5704c4102f5022e74219d0b603e4ba7622654042af00\
        82582001e59db8173939facc2c8a4a0f0ae8d0c7a11a81239626630c9464a8d6717a0303";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn report(content: Vec<u8>) -> MimiContent {
        MimiContent::new(Part::single(Disposition::UNSPECIFIED, media::MESSAGE_STATUS, content))
    }

    #[test]
    fn the_example_of_the_draft_is_read_and_written() {
        let statuses = report(bytes(EXAMPLE)).as_status_report().unwrap().unwrap();
        let said: Vec<_> = statuses.iter().map(|(_, status)| *status).collect();
        assert_eq!(
            said,
            [MessageStatus::Read, MessageStatus::Read, MessageStatus::Unread, MessageStatus::Expired]
        );
        assert_eq!(written(&statuses), bytes(EXAMPLE));
        let sent = MimiContent::status_report(&statuses).encode().unwrap();
        let received = MimiContent::decode(&sent).unwrap();
        assert_eq!(received.as_status_report().unwrap(), Some(statuses));
        assert_eq!(received.text(), None, "a report is not shown");
    }

    #[test]
    fn what_is_no_report_says_so() {
        assert_eq!(MimiContent::plain("read").as_status_report(), Ok(None));
        assert_eq!(MimiContent::status_report(&[]).as_status_report(), Ok(Some(Vec::new())));
    }

    #[test]
    fn a_report_that_is_not_of_the_form_is_refused() {
        let id = "5820017ce54837404c3696e0c747b985cb172716d0ed0a3d249ca63ace7d82a096f4";
        for wrong in [
            String::new(),
            "80ff".into(),                                               // something behind it
            "81".into(),                                                 // cut short
            "9f82ff".into(),                                             // of indefinite length
            "818101".into(),                                             // no pair
            format!("8183{id}0200"),                                     // three
            format!("8182{id}1802"),                                     // not in the shortest form
            format!("8182{id}190100"),                                   // larger than 8 bits
            "8182410102".into(),                                         // a short id
            format!("8182{}02", id.replacen("5820017c", "5820027c", 1)), // another hash
            "9b7fffffffffffffff".into(),                                 // more than there can be
        ] {
            assert!(report(bytes(&wrong)).as_status_report().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_defined_yet_is_kept() {
        let id = MessageId::from_bytes([1; 32]).unwrap();
        let statuses = vec![(id, MessageStatus::Other(7)), (id, MessageStatus::Other(255))];
        assert_eq!(MimiContent::status_report(&statuses).as_status_report(), Ok(Some(statuses)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(statuses)) = report(content.clone()).as_status_report() {
                prop_assert_eq!(written(&statuses), content);
            }
        }
    }
}
