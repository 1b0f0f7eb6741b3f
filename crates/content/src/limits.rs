//! The bounds of a message, held when writing and when reading alike.
//!
//! Those that the draft does not set are ours ("local policy" in its section 9.1) and say so.

/// The largest encoded message, in bytes: 1 MiB. Ours; what is larger travels as an external part.
pub const MAX_CONTENT_BYTES: usize = 1 << 20;

/// How deep parts may nest; the body is level 1 (section 6.3).
pub const MAX_PART_DEPTH: usize = 4;

/// The most parts in one message, multi-parts counted as well (section 9.1).
pub const MAX_PARTS: usize = 1024;

/// The most messages in one status report. Ours.
pub const MAX_STATUSES: usize = 1024;

/// The longest `topicId`, in bytes (section 9.1).
pub const MAX_TOPIC_BYTES: usize = 4096;

/// How deep arrays, maps and tags may nest; the extensions map itself is level 1 (section 6.3).
pub const MAX_EXTENSION_DEPTH: usize = 4;

/// The longest text key of an extension, in bytes (section 4.3); the shortest is 1.
pub const MAX_EXTENSION_KEY_BYTES: usize = 255;

/// The largest encoded value of an extension, in bytes (section 4.3). The sender and room URIs are exempt.
pub const MAX_EXTENSION_VALUE_BYTES: usize = 4095;

/// The largest encoded extensions map, in bytes: 64 KiB. Ours; it bounds the memory that small values can be blown up to.
pub const MAX_EXTENSIONS_BYTES: usize = 1 << 16;

/// The largest magnitude of an integer map key, `2^53 - 1`: what a double holds exactly (section 6.2).
pub const MAX_INTEGER_KEY: i64 = (1 << 53) - 1;

/// The longest sender or room URI, in bytes: the message id counts it in 16 bits (section 3.3).
pub const MAX_URI_BYTES: usize = u16::MAX as usize;
