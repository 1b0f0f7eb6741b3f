//! The places where a test can make the store fail, or kill the process.
//!
//! They are there with the feature `failpoints` only, which no application has: without it a point is no code at all. Every
//! point stands below, and a name that does not stand there does not compile. Tests walk [`ALL`], so that a new point is
//! covered by being in the list.

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $value;)*

        /// Every point of this crate.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

points! {
    /// Before the lock of the writers is asked for. It can fail.
    LOCK = "store/lock";
    /// The lock is held.
    LOCKED = "store/locked";
    /// Before the database's transaction begins. It can fail.
    BEGIN = "store/begin";
    /// Before each statement that changes something. It can fail.
    STATEMENT = "store/statement";
    /// All statements are done and nothing is durable. It can fail.
    COMMIT = "store/commit";
    /// All is durable, and the file that finds out copies does not know yet.
    COMMITTED = "store/committed";
    /// That file knows too.
    NOTED = "store/noted";
    /// Before a read begins. It can fail.
    READ = "store/read";
}

/// The points at which the action `return` makes the operation fail: as if the disk were full, or for a lock or a read as if
/// the database were busy.
pub const FALLIBLE: &[&str] = &[LOCK, BEGIN, STATEMENT, COMMIT, READ];

/// The database is under the next key, and the files of the home say otherwise. It can fail. It has a test of its own and is in
/// no list: what the others are for never changes the key.
pub const REKEYED: &str = "store/rekeyed";
