//! Passwords: Argon2id, never more at once than there are cores.

use crate::error::ApiError;
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
        try_generate_salt,
    },
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};
use tertulia_api::Code;
use tertulia_domain::limits::PASSWORD_BYTES;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Memory for one hash, in KiB: 19 MiB, the least that OWASP's cheat sheet on password storage names for two passes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;

/// Hashes and verifies passwords.
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    memories: Arc<Memories>,
    /// In the form of a hash, random bytes, which no password is hashed to in practice. What an unknown handle is
    /// verified against, so that its refusal takes as long as that of a wrong password. Nothing is hashed for it, so a hub in
    /// which nobody logs in has no memory for that.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, password_hash::Error> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let nobody = described(Output::new(&rand::random::<[u8; Params::DEFAULT_OUTPUT_LEN]>())?)?;
        Ok(Self {
            running: Arc::new(Semaphore::new(cores)),
            memories: Arc::default(),
            nobody: nobody.to_string().into(),
        })
    }

    /// The hash of a new password, as a PHC string; `invalid-password` if it is too short or too long.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<String, ApiError> {
        if !PASSWORD_BYTES.contains(&password.len()) {
            let detail = format!(
                "A password has {} to {} bytes; this one has {}.",
                PASSWORD_BYTES.start(),
                PASSWORD_BYTES.end(),
                password.len()
            );
            return Err(ApiError::new(Code::InvalidPassword, detail));
        }
        let hash = self.run(move |memory| hash(password.as_bytes(), memory)).await?;
        Ok(hash.to_string())
    }

    /// Whether the password is the one that was hashed. Without a hash it never is, and takes as long.
    pub(crate) async fn verify(
        &self,
        password: Zeroizing<String>,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        // Too long for any password, so that it costs nothing; the answer depends on what was sent only.
        if password.len() > *PASSWORD_BYTES.end() {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.map_or_else(|| Arc::clone(&self.nobody), Into::into);
        let matches = self.run(move |memory| matches(password.as_bytes(), &hash, memory)).await?;
        Ok(matches && known)
    }

    /// Does the work once a core is free for it. Who waits has no memory yet.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(ApiError::internal)?;
        let memories = Arc::clone(&self.memories);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // held by the work, which goes on when the request is dropped
            memories.lend(work)
        });
        task.await.map_err(ApiError::internal)?.map_err(ApiError::internal)
    }
}

/// Memory to hash in, kept for the next hash: as many as were ever in use at once, which are no more than the permits.
/// An allocator does not reuse blocks of this size and alignment reliably: with a new one for each hash, log-ins alone
/// made the hub grow to gigabytes.
#[derive(Default)]
struct Memories(Mutex<Vec<Vec<Block>>>);

impl Memories {
    fn lend<T>(&self, work: impl FnOnce(&mut Vec<Block>) -> T) -> T {
        let free = self.lock().pop();
        let mut memory = free.unwrap_or_default();
        let result = work(&mut memory);
        self.lock().push(memory);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of a password with a new salt.
fn hash(password: &[u8], memory: &mut Vec<Block>) -> Result<PasswordHash, password_hash::Error> {
    let (salt, argon2) = (Salt::new(&try_generate_salt()?)?, Argon2::new(ALGORITHM, VERSION, params()?));
    let output = output(&argon2, password, &salt, memory)?;
    Ok(PasswordHash { salt: Some(salt), ..described(output)? })
}

/// An output of Argon2id with our parameters, and a salt that it does not come from.
fn described(output: Output) -> Result<PasswordHash, password_hash::Error> {
    Ok(PasswordHash {
        algorithm: ALGORITHM.ident(),
        version: Some(VERSION.into()),
        params: ParamsString::try_from(&params()?)?,
        salt: Some(Salt::new(&try_generate_salt()?)?),
        hash: Some(output),
    })
}

fn params() -> Result<Params, password_hash::Error> {
    Ok(Params::new(MEMORY_KIB, PASSES, 1, None)?)
}

/// Whether a PHC string is the hash of this password. The parameters are those that it was made with.
fn matches(password: &[u8], hash: &str, memory: &mut Vec<Block>) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Err(password_hash::Error::EncodingInvalid);
    };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&hash)?);
    // `Output` compares in constant time.
    Ok(output(&argon2, password, salt, memory)? == *expected)
}

fn output(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &Salt,
    memory: &mut Vec<Block>,
) -> Result<Output, password_hash::Error> {
    let blocks = argon2.params().block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    let mut bytes = [0; Output::MAX_LENGTH];
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let bytes = bytes.get_mut(..length).ok_or(password_hash::Error::OutputSize)?;
    argon2.hash_password_into_with_memory(password, salt, bytes, memory)?;
    Ok(Output::new(bytes)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use argon2::{PasswordHasher as _, PasswordVerifier as _};
    use futures::future::join_all;

    const PASSWORD: &str = "correct horse battery staple";

    #[test]
    fn hashes_are_those_of_the_library() {
        let (mut memory, library) = (Vec::new(), Argon2::default());
        let ours = hash(PASSWORD.as_bytes(), &mut memory).unwrap();
        assert!(ours.to_string().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{ours}");
        library.verify_password(PASSWORD.as_bytes(), &ours).unwrap();
        assert!(library.verify_password(b"another", &ours).is_err());

        // With other parameters too, for which the memory is too small or too large.
        for params in [Params::new(8, 1, 1, Some(16)).unwrap(), Params::new(20 * 1024, 1, 2, None).unwrap()] {
            let theirs = Argon2::from(params).hash_password(PASSWORD.as_bytes()).unwrap().to_string();
            assert!(matches(PASSWORD.as_bytes(), &theirs, &mut memory).unwrap());
            assert!(!matches(b"another", &theirs, &mut memory).unwrap());
        }
        for damaged in
            ["", "hello", "$argon2id$v=19$m=19456,t=2,p=1", "$scrypt$ln=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo"]
        {
            assert!(matches(PASSWORD.as_bytes(), damaged, &mut memory).is_err(), "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_log_ins_uses_the_memory_of_as_many_as_there_are_cores() {
        let passwords = Passwords::new().unwrap();
        let most = passwords.running.available_permits();
        let attempts = (0..most * 8).map(|_| passwords.verify(Zeroizing::new(PASSWORD.into()), None));
        for answer in join_all(attempts).await {
            assert!(!answer.unwrap());
        }
        let memories = passwords.memories.lock();
        assert!((1..=most).contains(&memories.len()), "{} of {most}", memories.len());
        assert!(memories.iter().all(|memory| memory.capacity() == MEMORY_KIB as usize));
    }
}
