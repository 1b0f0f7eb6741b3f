//! A bundle as text: `tertulia_intro_1_` and Base64 for URLs, without padding.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Bundle, BundleError, MAX_BUNDLE};
use crate::wire::WireError;

/// What the text of a bundle begins with; the number is its version.
pub const PREFIX: &str = "tertulia_intro_1_";

const NAME: &str = "tertulia_intro_";

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl FromStr for Bundle {
    type Err = BundleError;

    /// Reads the text. White space around it is dropped, as copying leaves it.
    fn from_str(text: &str) -> Result<Self, BundleError> {
        let rest = text.trim().strip_prefix(NAME).ok_or(BundleError::Prefix)?;
        let (version, encoded) = rest.split_once('_').ok_or(BundleError::Prefix)?;
        match version.parse() {
            Ok(1) if version == "1" => {}
            Ok(version) if version > 1 => return Err(BundleError::Version { version }),
            _ => return Err(BundleError::Prefix),
        }
        let most = MAX_BUNDLE.div_ceil(3) * 4;
        if encoded.len() > most {
            return Err(
                WireError::TooLong { what: "text of a bundle", size: encoded.len(), max: most }.into()
            );
        }
        Self::decode(&URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BundleError::Base64)?)
    }
}
