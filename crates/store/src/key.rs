//! The key of a store: 32 random bytes in a file, or derived from a passphrase.

use crate::{
    StoreError,
    error::io_error,
    home::{remove_if_there, write_private},
};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::{fmt, fs, path::Path};
use zeroize::{ZeroizeOnDrop, Zeroizing};

const KEY_FILE: &str = "key";
const DERIVATION_FILE: &str = "key.json";
/// No file with a key or the parameters of a derivation is longer.
const MAX_FILE: u64 = 4096;

/// Where a store's key comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum KeySource {
    /// A file beside the database, readable by its owner only. It is made with the store.
    File,
    /// A passphrase, by Argon2id. What is stored beside the database is the salt and the cost.
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "File",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

/// The key of a database.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct StoreKey([u8; 32]);

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

/// How a key is derived (RFC 9106). The first recommended option of its section 4 takes 2 GiB, the second 64 MiB, which a
/// phone has too.
#[derive(Debug, Serialize, Deserialize)]
struct Derivation {
    version: u32,
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

const VERSION: u32 = 1;
const ALGORITHM: &str = "argon2id";
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

impl StoreKey {
    /// Makes the key of a new store, and what is needed to have it again.
    pub(crate) fn create(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        // What an interrupted creation left must not be taken for the way to this key.
        remove_if_there(&home.join(KEY_FILE))?;
        remove_if_there(&home.join(DERIVATION_FILE))?;
        match source {
            KeySource::File => {
                let mut key = Self([0; 32]);
                rand::rng().fill_bytes(&mut key.0);
                let text = Zeroizing::new(hex::encode(key.0));
                write_private(&home.join(KEY_FILE), text.as_bytes())?;
                Ok(key)
            }
            KeySource::Passphrase(passphrase) => {
                let mut salt = [0; SALT_BYTES];
                rand::rng().fill_bytes(&mut salt);
                let derivation = Derivation {
                    version: VERSION,
                    algorithm: ALGORITHM.to_owned(),
                    memory_kib: MEMORY_KIB,
                    passes: PASSES,
                    lanes: LANES,
                    salt: hex::encode(salt),
                };
                let key = derivation.key(home, passphrase)?;
                let text =
                    serde_json::to_vec_pretty(&derivation).expect("numbers and strings are always JSON");
                write_private(&home.join(DERIVATION_FILE), &text)?;
                Ok(key)
            }
        }
    }

    /// Has the key of an existing store again.
    pub(crate) fn open(home: &Path, source: &KeySource) -> Result<Self, StoreError> {
        let damaged = |reason| StoreError::DamagedKey { home: home.to_owned(), reason };
        let (key_file, derivation_file) = (home.join(KEY_FILE), home.join(DERIVATION_FILE));
        match source {
            KeySource::File if derivation_file.exists() => {
                Err(StoreError::PassphraseNeeded { home: home.to_owned() })
            }
            KeySource::File if !key_file.exists() => Err(damaged("the key file is missing")),
            KeySource::File => {
                let text = read_bounded(&key_file, home)?;
                let mut key = Self([0; 32]);
                hex::decode_to_slice(text.trim_ascii(), &mut key.0)
                    .map_err(|_| damaged("the key file does not hold 64 hexadecimal digits"))?;
                Ok(key)
            }
            KeySource::Passphrase(_) if key_file.exists() => {
                Err(StoreError::NoPassphraseWanted { home: home.to_owned() })
            }
            KeySource::Passphrase(_) if !derivation_file.exists() => Err(damaged("key.json is missing")),
            KeySource::Passphrase(passphrase) => {
                let text = read_bounded(&derivation_file, home)?;
                let derivation: Derivation =
                    serde_json::from_slice(&text).map_err(|_| damaged("key.json is not of its form"))?;
                derivation.key(home, passphrase)
            }
        }
    }

    /// The key as SQLCipher takes it: a blob literal, which skips its own derivation.
    pub(crate) fn as_blob_literal(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(self.0));
        Zeroizing::new(format!("x'{}'", digits.as_str()))
    }
}

impl Derivation {
    fn key(&self, home: &Path, passphrase: &str) -> Result<StoreKey, StoreError> {
        let damaged = |reason| StoreError::DamagedKey { home: home.to_owned(), reason };
        if self.version != VERSION || self.algorithm != ALGORITHM {
            return Err(StoreError::NewerDerivation { home: home.to_owned() });
        }
        // A changed file must not make this process take all memory or all time.
        if self.memory_kib > 1 << 20 || self.passes > 16 || self.lanes > 16 {
            return Err(damaged("key.json asks for more than 1 GiB, 16 passes or 16 lanes"));
        }
        let salt = hex::decode(&self.salt).map_err(|_| damaged("the salt in key.json is not hexadecimal"))?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| damaged("key.json asks for a derivation that does not exist"))?;
        let mut key = StoreKey([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &salt, &mut key.0)
            .map_err(|_| damaged("key.json asks for a derivation that does not exist"))?;
        Ok(key)
    }
}

fn read_bounded(path: &Path, home: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    if fs::metadata(path).map_err(io_error(path))?.len() > MAX_FILE {
        return Err(StoreError::DamagedKey { home: home.to_owned(), reason: "its file is too long" });
    }
    Ok(Zeroizing::new(fs::read(path).map_err(io_error(path))?))
}
