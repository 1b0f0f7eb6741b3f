//! The message container and the ways to make one (section 4.1).

use crate::error::{ContentError, InvalidContent};
use crate::extensions::{CONVERSATION_NAME, CONVERSATION_TYPE, Extensions, REMINDER, Value};
use crate::id::{MessageId, Salt};
use crate::media;
use crate::part::{Disposition, Part, PartContent};
use crate::{decode, encode};

/// How long a year is for the purposes of [`Expiration::is_plausible`], in seconds: 366 days.
const YEAR: u64 = 366 * 24 * 60 * 60;

/// A message as it stands inside the encryption.
///
/// Making one checks nothing; [`encode`](Self::encode) refuses whatever [`decode`](Self::decode) would refuse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MimiContent {
    /// Random bytes that make the message's id its own.
    pub salt: Salt,
    /// The message that this one edits or deletes, always by the id of its *first* version. Only its author may; see
    /// [`rules::may_replace`](crate::rules::may_replace). Of the replacing message only the body counts.
    pub replaces: Option<MessageId>,
    /// The thread that the message belongs to, at most 4096 bytes; empty for none.
    pub topic_id: Vec<u8>,
    /// When the receivers should delete the message by themselves.
    pub expires: Option<Expiration>,
    /// The message, in the version that the author saw, that this one replies or reacts to. See
    /// [`rules::reply_loops`](crate::rules::reply_loops).
    pub in_reply_to: Option<MessageId>,
    /// Everything else.
    pub extensions: Extensions,
    /// What the message says.
    pub body: Part,
}

/// When the receivers of a message should delete it. A request: nothing makes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Expiration {
    /// So many seconds after it was read.
    Relative(u32),
    /// At this time, in seconds since 1970, read or not.
    Absolute(u32),
}

impl Expiration {
    /// When a message that was read at `read_at` is to be deleted; both in seconds since 1970.
    pub fn deadline(self, read_at: u64) -> u64 {
        match self {
            Self::Relative(seconds) => read_at.saturating_add(seconds.into()),
            Self::Absolute(time) => time.into(),
        }
    }

    /// Whether the time is within a year of `now` (seconds since 1970). Another one is most likely malicious, and its message to be discarded (section 9.1).
    pub fn is_plausible(self, now: u64) -> bool {
        self.deadline(now).abs_diff(now) <= YEAR
    }
}

impl MimiContent {
    /// A message with this body, a new salt, and nothing else.
    pub fn new(body: Part) -> Self {
        Self {
            salt: Salt::random(),
            replaces: None,
            topic_id: Vec::new(),
            expires: None,
            in_reply_to: None,
            extensions: Extensions::new(),
            body,
        }
    }

    /// A Markdown text. It must hold no HTML: a tag's `<` is written `&lt;` (section 7.1.1).
    pub fn markdown(text: impl Into<String>) -> Self {
        Self::new(Part::markdown(text))
    }

    /// A plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Part::plain(text))
    }

    /// A frame of the conversation type of an application's own that has this number. What it says only that application knows.
    pub fn frame(conversation_type: u16, frame: impl Into<Vec<u8>>) -> Self {
        Self::new(Part::single(Disposition::RENDER, media::frame(conversation_type), frame))
    }

    /// A reaction to a message: one emoji, of one or more Unicode characters.
    pub fn reaction(to: MessageId, emoji: impl Into<String>) -> Self {
        Self::new(Part::single(Disposition::REACTION, media::PLAIN, emoji.into())).reply_to(to)
    }

    /// Takes a reaction back. `reaction` is the id of the message that reacted.
    pub fn unreact(reaction: MessageId) -> Self {
        Self { replaces: Some(reaction), ..Self::new(Part::null(Disposition::REACTION)) }
    }

    /// Replaces the text of a message by another Markdown text. `first` is the id of the message's first version.
    pub fn edit(first: MessageId, text: impl Into<String>) -> Self {
        Self { replaces: Some(first), ..Self::markdown(text) }
    }

    /// Deletes a message. `first` is the id of the message's first version.
    pub fn delete(first: MessageId) -> Self {
        Self { replaces: Some(first), ..Self::new(Part::null(Disposition::RENDER)) }
    }

    /// Tells all members the name of the conversation.
    pub fn name_announcement(name: &str) -> Self {
        Self::new(Part::null(Disposition::UNSPECIFIED)).with_conversation_name(name)
    }

    /// Tells members who may not know it the name that the conversation has. Unlike an announcement it gives it no other one.
    pub fn name_reminder(name: &str) -> Self {
        let mut reminder = Self::name_announcement(name);
        reminder.extensions.insert(REMINDER, true);
        reminder
    }

    /// The same as a reply.
    #[must_use]
    pub fn reply_to(self, id: MessageId) -> Self {
        Self { in_reply_to: Some(id), ..self }
    }

    /// The same in a thread.
    #[must_use]
    pub fn in_topic(self, topic_id: impl Into<Vec<u8>>) -> Self {
        Self { topic_id: topic_id.into(), ..self }
    }

    /// The same with a time to be deleted.
    #[must_use]
    pub fn expiring(self, expires: Expiration) -> Self {
        Self { expires: Some(expires), ..self }
    }

    /// The same with thread, expiration and reply of the message that it edits or deletes: an edit changes the body and nothing else (section 9.3).
    #[must_use]
    pub fn keeping(self, original: &Self) -> Self {
        let Self { topic_id, expires, in_reply_to, .. } = original;
        Self { topic_id: topic_id.clone(), expires: *expires, in_reply_to: *in_reply_to, ..self }
    }

    /// The same, saying whom it is from and for which room.
    #[must_use]
    pub fn with_origin(mut self, sender_uri: &str, room_uri: &str) -> Self {
        self.extensions.set_sender_uri(sender_uri);
        self.extensions.set_room_uri(room_uri);
        self
    }

    /// The same with the name of the conversation, at most 4092 bytes.
    #[must_use]
    pub fn with_conversation_name(mut self, name: &str) -> Self {
        self.extensions.set_text(CONVERSATION_NAME, name);
        self
    }

    /// The same with the number of the conversation's type, and the secret that the conversation's id was made from with it.
    #[must_use]
    pub fn with_conversation_type(mut self, conversation_type: u16, creation_secret: &[u8; 32]) -> Self {
        let claim = [&conversation_type.to_be_bytes()[..], creation_secret].concat();
        self.extensions.insert(CONVERSATION_TYPE, Value::Bytes(claim));
        self
    }

    /// The same with a given salt, to make known bytes again. Two messages must never share one.
    #[must_use]
    pub fn with_salt(self, salt: Salt) -> Self {
        Self { salt, ..self }
    }

    /// The text to show, when there is one: the first Markdown or plain text in the order of the sender's preference.
    ///
    /// Not reactions, attachments, previews and the like. A single unit (section 4.4) counts only when all of it is text; a reader that shows
    /// more than text asks [`text_beside`](Self::text_beside).
    pub fn text(&self) -> Option<&str> {
        self.text_beside(|_| false)
    }

    /// The [text](Self::text) for a reader that also understands the media types for which `understands` is true.
    pub fn text_beside(&self, understands: impl Fn(&str) -> bool) -> Option<&str> {
        self.body.text(&understands)
    }

    /// The message that this one reacts to and the reaction's text, when it is a single reaction in text.
    pub fn as_reaction(&self) -> Option<(MessageId, &str)> {
        let text = self.body.own_text().filter(|_| self.body.disposition == Disposition::REACTION)?;
        Some((self.in_reply_to?, text))
    }

    /// The message that this one deletes, or whose reaction it takes back.
    pub fn as_delete(&self) -> Option<MessageId> {
        self.replaces.filter(|_| self.body.content == PartContent::Null)
    }

    /// The name of the conversation, when the message carries one.
    pub fn conversation_name(&self) -> Option<&str> {
        self.extensions.get_text(CONVERSATION_NAME)
    }

    /// The number of the conversation's type and the secret of its id, when the message carries them. A claim, which the id proves.
    pub fn conversation_type(&self) -> Option<(u16, [u8; 32])> {
        let Some(Value::Bytes(claim)) = self.extensions.get(CONVERSATION_TYPE) else { return None };
        let (number, secret) = claim.split_first_chunk()?;
        Some((u16::from_be_bytes(*number), secret.try_into().ok()?))
    }

    /// The number of the conversation type that the message is a frame of, and the frame, when it is one.
    pub fn as_frame(&self) -> Option<(u16, &[u8])> {
        match &self.body.content {
            PartContent::Single { content_type, content } => {
                media::frame_type(content_type).map(|number| (number, content.as_slice()))
            }
            _ => None,
        }
    }

    /// The name that the message gives the conversation, when it is an announcement: it does that and nothing else. A text that
    /// carries the name and a [reminder](Self::name_reminder) of it are none.
    pub fn announced_name(&self) -> Option<&str> {
        let Self { body, replaces, in_reply_to, extensions, .. } = self;
        let is_announcement = body.content == PartContent::Null
            && body.disposition == Disposition::UNSPECIFIED
            && replaces.is_none()
            && in_reply_to.is_none()
            && extensions.get(REMINDER).is_none();
        self.conversation_name().filter(|_| is_announcement)
    }

    /// The message in deterministic CBOR.
    ///
    /// # Errors
    /// [`InvalidContent`] when the draft forbids such a message: what is too large, too deep or out of range.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidContent> {
        encode::message(self)
    }

    /// The message in these bytes, which must be exactly those that [`encode`](Self::encode) gives.
    ///
    /// # Errors
    /// [`ContentError`] for anything else. Whatever the bytes, the memory used is bounded by their number and this does not panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        decode::message(bytes)
    }
}
