//! Connections between users.

use serde::{Deserialize, Serialize};
use tertulia_domain::{ConversationId, UserId, connection::Status};
use utoipa::ToSchema;

/// The caller's side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// The other user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The other user's handle.
    pub handle: String,
    /// The caller's status: `sent`, `pending`, `accepted`, `blocked`, `ignored` or `cancelled`.
    #[schema(value_type = String, example = "pending")]
    pub status: Status,
    /// The 1:1 conversation of the two.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// When the caller's side last changed, milliseconds since 1970.
    pub updated_at: i64,
}

/// Asks somebody to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectRequest {
    /// The other user's handle.
    #[schema(example = "bob")]
    pub handle: String,
}

/// Changes the caller's side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionUpdate {
    /// The status wanted.
    #[schema(value_type = String, example = "accepted")]
    pub status: Status,
}

/// All connections of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connections {
    /// Ordered by the other user's handle.
    pub connections: Vec<Connection>,
}
