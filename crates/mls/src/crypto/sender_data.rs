//! Learning what the library reads in a message before it refuses it.
//!
//! The library decrypts the sender data of an encrypted message (RFC 9420, section 6.3.2), sees that the message is this
//! device's own, and keeps neither. Their key is not to be had from it. So the engine looks at what comes out of the AEAD
//! while the library reads the message: what is opened first are the sender data.

use std::cell::RefCell;

use zeroize::Zeroizing;

thread_local! {
    /// What was opened first on this thread, while somebody watches.
    static WATCHED: RefCell<Watched> = const { RefCell::new(Watched::Nobody) };
}

enum Watched {
    Nobody,
    Nothing,
    First(Zeroizing<Vec<u8>>),
}

/// Length of sender data: leaf, generation and reuse guard, four bytes each.
const SENDER_DATA_BYTES: usize = 12;

/// The sender data of the message that `read` has the library process, on this thread. None if they did not open.
pub(crate) fn of_message_in(read: impl FnOnce()) -> Option<Zeroizing<Vec<u8>>> {
    let _watching = Watching::begin();
    read();
    match WATCHED.replace(Watched::Nobody) {
        Watched::First(plaintext) => Some(plaintext),
        Watched::Nobody | Watched::Nothing => None,
    }
}

/// Notes what was opened.
pub(super) fn opened(plaintext: &[u8]) {
    WATCHED.with_borrow_mut(|watched| {
        if matches!(watched, Watched::Nothing) && plaintext.len() == SENDER_DATA_BYTES {
            *watched = Watched::First(Zeroizing::new(plaintext.to_vec()));
        }
    });
}

/// Ends the watching when it goes, also in a panic.
struct Watching(());

impl Watching {
    fn begin() -> Self {
        WATCHED.replace(Watched::Nothing);
        Self(())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        WATCHED.replace(Watched::Nobody);
    }
}
