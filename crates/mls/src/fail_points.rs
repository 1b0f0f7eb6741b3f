//! The places where a test can kill the process.
//!
//! They are there with the feature `failpoints` only, which no application has: without it a point is no code at all. Every
//! point stands in the list below, and a name that does not stand there does not compile. Tests walk [`ALL`], and the list
//! of the store, so that a new point is covered by being in a list.

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $value;)*

        /// Every point of this crate.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

points! {
    /// A transaction is about to be written.
    PERSIST = "transaction/persist";
    /// The engine's part of a transaction is in the database's transaction, the application's is not.
    APPLICATION = "transaction/application";
    /// A transaction is durable, and what it has in memory is as before.
    PERSISTED = "transaction/persisted";
    /// A transaction is durable, and the lock is released.
    FINISHED = "transaction/finished";
    /// A commit is built, and pending in memory only.
    STAGED = "commit/staged";
    /// A commit is durably pending, the lock is still held.
    PENDING = "commit/pending";
    /// The lock is released, and the commit is about to be handed to the transport.
    SEND = "commit/send";
    /// The transport has answered, and the lock is not held.
    ANSWERED = "commit/answered";
    /// The lock is held again, and the answer is about to have its effect.
    SETTLE = "commit/settle";
    /// An accepted commit is merged in memory only.
    MERGED = "commit/merged";
    /// A rejected commit is dropped in memory only.
    REJECTED = "commit/rejected";
    /// What became of the commit is durable.
    SETTLED = "commit/settled";
    /// A message from outside was decrypted or applied in memory only.
    RECEIVED = "receive/processed";
    /// A Welcome was opened in memory only.
    WELCOMED = "receive/welcomed";
}
