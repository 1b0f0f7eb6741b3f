//! The key of a store: 32 random bytes in a file, derived from a passphrase, or the application's to give.
//!
//! | source | beside the database |
//! |---|---|
//! | file | `key`: the key |
//! | passphrase | `key.json`: the algorithm, its cost and the salt |
//! | given | `key.json`: that it is so, and nothing of the key |

use crate::{
    StoreError,
    error::io_error,
    home::{remove_if_there, write_private},
};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

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
    /// A key that the application keeps and gives, for instance from the keychain of the system. It is never written. It must
    /// be random, and lost it is lost: nothing else opens the store.
    Given(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "File",
            Self::Passphrase(_) => "Passphrase(…)",
            Self::Given(_) => "Given(…)",
        })
    }
}

/// Whose files these are: of the key that the store has, or of the one that it is about to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Current,
    Next,
}

impl Slot {
    fn key_file(self, home: &Path) -> PathBuf {
        home.join(match self {
            Self::Current => "key",
            Self::Next => "next-key",
        })
    }

    fn derivation_file(self, home: &Path) -> PathBuf {
        home.join(match self {
            Self::Current => "key.json",
            Self::Next => "next-key.json",
        })
    }

    /// Whether there is a key or the way to one.
    pub(crate) fn is_filled(self, home: &Path) -> bool {
        self.key_file(home).exists() || self.derivation_file(home).exists()
    }

    /// Forgets the key.
    pub(crate) fn clear(self, home: &Path) -> Result<(), StoreError> {
        remove_if_there(&self.key_file(home))?;
        remove_if_there(&self.derivation_file(home))
    }
}

/// The key of a database. It stays in one place in memory, which is wiped.
#[derive(Clone, ZeroizeOnDrop)]
pub(crate) struct StoreKey(Box<[u8; 32]>);

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

/// What every `key.json` says, whatever else is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Way {
    version: u32,
    algorithm: String,
}

const VERSION: u32 = 1;
const ALGORITHM: &str = "argon2id";
/// There is nothing to derive: the key is given. To a version of the program that does not know it, it is a newer one's way.
const GIVEN: &str = "given";
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

impl StoreKey {
    /// Makes a new key, and what is needed to have it again.
    pub(crate) fn create(home: &Path, slot: Slot, source: &KeySource) -> Result<Self, StoreError> {
        // What an interrupted creation left must not be taken for the way to this key.
        slot.clear(home)?;
        match source {
            KeySource::File => {
                let mut key = Self::zeros();
                rand::rng().fill_bytes(key.0.as_mut_slice());
                write_private(&slot.key_file(home), key.digits().as_slice())?;
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
                write_private(&slot.derivation_file(home), &text)?;
                Ok(key)
            }
            KeySource::Given(given) => {
                let way = Way { version: VERSION, algorithm: GIVEN.to_owned() };
                let text = serde_json::to_vec_pretty(&way).expect("numbers and strings are always JSON");
                write_private(&slot.derivation_file(home), &text)?;
                Ok(Self::of(given))
            }
        }
    }

    /// Has an existing key again.
    pub(crate) fn open(home: &Path, slot: Slot, source: &KeySource) -> Result<Self, StoreError> {
        let damaged = |reason| StoreError::DamagedKey { home: home.to_owned(), reason };
        let (key_file, derivation_file) = (slot.key_file(home), slot.derivation_file(home));
        let is_given = is_given(&derivation_file, home)?;
        match source {
            KeySource::Given(given) if is_given => Ok(Self::of(given)),
            KeySource::Given(_) if key_file.exists() || derivation_file.exists() => {
                Err(StoreError::NoGivenKeyWanted { home: home.to_owned() })
            }
            KeySource::Given(_) => Err(damaged("key.json is missing")),
            _ if is_given => Err(StoreError::GivenKeyNeeded { home: home.to_owned() }),
            KeySource::File if derivation_file.exists() => {
                Err(StoreError::PassphraseNeeded { home: home.to_owned() })
            }
            KeySource::File if !key_file.exists() => Err(damaged("the key file is missing")),
            KeySource::File => {
                let text = read_bounded(&key_file, home)?;
                let mut key = Self::zeros();
                hex::decode_to_slice(text.trim_ascii(), key.0.as_mut_slice())
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

    /// Makes the files of the next key those of the current one, the old ones of which are worthless by now.
    pub(crate) fn promote(home: &Path) -> Result<(), StoreError> {
        let (old, new) = (Slot::Current, Slot::Next);
        for (from, to, other) in [
            (new.key_file(home), old.key_file(home), old.derivation_file(home)),
            (new.derivation_file(home), old.derivation_file(home), old.key_file(home)),
        ] {
            if from.exists() {
                // First, so that there is never a key of both kinds.
                remove_if_there(&other)?;
                crate::home::put_in_place(&from, &to)?;
            }
        }
        Ok(())
    }

    /// The key as SQLCipher takes it: a blob literal, which skips its own derivation.
    pub(crate) fn as_blob_literal(&self) -> Zeroizing<String> {
        let digits = self.digits();
        // Room for all of it from the start: a string that grows leaves copies behind.
        let mut literal = Zeroizing::new(String::with_capacity(digits.len() + 3));
        literal.push_str("x'");
        literal.push_str(std::str::from_utf8(digits.as_slice()).expect("hexadecimal digits are ASCII"));
        literal.push('\'');
        literal
    }

    fn of(given: &[u8; 32]) -> Self {
        let mut key = Self::zeros();
        key.0.copy_from_slice(given);
        key
    }

    fn zeros() -> Self {
        Self(Box::new([0; 32]))
    }

    fn digits(&self) -> Zeroizing<[u8; 64]> {
        let mut digits = Zeroizing::new([0; 64]);
        hex::encode_to_slice(self.0.as_slice(), digits.as_mut_slice())
            .expect("64 digits are what 32 bytes take");
        digits
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
        // Its memory tells the key, so it is wiped.
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = StoreKey::zeros();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.as_bytes(),
                &salt,
                key.0.as_mut_slice(),
                memory.as_mut_slice(),
            )
            .map_err(|_| damaged("key.json asks for a derivation that does not exist"))?;
        Ok(key)
    }
}

/// Whether `key.json` says that the key is given. One that is damaged does not.
fn is_given(derivation_file: &Path, home: &Path) -> Result<bool, StoreError> {
    if !derivation_file.exists() {
        return Ok(false);
    }
    let text = read_bounded(derivation_file, home)?;
    let way = serde_json::from_slice::<Way>(&text);
    Ok(way.is_ok_and(|way| way.version == VERSION && way.algorithm == GIVEN))
}

fn read_bounded(path: &Path, home: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    if fs::metadata(path).map_err(io_error(path))?.len() > MAX_FILE {
        return Err(StoreError::DamagedKey { home: home.to_owned(), reason: "its file is too long" });
    }
    Ok(Zeroizing::new(fs::read(path).map_err(io_error(path))?))
}
