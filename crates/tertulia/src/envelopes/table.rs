//! The table of hints in memory, as all processes of this home have written it.

use crate::{Error, Result};
use tertulia_conversation::hint::HintTable;
use tertulia_store::{Store, StoreError};

/// The table, and up to which write it has what stands in the store.
#[derive(Debug)]
pub(crate) struct Hints {
    table: HintTable,
    version: u64,
    /// A number of this process, by which it knows what it has written itself. Not 0.
    writer: u64,
    /// Whether the table may have what was never written.
    is_stale: bool,
}

impl Hints {
    /// Nothing yet: the first use loads it.
    pub(crate) fn new() -> Self {
        let writer = rand::random::<u64>().max(1);
        Self { table: HintTable::new(0), version: 0, writer, is_stale: true }
    }

    /// Takes over what others have written, or all if what is here cannot be relied on.
    pub(crate) fn refresh(&mut self, store: &Store) -> Result<()> {
        if self.is_stale {
            let nobody = 0;
            let (version, records) = store.read(|r| r.hints_after(0, nobody))?;
            let records = records.into_iter().filter_map(|row| row.record);
            self.table = HintTable::new(store.incarnation()).load(records)?;
            self.version = version;
            self.is_stale = false;
            return Ok(());
        }
        let (version, records) = store.read(|r| r.hints_after(self.version, self.writer))?;
        for row in records {
            match row.record {
                Some(record) => self.table.replace(&record)?,
                None => self.table.forget(&row.conversation),
            }
        }
        self.version = version;
        Ok(())
    }

    pub(crate) const fn table(&self) -> &HintTable {
        &self.table
    }

    /// The table, to be changed. Until [`settled`](Self::settled) says that the changes were written, nobody relies on it.
    pub(crate) const fn changing(&mut self) -> &mut HintTable {
        self.is_stale = true;
        &mut self.table
    }

    /// What was changed stands in the store.
    pub(crate) const fn settled(&mut self) {
        self.is_stale = false;
    }

    pub(crate) const fn writer(&self) -> u64 {
        self.writer
    }
}

impl From<tertulia_conversation::hint::HintError> for Error {
    fn from(error: tertulia_conversation::hint::HintError) -> Self {
        use tertulia_conversation::hint::HintError;
        match error {
            HintError::Damaged => Self::Store(StoreError::Damaged { what: "hints" }),
            other => Self::Hints(other),
        }
    }
}
