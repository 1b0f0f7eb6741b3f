//! The body of a message: a tree of parts (sections 4.4 and 4.5).

use std::fmt;

use zeroize::ZeroizeOnDrop;

use crate::media;

/// One part of a message; the body is a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What the part is meant for.
    pub disposition: Disposition,
    /// Language tags (RFC 5646) separated by commas; empty when not said.
    pub language: String,
    /// What the part holds.
    pub content: PartContent,
}

/// What a part holds.
#[derive(Clone, PartialEq, Eq)]
pub enum PartContent {
    /// Nothing: a deletion, or a message that consists of its extensions.
    Null,
    /// The content itself.
    Single {
        /// Its media type, with parameters.
        content_type: String,
        /// The bytes.
        content: Vec<u8>,
    },
    /// Content that is fetched from elsewhere.
    External(Box<ExternalPart>),
    /// Two or more parts.
    Multi {
        /// How they belong together.
        semantics: PartSemantics,
        /// The parts, in the sender's order of preference.
        parts: Vec<Part>,
    },
}

/// Content that is fetched from elsewhere, usually encrypted (section 4.5).
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalPart {
    /// The media type of the decrypted content.
    pub content_type: String,
    /// Where to fetch it.
    pub url: String,
    /// Seconds since 1970 after which it is gone, 0 for never.
    pub expires: u32,
    /// Its size in bytes, 0 when not said.
    pub size: u64,
    /// The AEAD algorithm, by IANA's number; 0 for none, 1 for AES-128-GCM.
    pub enc_alg: u16,
    /// The AEAD key; empty for none.
    pub key: ContentKey,
    /// The AEAD nonce; empty for none.
    pub nonce: Vec<u8>,
    /// The AEAD's additional authenticated data.
    pub aad: Vec<u8>,
    /// The hash algorithm, by IANA's number among the named-information ones; 0 for none, 1 for SHA-256.
    pub hash_alg: u8,
    /// The hash of what is at the URL; empty for none.
    pub content_hash: Vec<u8>,
    /// A description for people.
    pub description: String,
    /// A name suggested for storing it. It comes from the sender: never use it as a path.
    pub filename: String,
}

/// The key of external content. It is not shown by `Debug` and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default, ZeroizeOnDrop)]
pub struct ContentKey(Vec<u8>);

impl ContentKey {
    /// A key with these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes of the key, to decrypt with.
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

/// How the parts of a multi-part belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PartSemantics {
    /// The same thing several times: the receiver picks one.
    ChooseOne,
    /// One thing: whoever does not understand all of it shows none of it.
    SingleUnit,
    /// Several things: the receiver shows what it can.
    ProcessAll,
}

impl PartSemantics {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::ChooseOne,
            1 => Self::SingleUnit,
            2 => Self::ProcessAll,
            _ => return None,
        })
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::ChooseOne => 0,
            Self::SingleUnit => 1,
            Self::ProcessAll => 2,
        }
    }
}

/// What a part is meant for, by IANA's number (section 8.2.2). Unknown ones are kept and treated as [`RENDER`](Self::RENDER).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Disposition(pub u8);

impl Disposition {
    /// Not said.
    pub const UNSPECIFIED: Self = Self(0);
    /// To be shown as the receiver thinks best.
    pub const RENDER: Self = Self(1);
    /// A single reaction to another message.
    pub const REACTION: Self = Self(2);
    /// A profile of a person or a room.
    pub const PROFILE: Self = Self(3);
    /// To be shown among the messages.
    pub const INLINE: Self = Self(4);
    /// An icon, such as a picture of the sender.
    pub const ICON: Self = Self(5);
    /// To be fetched by the receiver, not shown at once.
    pub const ATTACHMENT: Self = Self(6);
    /// A multimedia session to join.
    pub const SESSION: Self = Self(7);
    /// The sender's preview of something, such as of a link.
    pub const PREVIEW: Self = Self(8);

    /// Whether a text of this disposition is what the message says.
    fn is_message_text(self) -> bool {
        !matches!(
            self,
            Self::REACTION | Self::PROFILE | Self::ICON | Self::ATTACHMENT | Self::SESSION | Self::PREVIEW
        )
    }
}

impl Part {
    /// A part without content.
    pub fn null(disposition: Disposition) -> Self {
        Self { disposition, language: String::new(), content: PartContent::Null }
    }

    /// A part with content of the given media type.
    pub fn single(
        disposition: Disposition,
        content_type: impl Into<String>,
        content: impl Into<Vec<u8>>,
    ) -> Self {
        let content = PartContent::Single { content_type: content_type.into(), content: content.into() };
        Self { disposition, language: String::new(), content }
    }

    /// A Markdown text to be shown.
    pub fn markdown(text: impl Into<String>) -> Self {
        Self::single(Disposition::RENDER, media::MARKDOWN, text.into())
    }

    /// A plain text to be shown.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::single(Disposition::RENDER, media::PLAIN, text.into())
    }

    /// Content that is fetched from elsewhere.
    pub fn external(disposition: Disposition, external: ExternalPart) -> Self {
        Self { disposition, language: String::new(), content: PartContent::External(Box::new(external)) }
    }

    /// Several parts; the draft wants two or more.
    pub fn multi(disposition: Disposition, semantics: PartSemantics, parts: Vec<Part>) -> Self {
        Self { disposition, language: String::new(), content: PartContent::Multi { semantics, parts } }
    }

    /// This part and all inside of it, depth first: the position of each is its part index, counted from 0.
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        let mut rest = vec![self];
        std::iter::from_fn(move || {
            let part = rest.pop()?;
            if let PartContent::Multi { parts, .. } = &part.content {
                rest.extend(parts.iter().rev());
            }
            Some(part)
        })
    }

    /// The part that a content id URI inside the body refers to: a single or external part. `self` must be the whole body.
    pub fn resolve_cid(&self, uri: &str) -> Option<&Part> {
        let index = parse_cid(uri)?;
        let part = self.iter().nth(usize::try_from(index).ok()?)?;
        matches!(part.content, PartContent::Single { .. } | PartContent::External(_)).then_some(part)
    }

    /// The text to show for this part, when `understands` tells which media types besides texts the reader can show.
    pub(crate) fn text(&self, understands: &dyn Fn(&str) -> bool) -> Option<&str> {
        if !self.disposition.is_message_text() {
            return None;
        }
        match &self.content {
            PartContent::Multi { semantics: PartSemantics::SingleUnit, parts }
                if !parts.iter().all(|part| part.is_understood(understands)) =>
            {
                None
            }
            PartContent::Multi { parts, .. } => parts.iter().find_map(|part| part.text(understands)),
            _ => self.own_text(),
        }
    }

    /// The content of this part when it is a text, whatever its disposition.
    pub(crate) fn own_text(&self) -> Option<&str> {
        match &self.content {
            PartContent::Single { content_type, content } if media::is_text(content_type) => {
                std::str::from_utf8(content).ok()
            }
            _ => None,
        }
    }

    fn is_understood(&self, understands: &dyn Fn(&str) -> bool) -> bool {
        match &self.content {
            PartContent::Null => true,
            PartContent::Single { content_type, .. } => {
                self.own_text().is_some() || understands(content_type)
            }
            PartContent::External(external) => understands(&external.content_type),
            PartContent::Multi { semantics, parts } => {
                let mut understood = parts.iter().map(|part| part.is_understood(understands));
                match semantics {
                    PartSemantics::ChooseOne => understood.any(|yes| yes),
                    PartSemantics::SingleUnit => understood.all(|yes| yes),
                    PartSemantics::ProcessAll => true,
                }
            }
        }
    }
}

/// The content id URI of a part by its index: `cid:N@local.invalid`.
pub fn cid(index: u32) -> String {
    format!("cid:{index}@local.invalid")
}

/// The part index in a content id URI, when it is one of [this form](cid).
pub fn parse_cid(uri: &str) -> Option<u32> {
    let digits = uri.strip_prefix("cid:")?.strip_suffix("@local.invalid")?;
    let index = digits.parse().ok()?;
    // One part, one name: no leading zeros, no sign.
    (cid(index) == uri).then_some(index)
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentKey({} bytes)", self.0.len())
    }
}

/// Without what the sender wrote, so that it reaches no log.
impl fmt::Debug for PartContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Single { content, .. } => write!(f, "Single({} bytes)", content.len()),
            Self::External(external) => external.fmt(f),
            Self::Multi { semantics, parts } => {
                f.debug_struct("Multi").field("semantics", semantics).field("parts", parts).finish()
            }
        }
    }
}

/// Without what the sender wrote, so that it reaches no log.
impl fmt::Debug for ExternalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalPart")
            .field("size", &self.size)
            .field("enc_alg", &self.enc_alg)
            .field("hash_alg", &self.hash_alg)
            .finish_non_exhaustive()
    }
}
