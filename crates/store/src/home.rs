//! The directory of a store and the files in it, which are their owner's only.

use crate::{StoreError, error::io_error};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write as _,
    path::Path,
};

/// Makes the directory with mode 0700. One that exists and is empty is taken for the store and gets that mode too; the mode of
/// one with something in it was somebody's choice.
pub(crate) fn private_directory(home: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home).map_err(io_error(home))?;
    #[cfg(unix)]
    if fs::read_dir(home).map_err(io_error(home))?.next().is_none() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(home, mode).map_err(io_error(home))?;
    }
    Ok(())
}

/// Opens a file, which is made with mode 0600 if need be.
pub(crate) fn private_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(io_error(path))
}

/// Writes a new file with mode 0600, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let partial = path.with_extension("new");
    remove_if_there(&partial)?;
    let mut file = private_file(&partial)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&partial))?;
    put_in_place(&partial, path)
}

/// Gives a finished file its name, durably.
pub(crate) fn put_in_place(partial: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(partial, path).map_err(io_error(path))?;
    // Elsewhere a directory cannot be opened as a file, and need not be.
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error(directory))?;
    }
    Ok(())
}

pub(crate) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}
