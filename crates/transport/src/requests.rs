//! The hub's requests, one function each. Errors are those of [`TransportError`] throughout.

use crate::{Hub, TransportError};
use reqwest::{Method, RequestBuilder, header};
use tertulia_api::{
    UserDevice,
    account::{
        ClaimedKeyPackages, Credentials, Device, Devices, HubKeys, KeyPackageClaim, KeyPackageCount,
        KeyPackageDeletion, KeyPackageUpload, Me, NewAccount, NewDevice, NewGuest, OpenSessions,
        PasswordChange, PasswordProof, Profile, Session, SessionsEnded, User, Users,
    },
    connection::{ConnectRequest, Connection, ConnectionUpdate, Connections},
    conversation::{
        CommitAccepted, Conversation, Conversations, GroupReset, Leave, MessageAccepted, NewConversation,
        RoleUpdate, Subconversation, Subconversations,
    },
    event::{EventPage, EventQuery},
    history::{HistoryPage, HistoryQuery},
    join::{AccessUpdate, JoinByLink, Joining, Link, LinkCode, LinkPreview, NewLink},
    pairwise::{
        ClaimedPairwiseKeys, NewMembers, PairwiseAccepted, PairwiseKeyClaim, PairwiseKeyCount,
        PairwiseKeyUpload, ProtocolUpdate,
    },
    setting::{AddPermissionUpdate, HistoryUpdate, MessageTimerUpdate, ReceiptModeUpdate, Setting},
    team::{
        ChannelName, Channels, ConversationRole, ConversationRoles, Invitation, JoinTeam, NewChannel,
        NewInvitation, NewTeam, Team, TeamMembers, TeamRoleUpdate,
    },
    typing::{TypingStatus, TypingUpdate},
};
use tertulia_domain::{
    AccountKind, ConversationId, DeviceId, Handle, Protocol, RoleName, SubconversationName, TeamId, UserId,
    connection::Status, team::TeamRole,
};

type Result<T> = std::result::Result<T, TransportError>;

/// Accounts, devices, key packages.
impl Hub {
    /// Creates an account, a person's or a service's, and opens a session.
    pub async fn sign_up(&self, handle: &str, password: &str, kind: AccountKind) -> Result<Session> {
        let (handle, password) = (handle.to_owned(), password.to_owned());
        self.send(Method::POST, "v1/accounts", &NewAccount { handle, password, kind }).await
    }

    /// Creates a guest's account, which ends by itself, and opens its only session.
    pub async fn sign_up_guest(&self, name: &str) -> Result<Session> {
        self.send(Method::POST, "v1/guests", &NewGuest { name: name.to_owned() }).await
    }

    /// Opens a session.
    pub async fn log_in(&self, handle: &str, password: &str) -> Result<Session> {
        self.send(Method::POST, "v1/sessions", &credentials(handle, password)).await
    }

    /// The sessions of the account, oldest first.
    pub async fn sessions(&self) -> Result<OpenSessions> {
        self.get("v1/sessions").await
    }

    /// Ends a session of the account, as [`sessions`](Self::sessions) names it.
    pub async fn end_session(&self, session: &str) -> Result<()> {
        let mut path = self.url("v1/sessions/")?;
        if let Ok(mut segments) = path.path_segments_mut() {
            segments.pop_if_empty().push(session);
        }
        self.bytes(self.request_to(Method::DELETE, path)).await.map(drop)
    }

    /// Ends all sessions of the account but this one.
    pub async fn end_other_sessions(&self) -> Result<SessionsEnded> {
        self.read(self.request(Method::DELETE, "v1/sessions")?).await
    }

    /// Gives the account another password and ends all its other sessions.
    pub async fn change_password(&self, password: &str, new_password: &str) -> Result<()> {
        let (password, new_password) = (password.to_owned(), new_password.to_owned());
        let request = self.request(Method::PUT, "v1/self/password")?;
        self.bytes(request.json(&PasswordChange { password, new_password })).await.map(drop)
    }

    /// Who the session belongs to.
    pub async fn me(&self) -> Result<Me> {
        self.get("v1/self").await
    }

    /// A user by id.
    pub async fn user(&self, user: UserId) -> Result<User> {
        self.get(&format!("v1/users/{user}")).await
    }

    /// A user by handle.
    pub async fn user_by_handle(&self, handle: &Handle) -> Result<User> {
        self.read(self.request(Method::GET, "v1/users")?.query(&[("handle", handle.as_str())])).await
    }

    /// The users whose handles begin so, the first twenty.
    pub async fn search_users(&self, beginning: &Handle) -> Result<Users> {
        let request = self.request(Method::GET, "v1/search/users")?;
        self.read(request.query(&[("beginning", beginning.as_str())])).await
    }

    /// Replaces what the user says of themselves.
    pub async fn set_profile(&self, profile: &Profile) -> Result<()> {
        let request = self.request(Method::PUT, "v1/self/profile")?;
        self.bytes(request.json(profile)).await.map(drop)
    }

    /// Deletes the account.
    pub async fn delete_account(&self, password: &str) -> Result<()> {
        let request = self.request(Method::POST, "v1/self/delete")?;
        self.bytes(request.json(&PasswordProof { password: password.to_owned() })).await.map(drop)
    }

    /// Registers the session's device.
    pub async fn register_device(&self, device: &NewDevice) -> Result<Device> {
        self.send(Method::POST, "v1/devices", device).await
    }

    /// The user's devices.
    pub async fn devices(&self) -> Result<Devices> {
        self.get("v1/devices").await
    }

    /// Removes one of the user's devices.
    pub async fn remove_device(&self, device: DeviceId, password: &str) -> Result<()> {
        let request = self.request(Method::POST, &format!("v1/devices/{device}/remove"))?;
        self.bytes(request.json(&PasswordProof { password: password.to_owned() })).await.map(drop)
    }

    /// Adds key packages of this device.
    pub async fn upload_key_packages(&self, upload: &KeyPackageUpload) -> Result<KeyPackageCount> {
        self.send(Method::POST, "v1/key-packages", upload).await
    }

    /// Uploads key packages of this device in place of those that were not handed out.
    pub async fn replace_key_packages(&self, upload: &KeyPackageUpload) -> Result<KeyPackageCount> {
        self.send(Method::PUT, "v1/key-packages", upload).await
    }

    /// Takes key packages of this device back that nobody has been given.
    pub async fn delete_key_packages(&self, deletion: &KeyPackageDeletion) -> Result<KeyPackageCount> {
        self.send(Method::DELETE, "v1/key-packages", deletion).await
    }

    /// How many key packages of this device can still be handed out.
    pub async fn key_package_count(&self) -> Result<KeyPackageCount> {
        self.get("v1/key-packages/count").await
    }

    /// Claims one key package for each device of these users.
    pub async fn claim_key_packages(&self, users: Vec<UserId>) -> Result<ClaimedKeyPackages> {
        self.send(Method::POST, "v1/key-packages/claims", &KeyPackageClaim { users }).await
    }

    /// Adds keys of this device for pairwise sessions.
    pub async fn upload_pairwise_keys(&self, upload: &PairwiseKeyUpload) -> Result<PairwiseKeyCount> {
        self.send(Method::POST, "v1/pairwise-keys", upload).await
    }

    /// How many one-time keys of this device can still be handed out.
    pub async fn pairwise_key_count(&self) -> Result<PairwiseKeyCount> {
        self.get("v1/pairwise-keys/count").await
    }

    /// Claims one key for a pairwise session of each of these devices.
    pub async fn claim_pairwise_keys(&self, devices: Vec<UserDevice>) -> Result<ClaimedPairwiseKeys> {
        self.send(Method::POST, "v1/pairwise-keys/claims", &PairwiseKeyClaim { devices }).await
    }

    /// The hub's public keys.
    pub async fn keys(&self) -> Result<HubKeys> {
        self.get("v1/mls/keys").await
    }
}

/// Connections.
impl Hub {
    /// All connections of the user.
    pub async fn connections(&self) -> Result<Connections> {
        self.get("v1/connections").await
    }

    /// Asks somebody to connect.
    pub async fn connect(&self, handle: &Handle) -> Result<Connection> {
        let request = ConnectRequest { handle: handle.to_string() };
        self.send(Method::POST, "v1/connections", &request).await
    }

    /// Changes the user's side of a connection.
    pub async fn update_connection(&self, user: UserId, status: Status) -> Result<Connection> {
        self.send(Method::PUT, &format!("v1/connections/{user}"), &ConnectionUpdate { status }).await
    }
}

/// Teams.
impl Hub {
    /// The user's team.
    pub async fn team(&self) -> Result<Team> {
        self.get("v1/team").await
    }

    /// Makes a team with the user as its owner.
    pub async fn create_team(&self, name: &str) -> Result<Team> {
        self.send(Method::POST, "v1/team", &NewTeam { name: name.to_owned() }).await
    }

    /// The members of the user's team.
    pub async fn team_members(&self) -> Result<TeamMembers> {
        self.get("v1/team/members").await
    }

    /// Makes an invitation to the user's team that is valid for so many seconds.
    pub async fn invite_to_team(&self, valid_for: Option<u64>) -> Result<Invitation> {
        self.send(Method::POST, "v1/team/invitations", &NewInvitation { valid_for }).await
    }

    /// Accepts an invitation.
    pub async fn join_team(&self, code: &str) -> Result<Team> {
        self.send(Method::POST, "v1/team/join", &JoinTeam { code: code.to_owned() }).await
    }

    /// Leaves the user's team.
    pub async fn leave_team(&self) -> Result<()> {
        self.bytes(self.request(Method::POST, "v1/team/leave")?).await.map(drop)
    }

    /// Removes somebody from the user's team.
    pub async fn remove_from_team(&self, user: UserId) -> Result<()> {
        self.bytes(self.request(Method::DELETE, &format!("v1/team/members/{user}"))?).await.map(drop)
    }

    /// The roles that the user's team defines for conversations.
    pub async fn team_roles(&self) -> Result<ConversationRoles> {
        self.get("v1/team/roles").await
    }

    /// Defines a role for the conversations of the user's team.
    pub async fn define_role(&self, role: &ConversationRole) -> Result<ConversationRole> {
        self.send(Method::POST, "v1/team/roles", role).await
    }

    /// Deletes a role of the user's team.
    pub async fn delete_role(&self, name: &RoleName) -> Result<()> {
        self.bytes(self.request(Method::DELETE, &format!("v1/team/roles/{name}"))?).await.map(drop)
    }

    /// The channels of the user's team.
    pub async fn channels(&self, team: TeamId) -> Result<Channels> {
        self.get(&format!("v1/teams/{team}/channels")).await
    }

    /// Makes a channel of the user's team.
    pub async fn create_channel(&self, team: TeamId, channel: &NewChannel) -> Result<Conversation> {
        self.send(Method::POST, &format!("v1/teams/{team}/channels"), channel).await
    }

    /// Gives a channel another name.
    pub async fn rename_channel(&self, id: ConversationId, name: &str) -> Result<()> {
        let request = self.request(Method::PUT, &format!("v1/conversations/{id}/channel-name"))?;
        self.bytes(request.json(&ChannelName { name: name.to_owned() })).await.map(drop)
    }

    /// Changes the role of a member of the user's team.
    pub async fn set_team_role(&self, user: UserId, role: TeamRole) -> Result<()> {
        let request = self.request(Method::PUT, &format!("v1/team/members/{user}/role"))?;
        self.bytes(request.json(&TeamRoleUpdate { role })).await.map(drop)
    }
}

/// Conversations and what is sent into them.
impl Hub {
    /// All conversations of the user.
    pub async fn conversations(&self) -> Result<Conversations> {
        self.get("v1/conversations").await
    }

    /// One conversation of the user.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation> {
        self.get(&format!("v1/conversations/{id}")).await
    }

    /// Creates a group with the user as its admin.
    pub async fn create_conversation(&self, new: &NewConversation) -> Result<Conversation> {
        self.send(Method::POST, "v1/conversations", new).await
    }

    /// Sets something for all members of a conversation.
    pub async fn set(&self, id: ConversationId, setting: Setting) -> Result<()> {
        let put = |what: &str| self.request(Method::PUT, &format!("v1/conversations/{id}/{what}"));
        let request = match setting {
            Setting::MessageTimer(message_timer) => {
                put("message-timer")?.json(&MessageTimerUpdate { message_timer })
            }
            Setting::ReceiptMode(receipt_mode) => {
                put("receipt-mode")?.json(&ReceiptModeUpdate { receipt_mode })
            }
            Setting::AddPermission(add_permission) => {
                put("add-permission")?.json(&AddPermissionUpdate { add_permission })
            }
            Setting::History(history) => put("history")?.json(&HistoryUpdate { history }),
        };
        self.bytes(request).await.map(drop)
    }

    /// A page of a conversation's log from before the user came, as far as its setting allows.
    pub async fn history(&self, id: ConversationId, query: &HistoryQuery) -> Result<HistoryPage> {
        self.read(self.request(Method::GET, &format!("v1/conversations/{id}/history"))?.query(query)).await
    }

    /// Tells the other members who are connected that the user is typing, or no longer.
    pub async fn typing(&self, id: ConversationId, status: TypingStatus) -> Result<()> {
        let request = self.request(Method::POST, &format!("v1/conversations/{id}/typing"))?;
        self.bytes(request.json(&TypingUpdate { status })).await.map(drop)
    }

    /// Changes the protocol of a group.
    pub async fn set_protocol(&self, id: ConversationId, protocol: Protocol) -> Result<()> {
        let request = self.request(Method::PUT, &format!("v1/conversations/{id}/protocol"))?;
        self.bytes(request.json(&ProtocolUpdate { protocol })).await.map(drop)
    }

    /// Adds members to a group whose protocol is pairwise, with this role; `member` if none is given.
    pub async fn add_members(
        &self,
        id: ConversationId,
        users: Vec<UserId>,
        role: Option<&str>,
    ) -> Result<()> {
        let request = self.request(Method::POST, &format!("v1/conversations/{id}/members"))?;
        let role = role.map(ToOwned::to_owned);
        self.bytes(request.json(&NewMembers { users, role })).await.map(drop)
    }

    /// Removes a member from a group whose protocol is pairwise.
    pub async fn remove_member(&self, id: ConversationId, user: UserId) -> Result<()> {
        let request = self.request(Method::DELETE, &format!("v1/conversations/{id}/members/{user}"))?;
        self.bytes(request).await.map(drop)
    }

    /// Changes a member's role. If that takes it from the last admin, the successor becomes one.
    pub async fn set_role(
        &self,
        id: ConversationId,
        user: UserId,
        role: &str,
        successor: Option<UserId>,
    ) -> Result<()> {
        let request = self.request(Method::PUT, &format!("v1/conversations/{id}/members/{user}/role"))?;
        self.bytes(request.json(&RoleUpdate { role: role.to_owned(), successor })).await.map(drop)
    }

    /// Leaves a conversation.
    pub async fn leave(&self, id: ConversationId, successor: Option<UserId>) -> Result<()> {
        let request = self.request(Method::POST, &format!("v1/conversations/{id}/leave"))?;
        self.bytes(request.json(&Leave { successor })).await.map(drop)
    }

    /// Deletes a group or channel for all its members.
    pub async fn delete_conversation(&self, id: ConversationId) -> Result<()> {
        self.bytes(self.request(Method::DELETE, &format!("v1/conversations/{id}"))?).await.map(drop)
    }

    /// Has a conversation's MLS group begun anew, if it is still this one.
    pub async fn reset(&self, id: ConversationId, group: &GroupReset) -> Result<Conversation> {
        self.send(Method::POST, &format!("v1/conversations/{id}/reset"), group).await
    }

    /// Sends an application message: the bytes of one `MLSMessage`.
    pub async fn send_message(&self, id: ConversationId, message: Vec<u8>) -> Result<MessageAccepted> {
        self.send_mls(Method::POST, &format!("v1/conversations/{id}/messages"), message).await
    }

    /// Sends a pairwise message: the JSON of a [`PairwiseMessage`](tertulia_api::pairwise::PairwiseMessage). Its bytes are what
    /// the hub knows it by when it comes again.
    pub async fn send_pairwise(&self, id: ConversationId, message: Vec<u8>) -> Result<PairwiseAccepted> {
        let request = self.request(Method::POST, &format!("v1/conversations/{id}/pairwise-messages"))?;
        self.read(request.header(header::CONTENT_TYPE, "application/json").body(message)).await
    }

    /// Sends the announcement of a new name: the bytes of one `MLSMessage`.
    pub async fn send_name(&self, id: ConversationId, message: Vec<u8>) -> Result<MessageAccepted> {
        self.send_mls(Method::PUT, &format!("v1/conversations/{id}/name"), message).await
    }

    /// Sends a commit bundle: the concatenated bytes of the commit, the `GroupInfo`, the Welcome if there is one, and the
    /// application message for the new epoch if there is one.
    pub async fn send_commit(&self, id: ConversationId, bundle: Vec<u8>) -> Result<CommitAccepted> {
        self.send_mls(Method::POST, &format!("v1/conversations/{id}/commits"), bundle).await
    }

    /// The group's current `GroupInfo`, an `MLSMessage`, for an external commit.
    pub async fn group_info(&self, id: ConversationId) -> Result<Vec<u8>> {
        self.bytes(self.request(Method::GET, &format!("v1/conversations/{id}/group-info"))?).await
    }

    /// A page of the device's events.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage> {
        self.read(self.request(Method::GET, "v1/events")?.query(query)).await
    }
}

/// Who is admitted to conversations, and coming in.
impl Hub {
    /// Changes who is admitted to a conversation.
    pub async fn set_access(&self, id: ConversationId, access: &AccessUpdate) -> Result<()> {
        let request = self.request(Method::PUT, &format!("v1/conversations/{id}/access"))?;
        self.bytes(request.json(access)).await.map(drop)
    }

    /// Gives a conversation a join link.
    pub async fn put_link(&self, id: ConversationId, link: &NewLink) -> Result<Link> {
        self.send(Method::PUT, &format!("v1/conversations/{id}/link"), link).await
    }

    /// A conversation's join link, as the hub knows it.
    pub async fn link(&self, id: ConversationId) -> Result<Link> {
        self.get(&format!("v1/conversations/{id}/link")).await
    }

    /// Takes a conversation's join link back.
    pub async fn revoke_link(&self, id: ConversationId) -> Result<()> {
        self.bytes(self.request(Method::DELETE, &format!("v1/conversations/{id}/link"))?).await.map(drop)
    }

    /// Where a join link leads.
    pub async fn preview_link(&self, code: &LinkCode) -> Result<LinkPreview> {
        self.send(Method::POST, "v1/join/preview", code).await
    }

    /// Comes in by a join link.
    pub async fn join_by_link(&self, by: &JoinByLink) -> Result<Joining> {
        self.send(Method::POST, "v1/join", by).await
    }

    /// Asks to come into a conversation.
    pub async fn ask_to_join(&self, id: ConversationId) -> Result<Joining> {
        self.read(self.request(Method::POST, &format!("v1/conversations/{id}/join"))?).await
    }

    /// Takes that back.
    pub async fn cancel_join(&self, id: ConversationId) -> Result<()> {
        self.bytes(self.request(Method::DELETE, &format!("v1/conversations/{id}/join"))?).await.map(drop)
    }
}

/// Subconversations. Commits and messages of one go to its id, as in every conversation.
impl Hub {
    /// Those of a conversation that have devices in them.
    pub async fn subconversations(&self, parent: ConversationId) -> Result<Subconversations> {
        self.get(&format!("v1/conversations/{parent}/subconversations")).await
    }

    /// One of them.
    pub async fn subconversation(
        &self,
        parent: ConversationId,
        name: &SubconversationName,
    ) -> Result<Subconversation> {
        self.read(self.of_subconversation(Method::GET, parent, "", name)?).await
    }

    /// Makes one ready to be joined by this device.
    pub async fn open_subconversation(
        &self,
        parent: ConversationId,
        name: &SubconversationName,
    ) -> Result<Subconversation> {
        self.read(self.of_subconversation(Method::PUT, parent, "", name)?).await
    }

    /// Ends one for everybody, if its group is still this one.
    pub async fn delete_subconversation(
        &self,
        parent: ConversationId,
        name: &SubconversationName,
        group: &GroupReset,
    ) -> Result<Subconversation> {
        self.read(self.of_subconversation(Method::DELETE, parent, "", name)?.json(group)).await
    }

    /// Leaves one with this device.
    pub async fn leave_subconversation(
        &self,
        parent: ConversationId,
        name: &SubconversationName,
    ) -> Result<()> {
        self.bytes(self.of_subconversation(Method::POST, parent, "/leave", name)?).await.map(drop)
    }

    /// The name is in the query: as a part of the path, some names would mean something else.
    fn of_subconversation(
        &self,
        method: Method,
        parent: ConversationId,
        action: &str,
        name: &SubconversationName,
    ) -> Result<RequestBuilder> {
        let path = format!("v1/conversations/{parent}/subconversation{action}");
        Ok(self.request(method, &path)?.query(&[("name", name.as_str())]))
    }
}

fn credentials(handle: &str, password: &str) -> Credentials {
    Credentials { handle: handle.to_owned(), password: password.to_owned() }
}
