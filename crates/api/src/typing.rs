//! Who is typing: said at the moment, stored nowhere.

use serde::{Deserialize, Serialize};
use tertulia_domain::{ConversationId, UserId};
use utoipa::ToSchema;

/// Whether somebody is typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TypingStatus {
    /// They are. Said again every few seconds while it goes on: whoever hears nothing more takes it as ended.
    Started,
    /// They are no longer.
    Stopped,
}

/// Tells the other members that one is typing, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypingUpdate {
    /// `started` or `stopped`.
    pub status: TypingStatus,
}

/// A member is typing, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Typing {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// The member.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// Whether they are.
    pub status: TypingStatus,
}

/// What the hub says over the WebSocket beside events. It has no cursor, is not acknowledged, and does not come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum TransientFrame {
    /// A member of one of the user's conversations is typing, or no longer.
    #[serde(rename = "conversation.typing")]
    Typing(Typing),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_notice_keeps_its_form_and_is_no_event() {
        let notice = TransientFrame::Typing(Typing {
            conversation: ConversationId::from_bytes([1; 16]),
            user: UserId::from_bytes([2; 16]),
            status: TypingStatus::Started,
        });
        let text = serde_json::to_string(&notice).unwrap();
        insta::assert_snapshot!(text, @r#"{"type":"conversation.typing","conversation":"01010101-0101-0101-0101-010101010101","user":"02020202-0202-0202-0202-020202020202","status":"started"}"#);
        assert_eq!(serde_json::from_str::<TransientFrame>(&text).unwrap(), notice);
        assert!(serde_json::from_str::<crate::event::Event>(&text).is_err());
    }
}
