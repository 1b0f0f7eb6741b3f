//! What is set for all members of a conversation, and how it is changed.

use serde::{Deserialize, Deserializer, Serialize};
use tertulia_domain::{History, MessageTimer, ReceiptMode, policy::AddPermission};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// What is set for all members of a conversation. The types that nobody manages have it as it is by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Settings {
    /// For how many milliseconds messages stay once they were read; for good if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub message_timer: Option<MessageTimer>,
    /// Whether the members tell the others what they have read: `off` or `on`.
    #[schema(value_type = String, example = "off")]
    pub receipt_mode: ReceiptMode,
    /// Who may add members: `admins`, which is whose role allows it, or `everyone`.
    #[schema(value_type = String, example = "admins")]
    pub add_permission: AddPermission,
    /// What those who come later may read of the messages from before: `none`, `unlimited`, or what the hub accepted within so many
    /// milliseconds before they became members, as `86400000ms`.
    #[schema(value_type = String, example = "none")]
    pub history: History,
}

/// One of the [`Settings`] with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "setting", content = "value", rename_all = "snake_case")]
pub enum Setting {
    /// For how many milliseconds messages stay once they were read; for good if it is null.
    MessageTimer(Option<MessageTimer>),
    /// Whether the members tell the others what they have read.
    ReceiptMode(ReceiptMode),
    /// Who may add members.
    AddPermission(AddPermission),
    /// What those who come later may read of the messages from before.
    History(History),
}

/// One of the settings with its value.
#[derive(ToSchema)]
#[allow(dead_code)] // it describes the form of `Setting`, whose values are of different types
struct SettingForm {
    /// `message_timer`, `receipt_mode`, `add_permission` or `history`.
    #[schema(example = "receipt_mode")]
    setting: String,
    /// A number, a text or null, as the request to set it has it.
    value: serde_json::Value,
}

impl PartialSchema for Setting {
    fn schema() -> RefOr<Schema> {
        SettingForm::schema()
    }
}

impl ToSchema for Setting {}

/// Changes for how long the messages of a conversation stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageTimerUpdate {
    /// Milliseconds, 1000 to 31536000000 (365 days), or null for good.
    #[serde(deserialize_with = "required")]
    #[schema(value_type = Option<u64>, required = true, example = 86_400_000)]
    pub message_timer: Option<MessageTimer>,
}

/// Changes whether receipts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptModeUpdate {
    /// `off` or `on`.
    #[schema(value_type = String, example = "on")]
    pub receipt_mode: ReceiptMode,
}

/// Changes who may add members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddPermissionUpdate {
    /// `admins` or `everyone`.
    #[schema(value_type = String, example = "everyone")]
    pub add_permission: AddPermission,
}

/// Changes what those who come later may read of the messages from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryUpdate {
    /// `none`, `unlimited`, or 1000ms to 315360000000ms (3650 days).
    #[schema(value_type = String, example = "86400000ms")]
    pub history: History,
}

/// A field that may be null and must be there: leaving it out is no way to say null.
fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MessageTimer>, D::Error> {
    Option::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_keep_their_form() {
        let day = Some(MessageTimer::try_from(86_400_000).unwrap());
        let all = [
            Setting::MessageTimer(day),
            Setting::MessageTimer(None),
            Setting::ReceiptMode(ReceiptMode::On),
            Setting::AddPermission(AddPermission::Everyone),
            Setting::History(History::Unlimited),
        ];
        let written = all.map(|setting| serde_json::to_string(&setting).unwrap());
        insta::assert_snapshot!(written.join("\n"), @r#"
        {"setting":"message_timer","value":86400000}
        {"setting":"message_timer","value":null}
        {"setting":"receipt_mode","value":"on"}
        {"setting":"add_permission","value":"everyone"}
        {"setting":"history","value":"unlimited"}
        "#);
        for (setting, text) in all.into_iter().zip(written) {
            assert_eq!(serde_json::from_str::<Setting>(&text).unwrap(), setting);
        }
    }

    #[test]
    fn a_timer_is_ended_by_null_and_not_by_leaving_it_out() {
        let read = |text| serde_json::from_str::<MessageTimerUpdate>(text).ok();
        assert_eq!(read(r#"{"message_timer":null}"#), Some(MessageTimerUpdate { message_timer: None }));
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"message_timer":999}"#), None);
    }
}
