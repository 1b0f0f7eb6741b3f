//! Deletes the conversations that have ended and that every device has read to the end: in small steps, so that who wants something
//! written comes in between.

use crate::{
    error::ApiError,
    storage::{
        Storage,
        ended::{self, Deleted},
    },
};

/// Deletes all of them. How many there were, with their subconversations.
pub(crate) async fn delete_read(storage: &Storage) -> Result<u64, ApiError> {
    let (mut deleted, mut after) = (0, None);
    loop {
        // However many wait for who does not read: nobody who writes waits while they are looked at.
        let (mut read, last) = storage.read(move |db| Ok(ended::next_read(db, after)?)).await?;
        while !read.is_empty() {
            let step = storage.write(move |tx| Ok(ended::delete_some(tx, read)?)).await?;
            let Deleted { conversations, left } = step;
            deleted += conversations;
            read = left;
        }
        after = last;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}
