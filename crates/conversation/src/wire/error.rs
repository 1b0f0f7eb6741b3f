//! What can be wrong with bytes from outside, and with what is to be sent.

/// Why bytes are not what they should be, or something cannot be put into bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is not a message of this kind. Drop it.
    #[error("not a {what}")]
    Malformed {
        /// What it was to be.
        what: &'static str,
    },
    /// It says what could be said in fewer bytes, or in another order. Drop it: somebody has changed it on its way.
    #[error("the {what} is not in the canonical form")]
    NotCanonical {
        /// What it is.
        what: &'static str,
    },
    /// A field is there more often than it may be. Drop it.
    #[error("the field {number} of the {what} is there more than {max} times")]
    Repeated {
        /// The message.
        what: &'static str,
        /// The field.
        number: u32,
        /// How often it may be there.
        max: usize,
    },
    /// A part is not of the length that it has to have. Drop what came; correct what is to be sent.
    #[error("the {what} has {size} bytes, not {expected}")]
    Length {
        /// The part.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// The bytes it has to have.
        expected: usize,
    },
    /// It is longer than is taken. Drop what came; send in parts, or as a file, what is to be sent.
    #[error("the {what} has {size} bytes, the most is {max}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// The most.
        max: usize,
    },
    /// A part that has to be there is not. Drop it.
    #[error("the {what} lacks its {part}")]
    Missing {
        /// The message.
        what: &'static str,
        /// The part.
        part: &'static str,
    },
    /// The hint is not 16 bytes in lower-case hexadecimal. Drop it.
    #[error("the hint is not 16 bytes in lower-case hexadecimal")]
    Hint,
    /// The salt is neither 0 nor one that a salted hint is made with. Drop it.
    #[error("the salt is neither 0 nor at least 2^28")]
    Salt,
    /// The length is not one of the size classes. Drop it.
    #[error("{size} bytes are not the length of a size class")]
    SizeClass {
        /// The bytes of the ciphertext.
        size: usize,
    },
    /// The padding is not what it has to be. Drop it, and take its sender for one that does not follow the protocol.
    #[error("the padding is not made of zeros to the end of its size class")]
    Padding,
    /// The key of the conversation's epoch does not open it. Drop it: it was damaged, moved from elsewhere or made up.
    #[error("the key that its hint points to does not open the envelope")]
    Undecryptable,
    /// It was encrypted in a way that the conversation's type does not use. Drop it.
    #[error("the conversation's type does not use this encryption")]
    WrongScheme,
    /// The frame is of another type than the conversation. Drop it, and take its sender for one that does not follow the protocol.
    #[error("a frame of the type {got} in a conversation of the type {expected}")]
    WrongType {
        /// The type that the frame claims.
        got: u16,
        /// The conversation's.
        expected: u16,
    },
    /// A frame has come with a hint of the other kind. Drop it, and take its sender for one that does not follow the protocol.
    #[error("the hint is of the kind for {hint}, and the frame is not")]
    WrongKind {
        /// The kind of the hint.
        hint: &'static str,
    },
}
