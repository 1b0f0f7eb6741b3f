use std::{fmt, str::FromStr};

use super::{DeviceId, DeviceIdError, Domain, DomainError, UserId, UuidError};
use crate::text::serde_by_text;

/// A device's name in the world, and its identity in an MLS group: the content of a basic credential (RFC 9420,
/// section 5.3), UTF-8.
///
/// `<user uuid>:<device hex>@<domain>`, all in lower case.
///
/// Compare addresses and not their texts: other clients leave out a device id's leading zeros.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceAddress {
    /// The user whose device it is.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The user's hub.
    pub domain: Domain,
}

/// Why a text is not a [`DeviceAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The bytes are not UTF-8.
    #[error("a device address is text")]
    NotText,
    /// The `:` or the `@` is missing.
    #[error("a device address has the form <user>:<device>@<domain>")]
    Form,
    /// There is a letter in upper case. An identity has one spelling.
    #[error("a device address is in lower case")]
    NotLowerCase,
    /// What stands before the `:` is no user id.
    #[error("the user of a device address: {0}")]
    User(#[from] UuidError),
    /// What stands between `:` and `@` is no device id.
    #[error("the device of a device address: {0}")]
    Device(#[from] DeviceIdError),
    /// What stands after the `@` is no domain.
    #[error("the domain of a device address: {0}")]
    Domain(#[from] DomainError),
}

impl DeviceAddress {
    /// Longest address, in bytes.
    pub const MAX_LEN: usize = 36 + 1 + 16 + 1 + Domain::MAX_LEN;

    /// The address of this device of this user on this hub.
    pub const fn new(user: UserId, device: DeviceId, domain: Domain) -> Self {
        Self { user, device, domain }
    }

    /// Reads the identity of a basic credential.
    pub fn from_identity(identity: &[u8]) -> Result<Self, AddressError> {
        std::str::from_utf8(identity).map_err(|_| AddressError::NotText)?.parse()
    }

    /// The identity for a basic credential.
    pub fn to_identity(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// Eight characters each of user and device, for logs: `f3b0c4a2:00c0ffee`.
    pub fn short(&self) -> String {
        format!("{}:{}", self.user.short(), self.device.short())
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.user, self.device, self.domain)
    }
}

impl fmt::Debug for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceAddress({self})")
    }
}

impl FromStr for DeviceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (user, rest) = text.split_once(':').ok_or(AddressError::Form)?;
        let (device, domain) = rest.split_once('@').ok_or(AddressError::Form)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(AddressError::NotLowerCase);
        }
        Ok(Self { user: user.parse()?, device: device.parse()?, domain: domain.parse()? })
    }
}

serde_by_text!(DeviceAddress, "a device address <user>:<device>@<domain>");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47:00c0ffee00c0ffee@hub.example.com";

    #[test]
    fn an_address_is_written_as_it_is_read() {
        let address: DeviceAddress = TEXT.parse().unwrap();
        assert_eq!(address.device, DeviceId::new(0x00c0_ffee_00c0_ffee));
        assert_eq!(address.to_string(), TEXT);
        assert_eq!(address.to_identity(), TEXT.as_bytes());
        assert_eq!(DeviceAddress::from_identity(TEXT.as_bytes()), Ok(address.clone()));
        assert_eq!(address.short(), "f3b0c4a2:00c0ffee");
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(serde_json::from_str::<DeviceAddress>(&json).unwrap(), address);
    }

    #[test]
    fn an_address_without_leading_zeros_is_the_same_device() {
        let unpadded = TEXT.replace(":00c0", ":c0");
        assert_eq!(unpadded.parse::<DeviceAddress>(), TEXT.parse());
    }

    #[test]
    fn each_fault_is_named() {
        let user = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";
        for (text, fault) in [
            (String::new(), AddressError::Form),
            (user.to_owned(), AddressError::Form),
            (format!("{user}:1"), AddressError::Form),
            (format!("{user}@hub.example:1"), AddressError::Form),
            (TEXT.to_uppercase(), AddressError::NotLowerCase),
            (format!("history-client:{user}@hub.example"), AddressError::User(UuidError::Malformed)),
            (format!("{user}:@hub.example"), AddressError::Device(DeviceIdError::Length { got: 0 })),
            (format!("{user}:x@hub.example"), AddressError::Device(DeviceIdError::NotHex)),
            (format!("{user}:1@"), AddressError::Domain(DomainError::Length { got: 0 })),
            (format!("{user}:1@a@b"), AddressError::Domain(DomainError::Character { found: '@' })),
        ] {
            assert_eq!(text.parse::<DeviceAddress>(), Err(fault), "{text}");
        }
        assert_eq!(DeviceAddress::from_identity(b"\xff"), Err(AddressError::NotText));
    }
}
