use super::Status;

/// What a user's deletion means to somebody they have rows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// The status of the remaining user's row afterwards. That of the deleted user's is `cancelled` in any case.
    pub status: Status,
    /// What the remaining user's devices are told.
    pub told: Told,
}

/// What is told of a deleted user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// The row, which is `cancelled` now.
    Row,
    /// That the user was deleted.
    Deletion,
}

/// What becomes of the row that somebody has on a user who is deleted. The 1:1 of the two ends in any case.
///
/// | row | becomes | told |
/// |---|---|---|
/// | accepted | cancelled | the deletion |
/// | sent, pending or ignored | cancelled | the row |
/// | blocked or cancelled | the same | nothing |
///
/// It depends on this row alone, so that it does not show whether the deleted user blocked or ignored who remains.
pub const fn after_deletion(row: Status) -> Deletion {
    match row {
        Status::Accepted => Deletion { status: Status::Cancelled, told: Told::Deletion },
        Status::Sent | Status::Pending | Status::Ignored => {
            Deletion { status: Status::Cancelled, told: Told::Row }
        }
        Status::Blocked | Status::Cancelled => Deletion { status: row, told: Told::Nothing },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_learn_of_the_deletion_and_requests_are_cancelled() {
        for (row, status, told) in [
            (Status::Accepted, Status::Cancelled, Told::Deletion),
            (Status::Sent, Status::Cancelled, Told::Row),
            (Status::Pending, Status::Cancelled, Told::Row),
            (Status::Ignored, Status::Cancelled, Told::Row),
            (Status::Blocked, Status::Blocked, Told::Nothing),
            (Status::Cancelled, Status::Cancelled, Told::Nothing),
        ] {
            assert_eq!(after_deletion(row), Deletion { status, told }, "{row}");
            assert!(!after_deletion(row).status.is_in_one_to_one());
        }
    }
}
