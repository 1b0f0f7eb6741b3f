//! Who follows when a deleted account was the last to manage something.

use crate::ids::UserId;

/// A member who remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// The user.
    pub user: UserId,
    /// How high the member's role is: the highest there is manages, the others follow in this order.
    pub rank: u8,
    /// When the member joined; only the order counts.
    pub joined: i64,
}

/// Who gets the highest rank `top`, if nobody has it: of those of the highest rank that there is, who has been a member for
/// longest. Nobody, if somebody has it or nobody remains.
pub fn heir(top: u8, remaining: &[Remaining]) -> Option<UserId> {
    if remaining.iter().any(|member| member.rank >= top) {
        return None;
    }
    let heir =
        remaining.iter().min_by_key(|member| (std::cmp::Reverse(member.rank), member.joined, member.user));
    heir.map(|member| member.user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8, rank: u8, joined: i64) -> Remaining {
        Remaining { user: UserId::from_bytes([number; 16]), rank, joined }
    }

    #[test]
    fn the_longest_member_of_the_highest_rank_follows() {
        for (remaining, heir_number) in [
            (vec![], None),
            (vec![member(1, 0, 5)], Some(1)),
            (vec![member(1, 0, 5), member(2, 0, 4), member(3, 0, 6)], Some(2)),
            (vec![member(1, 0, 1), member(2, 1, 9), member(3, 1, 8)], Some(3)),
            (vec![member(2, 0, 4), member(1, 0, 4)], Some(1)),
            (vec![member(1, 0, 1), member(2, 2, 9)], None),
        ] {
            let expected = heir_number.map(|number| UserId::from_bytes([number; 16]));
            assert_eq!(heir(2, &remaining), expected, "{remaining:?}");
        }
    }
}
