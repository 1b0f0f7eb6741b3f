//! Files that are for the hub's own account alone.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// What is written to see whether there is room, in bytes: more than any page of a database.
const TRIAL: usize = 64 * 1024;

/// Creates a directory that only its owner can enter, or leaves one that is there as it is.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether nothing can be written into a directory for want of room: the disk is full, or the quota of who runs this.
pub(crate) fn has_no_room(directory: &Path) -> bool {
    let path = directory.join(format!("room-{:08x}", rand::random::<u32>()));
    let written = create_private(&path).and_then(|mut file| {
        file.write_all(&vec![0; TRIAL])?;
        file.sync_all() // some file systems find only then that there is no room
    });
    let _ = std::fs::remove_file(&path); // empty or not there, it is in nobody's way
    written.is_err_and(|error| is_want_of_room(error.kind()))
}

const fn is_want_of_room(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Creates an empty file that only its owner can read, or leaves one that is there as it is.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file that only its owner can read and that is either there with all its bytes or not at all, also after a
/// crash.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_private(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?; // makes the new name durable
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quota_that_is_used_up_is_want_of_room_and_a_broken_disk_is_not() {
        // ENOSPC and EIO, the same on every Unix.
        for (error, expected) in [(28, true), (5, false)] {
            assert_eq!(is_want_of_room(io::Error::from_raw_os_error(error).kind()), expected, "{error}");
        }
        #[cfg(target_os = "linux")]
        assert!(is_want_of_room(io::Error::from_raw_os_error(122).kind()), "EDQUOT");
    }

    #[test]
    fn where_there_is_room_the_trial_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!has_no_room(directory.path()));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        assert!(!has_no_room(&directory.path().join("nowhere")), "that is another failure");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_that_is_always_full_is_full() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(is_want_of_room(full.write_all(&[0]).unwrap_err().kind()));
    }
}
