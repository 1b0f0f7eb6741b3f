//! For people: tables, and messages as one reads them. Styles are always in the text; the stream drops them where they
//! do not belong.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use jiff::{civil::Date, tz::TimeZone};
use tertulia::{
    AccountKind, AddPermission, ConnectionStatus, ConversationType, DisplayName, Handle, History, Locale,
    Protocol, ReceiptMode, ReceiptStatus,
};

use super::{
    text,
    view::{
        Access, ChangedPassword, Channel, Connection, Conversation, DeletedAccount, DescribedType, Device,
        Exported, Ignored, Intro, Invitation, Joining, Key, Link, LinkPreview, Me, Member, Message, Moment,
        Profile, Rekeyed, RemovedDevice, Report, Request, Role, Secret, SubConversation, Team, TeamMember,
        Warning, Who,
    },
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const MINE: Style = AnsiColor::Green.on_default().bold();
const THEIRS: Style = AnsiColor::Cyan.on_default().bold();

/// Columns that a message's time takes with the space behind it: where further lines of its text begin.
const TIME_WIDTH: usize = 6;

/// Columns of a terminal below which tables are not fitted to it.
const NARROWEST: u16 = 76;

/// Where and how wide the reader is.
#[derive(Clone)]
pub(crate) struct Page {
    zone: TimeZone,
    /// Columns of the terminal. None if there is no terminal, or it does not tell.
    width: Option<u16>,
}

impl Page {
    /// The page that standard output is.
    pub(crate) fn stdout() -> Self {
        Self { zone: TimeZone::system(), width: Table::new().width() }
    }
}

pub(crate) fn me(me: &Me, page: &Page) -> String {
    let mut rows = vec![
        ("handle", format!("@{}", me.handle)),
        ("user", format!("{}@{}", me.user, me.domain)),
        ("device", me.device.to_string()),
    ];
    rows.extend(me.hub.iter().map(|hub| ("hub", hub.clone())));
    rows.extend(me.relays.iter().map(|relay| ("relay", relay.clone())));
    if !me.kind.is_person() {
        rows.push(("kind", me.kind.to_string()));
    }
    rows.extend(me.expires_at.map(|at| ("until", minute(at, page))));
    fields(&rows)
}

pub(super) fn fields(rows: &[(&str, String)]) -> String {
    rows.iter().fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{DIM}{name:<7}{DIM:#} {value}");
        out
    })
}

pub(crate) fn devices(devices: &[Device], page: &Page) -> String {
    let rows = devices.iter().map(|device| {
        let here = if device.current { "this one" } else { "" };
        vec![
            Cell::new(device.id),
            Cell::new(text::one_line(&device.label)),
            Cell::new(minute(device.created_at, page)),
            Cell::new(here),
        ]
    });
    table(["DEVICE", "LABEL", "SINCE", ""], &[0], rows, page)
}

pub(crate) fn types(types: &[DescribedType], page: &Page) -> String {
    let rows = types.iter().map(|DescribedType { descriptor: one, .. }| {
        vec![
            Cell::new(one.title),
            Cell::new(one.id),
            Cell::new(one.carried_by()),
            Cell::new(one.encryption.scheme.as_str()),
            Cell::new(one.hints.as_str()),
            Cell::new(one.members.max_users).set_alignment(CellAlignment::Right),
            Cell::new(one.summary),
        ]
    });
    table(["TYPE", "NUMBER", "CARRIED BY", "ENCRYPTION", "HINTS", "USERS", "FOR"], &[0, 1], rows, page)
}

pub(crate) fn removed_device(removed: &RemovedDevice) -> String {
    format!("Removed {}. Nothing is delivered to it any more.\n", removed.device)
}

pub(crate) fn changed_password(changed: &ChangedPassword) -> String {
    let ChangedPassword { handle, hub } = changed;
    format!("Changed. Your other devices log in again: `tertulia login {handle} --hub {hub}`.\n")
}

pub(crate) fn deleted_account(deleted: &DeletedAccount) -> String {
    format!("The account @{} is no more. What this home holds stays here.\n", deleted.handle)
}

pub(crate) fn profile(profile: &Profile) -> String {
    let name = profile.name.as_ref().map_or("-", DisplayName::as_str);
    let rows = [
        ("handle", format!("@{}", profile.handle)),
        ("name", text::one_line(name).into_owned()),
        ("locale", profile.locale.as_ref().map_or("-", Locale::as_str).to_owned()),
        ("user", profile.user.to_string()),
        ("kind", profile.kind.to_string()),
    ];
    fields(&rows)
}

pub(crate) fn people(people: &[Profile], page: &Page) -> String {
    if people.is_empty() {
        return "Nobody's handle begins so.\n".to_owned();
    }
    let rows = people.iter().map(|person| {
        let name = person.name.as_ref().map_or("", DisplayName::as_str);
        vec![
            Cell::new(format_args!("@{}", person.handle)),
            Cell::new(text::one_line(name)),
            Cell::new(unusual(person.kind)),
            Cell::new(person.user),
        ]
    });
    table(["HANDLE", "NAME", "", "USER"], &[0, 3], rows, page)
}

pub(crate) fn teams(teams: &[Team]) -> String {
    let Some(team) = teams.first() else {
        return "You are in no team. `tertulia team create NAME` makes one.\n".to_owned();
    };
    let rows = [
        ("team", text::one_line(team.name.as_str()).into_owned()),
        ("role", team.role.to_string()),
        ("id", team.id.to_string()),
    ];
    fields(&rows)
}

pub(crate) fn team_members(members: &[TeamMember], page: &Page) -> String {
    let rows = members.iter().map(|member| {
        vec![
            Cell::new(format_args!("@{}", member.handle)),
            Cell::new(member.role),
            Cell::new(minute(member.joined_at, page)),
            Cell::new(unusual(member.kind)),
        ]
    });
    table(["HANDLE", "ROLE", "SINCE", ""], &[0], rows, page)
}

pub(crate) fn invitation(invitation: &Invitation, page: &Page) -> String {
    let until = minute(invitation.expires_at, page);
    let code = text::one_line(&invitation.code);
    format!("For one person, until {until}:\n  tertulia team join {code}\n")
}

pub(crate) fn roles(roles: &[Role], page: &Page) -> String {
    if roles.is_empty() {
        return "Your team defines no roles. `tertulia role create NAME ACTION…` defines one.\n".to_owned();
    }
    let rows = roles.iter().map(|role| {
        let actions: Vec<_> = role.actions.iter().map(|action| action.to_string()).collect();
        vec![Cell::new(&role.name), Cell::new(actions.join(" "))]
    });
    table(["ROLE", "ALLOWS"], &[0], rows, page)
}

pub(crate) fn connections(connections: &[Connection], page: &Page) -> String {
    if connections.is_empty() {
        return "No connections yet. `tertulia connect @HANDLE` asks somebody.\n".to_owned();
    }
    let rows = connections.iter().map(|connection| {
        vec![
            Cell::new(format_args!("@{}", connection.handle)),
            Cell::new(connection.status),
            Cell::new(minute(connection.updated_at, page)),
        ]
    });
    table(["HANDLE", "STATUS", "SINCE"], &[0], rows, page)
}

/// The bundle alone on its line, so that it can be copied; above it the code, if it is drawn.
pub(crate) fn intro(intro: &Intro, drawn: Option<&str>) -> String {
    format!("{}{}\n", drawn.unwrap_or_default(), intro.bundle)
}

pub(crate) fn requests(requests: &[Request], page: &Page) -> String {
    if requests.is_empty() {
        return "Nobody waits for your answer.\n".to_owned();
    }
    let rows = requests.iter().map(|request| {
        vec![
            Cell::new(format_args!("@{}", request.from)),
            Cell::new(request.kind),
            Cell::new(minute(request.received_at, page)),
            Cell::new(minute(request.expires_at, page)),
        ]
    });
    table(["FROM", "KIND", "SINCE", "UNTIL"], &[0], rows, page)
}

/// What one's own action led to.
pub(crate) fn connection(connection: &Connection) -> String {
    let handle = &connection.handle;
    match connection.status {
        ConnectionStatus::Sent => format!("Asked @{handle}. You can talk once they accept.\n"),
        ConnectionStatus::Accepted => {
            format!("You and @{handle} are connected: `tertulia send @{handle} TEXT`.\n")
        }
        ConnectionStatus::Pending => format!("@{handle} waits for your answer.\n"),
        ConnectionStatus::Ignored => format!("The request of @{handle} is ignored. They are not told.\n"),
        ConnectionStatus::Blocked => format!("@{handle} is blocked. They are not told.\n"),
        ConnectionStatus::Cancelled => format!("Your request to @{handle} is taken back.\n"),
    }
}

/// Of who has asked the user into groups alone.
pub(crate) fn ignored(ignored: &Ignored) -> String {
    format!("The request of @{} is ignored. They are not told.\n", ignored.handle)
}

/// `has_any` says whether there are others that were not asked for.
pub(crate) fn conversations(conversations: &[Conversation], has_any: bool, page: &Page) -> String {
    if conversations.is_empty() && has_any {
        return "None here. `tertulia list --all` shows the others.\n".to_owned();
    }
    if conversations.is_empty() {
        return "No conversations yet. `tertulia connect @HANDLE` begins one.\n".to_owned();
    }
    let rows = conversations.iter().map(|conversation| {
        let unread = match conversation.unread {
            0 => Cell::new("-"),
            unread => Cell::new(unread).add_attribute(Attribute::Bold),
        };
        vec![
            Cell::new(name(conversation)),
            Cell::new(kind(conversation)),
            unread.set_alignment(CellAlignment::Right),
            Cell::new(whom(&conversation.members)),
            Cell::new(conversation.id),
        ]
    });
    table(["NAME", "TYPE", "UNREAD", "MEMBERS", "CONVERSATION"], &[1, 2, 4], rows, page)
}

/// A conversation that one has just changed.
pub(crate) fn conversation(conversation: &Conversation) -> String {
    let name = name(conversation);
    if conversation.active {
        let settings = settings(conversation);
        format!("{name}: {}\n{settings}{DIM}{}{DIM:#}\n", whom(&conversation.members), conversation.id)
    } else {
        format!("{name}: you are no longer in it\n{DIM}{}{DIM:#}\n", conversation.id)
    }
}

pub(crate) fn channels(channels: &[Channel], page: &Page) -> String {
    if channels.is_empty() {
        return "Your team has no channels. `tertulia channel create NAME` makes one.\n".to_owned();
    }
    let rows = channels.iter().map(|channel| {
        let here = if channel.joined { "you are in it" } else { "" };
        vec![
            Cell::new(text::one_line(channel.name.as_str())),
            Cell::new(channel.members).set_alignment(CellAlignment::Right),
            Cell::new(here),
            Cell::new(channel.id),
        ]
    });
    table(["NAME", "MEMBERS", "", "CONVERSATION"], &[1, 3], rows, page)
}

/// Who made it, and what is set for all members and is not as by default, a line.
fn settings(conversation: &Conversation) -> String {
    let mut set = Vec::new();
    if let Some(creator) = &conversation.creator {
        set.push(format!("made by @{creator}"));
    }
    if let Some(timer) = conversation.message_timer {
        set.push(format!("messages are deleted {} after reading", duration(timer.as_millis())));
    }
    if conversation.receipt_mode == ReceiptMode::On {
        set.push("members tell what they have read".to_owned());
    }
    if conversation.add_permission == AddPermission::Everyone {
        set.push("everyone may add people".to_owned());
    }
    match conversation.history {
        History::None => {}
        History::Depth(depth) => {
            let time = duration(depth.as_millis());
            set.push(format!("newcomers read the last {time} before they came"));
        }
        History::Unlimited => set.push("newcomers read what was said since this was set".to_owned()),
    }
    if set.is_empty() { String::new() } else { format!("{}\n", set.join("; ")) }
}

/// A time in the two largest units that it fills.
fn duration(millis: u64) -> String {
    let seconds = millis.div_ceil(1000);
    let units = [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        let whole = rest / size;
        rest %= size;
        if whole > 0 && parts.len() < 2 {
            parts.push(count(whole, unit));
        }
    }
    parts.join(" ")
}

/// What one has just set of a conversation for oneself.
pub(crate) fn own_settings(conversation: &Conversation) -> String {
    let name = name(conversation);
    match own(conversation)[..] {
        [] => format!("{name} is as before.\n"),
        ref set => format!("{name} is {}. Only your own devices know.\n", set.join(" and ")),
    }
}

fn own(conversation: &Conversation) -> Vec<&'static str> {
    [("muted", &conversation.muted), ("archived", &conversation.archived), ("hidden", &conversation.hidden)]
        .into_iter()
        .filter_map(|(name, flag)| flag.as_ref().map(|_| name))
        .collect()
}

pub(crate) fn members(members: &[Member], page: &Page) -> String {
    let rows = members.iter().map(|member| {
        vec![
            Cell::new(handle_of(member.handle.as_ref())),
            Cell::new(&member.role),
            Cell::new(unusual(member.kind)),
            Cell::new(member.user),
        ]
    });
    table(["HANDLE", "ROLE", "", "USER"], &[0, 3], rows, page)
}

pub(crate) fn sub_conversations(subs: &[SubConversation], page: &Page) -> String {
    if subs.is_empty() {
        return "Nobody is in one. `tertulia sub join CONVERSATION NAME` begins one.\n".to_owned();
    }
    let rows = subs.iter().map(|sub| {
        let here = if sub.joined { "this device too" } else { "" };
        vec![Cell::new(&sub.name), Cell::new(participants(sub)), Cell::new(here)]
    });
    table(["NAME", "DEVICES", ""], &[0], rows, page)
}

/// A subconversation that this device has just joined or left.
pub(crate) fn sub_conversation(sub: &SubConversation) -> String {
    if sub.joined {
        format!("{}: {}\n", sub.name, participants(sub))
    } else {
        format!("{}: this device is not in it\n", sub.name)
    }
}

/// The link alone in a line of its own, to be copied.
pub(crate) fn links(links: &[Link], page: &Page) -> String {
    let Some(link) = links.first() else {
        return "There is no link. `tertulia link create CONVERSATION` makes one.\n".to_owned();
    };
    let until = minute(link.expires_at, page);
    let password = if link.has_password { " and knows the password" } else { "" };
    match &link.secret {
        Some(secret) => {
            let secret = text::one_line(&secret.0);
            format!("Until {until}, whoever has this{password} can come in:\n{secret}\n")
        }
        None => format!(
            "There is a link until {until}, made in another home. `tertulia link create` replaces it.\n"
        ),
    }
}

pub(crate) fn link_preview(preview: &LinkPreview, page: &Page) -> String {
    let row = vec![
        Cell::new(preview.kind.as_str()),
        Cell::new(preview.members).set_alignment(CellAlignment::Right),
        Cell::new(if preview.has_password { "yes" } else { "no" }),
        Cell::new(minute(preview.expires_at, page)),
        Cell::new(preview.conversation),
    ];
    table(["TYPE", "MEMBERS", "PASSWORD", "UNTIL", "CONVERSATION"], &[4], [row].into_iter(), page)
}

pub(crate) fn joinings(joinings: &[Joining], page: &Page) -> String {
    if joinings.is_empty() {
        return "You wait for nothing.\n".to_owned();
    }
    joinings.iter().fold(String::new(), |mut out, joining| {
        let since = minute(joining.asked_at, page);
        let _ = writeln!(
            out,
            "Asked {since}. A member lets you in as soon as a device of theirs is online.\n{DIM}{}{DIM:#}",
            joining.conversation
        );
        out
    })
}

pub(crate) fn access(access: &Access) -> String {
    let modes: Vec<_> = access.modes.iter().map(|mode| mode.as_str()).collect();
    let roles: Vec<_> = access.roles.iter().map(|role| role.as_str()).collect();
    fields(&[("modes", modes.join(" ")), ("roles", roles.join(" "))])
}

pub(crate) fn secret(secret: &Secret) -> String {
    format!("{}\n", secret.key())
}

/// Whose devices are in it, and how many of each.
fn participants(sub: &SubConversation) -> String {
    let mut counted: Vec<(String, u64)> = Vec::new();
    for member in &sub.members {
        let who = handle_of(member.handle.as_ref());
        match counted.iter_mut().find(|(known, _)| *known == who) {
            Some((_, devices)) => *devices += 1,
            None => counted.push((who, 1)),
        }
    }
    let shown = |(who, devices): (String, u64)| if devices == 1 { who } else { format!("{who} ({devices})") };
    counted.into_iter().map(shown).collect::<Vec<_>>().join(", ")
}

pub(crate) fn report(report: &Report) -> String {
    let mut out = format!("Up to date: {}", count(report.messages, "new message"));
    if report.sent > 0 {
        let _ = write!(out, ", {} sent", count(report.sent, "waiting message"));
    }
    if report.history > 0 {
        let _ = write!(out, ", {} from before you came", count(report.history, "message"));
    }
    if report.resets > 0 {
        let _ = write!(out, ", {} begun anew", count(report.resets, "group"));
    }
    if report.refused > 0 {
        let _ = write!(out, ", {} refused by the hub and dropped", count(report.refused, "waiting message"));
    }
    if report.undecryptable > 0 {
        let _ = write!(out, ", {} that this device cannot read", report.undecryptable);
    }
    if report.unsupported > 0 {
        let _ = write!(out, ", {} kept for a later version of this program", report.unsupported);
    }
    if report.suspicious > 0 {
        let warnings = count(report.suspicious, "warning");
        let _ = write!(out, ", {warnings} about the hub (`tertulia warnings`)");
    }
    out.push_str(".\n");
    out
}

pub(crate) fn warnings(warnings: &[Warning], page: &Page) -> String {
    if warnings.is_empty() {
        return "Nothing was noticed.\n".to_owned();
    }
    let rows = warnings.iter().map(|warning| {
        let name =
            warning.name.as_deref().map_or_else(|| warning.conversation.to_string().into(), text::one_line);
        vec![
            Cell::new(minute(warning.noticed_at, page)),
            Cell::new(name),
            Cell::new(text::one_line(&warning.sentence)),
        ]
    });
    table(["WHEN", "CONVERSATION", "WHAT"], &[1, 2], rows, page)
}

pub(crate) fn exported(exported: &Exported) -> String {
    let key = match exported.key {
        Key::File => "its key is in it, so keep it where only you can read it",
        Key::Passphrase => "its passphrase opens it",
    };
    format!("Copied to {}; {key}.\n", text::one_line(&exported.home))
}

pub(crate) fn rekeyed(rekeyed: &Rekeyed) -> String {
    match rekeyed.key {
        Key::File => "This home has a new key, in a file of its own.\n".to_owned(),
        Key::Passphrase => "This home has a new passphrase.\n".to_owned(),
    }
}

/// Messages as they follow each other: a line for the date whenever the day changes.
pub(crate) struct Transcript {
    me: Handle,
    page: Page,
    day: Option<Date>,
}

impl Transcript {
    pub(crate) fn new(me: Handle, page: Page) -> Self {
        Self { me, page, day: None }
    }

    pub(crate) fn message(&mut self, message: &Message) -> String {
        let sent = message.sent_at.timestamp().to_zoned(self.page.zone.clone());
        let mut out = String::new();
        if self.day != Some(sent.date()) {
            self.day = Some(sent.date());
            let _ = writeln!(out, "{DIM}── {} ──{DIM:#}", sent.strftime("%A, %Y-%m-%d"));
        }
        let (style, from) = match &message.from {
            Some(handle) if *handle == self.me => (MINE, handle.to_string()),
            Some(handle) => (THEIRS, handle.to_string()),
            None => (THEIRS, format!("device {}", message.device)),
        };
        let text = match &message.frame {
            Some(frame) => {
                let size = count(frame.bytes.len() as u64 / 2, "byte");
                format!("{DIM}({size} that only an application with the type {} shows){DIM:#}", frame.of)
            }
            None => text::lines(&message.text, TIME_WIDTH),
        };
        let _ = writeln!(out, "{DIM}{}{DIM:#} {style}{from}:{style:#} {text}", sent.strftime("%H:%M"));
        let mine = message.from.as_ref() == Some(&self.me);
        let read: Vec<Handle> = message
            .receipts
            .iter()
            .filter(|receipt| mine && receipt.status == ReceiptStatus::Read)
            .filter_map(|receipt| receipt.handle.clone())
            .collect();
        if let Some(history) = message.history.as_ref().filter(|history| !history.verified) {
            let by = history.shared_by.as_ref().map_or_else(|| "a member".to_owned(), |by| format!("@{by}"));
            let _ = writeln!(out, "{:TIME_WIDTH$}{DIM}from before you came, as {by} says{DIM:#}", "");
        }
        if !read.is_empty() {
            let _ = writeln!(out, "{:TIME_WIDTH$}{DIM}read by {}{DIM:#}", "", handles(&read));
        }
        out
    }
}

fn name(conversation: &Conversation) -> String {
    match &conversation.name {
        Some(name) => text::one_line(name).into_owned(),
        None => "(no name yet)".to_owned(),
    }
}

fn kind(conversation: &Conversation) -> String {
    let kind = match conversation.kind {
        ConversationType::OneToOne => "1:1",
        ConversationType::Connection => "asked",
        other => other.as_str(),
    };
    let kind = match &conversation.own_type {
        Some(own) => own.title.map_or_else(|| format!("type {}", own.id), str::to_owned),
        None => kind.to_owned(),
    };
    let protocol = match conversation.protocol {
        Protocol::Mls => String::new(),
        other => format!(", {other}"),
    };
    let left = if conversation.active { "" } else { ", left" };
    let own: String = own(conversation).into_iter().flat_map(|set| [", ", set]).collect();
    format!("{kind}{protocol}{left}{own}")
}

/// What an account is, where it is no person's.
fn unusual(kind: AccountKind) -> &'static str {
    if kind.is_person() { "" } else { kind.as_str() }
}

/// The ids of whom the hub gives no handle stand beside it.
fn handle_of(handle: Option<&Handle>) -> String {
    handle.map_or_else(|| "?".to_owned(), |handle| format!("@{handle}"))
}

fn whom(people: &[Who]) -> String {
    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn handles(handles: &[Handle]) -> String {
    handles.iter().map(|handle| format!("@{handle}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn minute(moment: Moment, page: &Page) -> String {
    moment.timestamp().to_zoned(page.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn count(number: u64, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Plain columns under bold titles. The columns in `whole` (ids, handles) are to be copied and are never wrapped.
pub(super) fn table<const N: usize>(
    titles: [&str; N],
    whole: &[usize],
    rows: impl Iterator<Item = Vec<Cell>>,
    page: &Page,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling().set_header(titles).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if whole.contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    // Too narrow, and long lines are broken better by the terminal than into columns of a letter each.
    if let Some(width) = page.width.filter(|&width| width >= NARROWEST) {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    let mut lines = table.lines();
    let titles = lines.next().unwrap_or_default();
    let mut out = format!("{BOLD}{}{BOLD:#}\n", titles.trim_end());
    for line in lines {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    const PAGE: Page = Page { zone: TimeZone::UTC, width: None };

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn tables_have_plain_columns() {
        let all = [
            me(&samples::me(), &PAGE),
            me(&samples::guest(), &PAGE),
            devices(&samples::devices(), &PAGE),
            connections(&samples::connections(), &PAGE),
            conversations(&samples::conversations(), true, &PAGE),
            members(&samples::members(), &PAGE),
            conversation(&samples::conversations()[1]),
            report(&samples::report()),
            exported(&samples::exported()),
            rekeyed(&samples::rekeyed()),
            removed_device(&samples::removed_device()),
            changed_password(&samples::changed_password()),
            deleted_account(&samples::deleted_account()),
            profile(&samples::people()[0]),
            people(&samples::people(), &PAGE),
            teams(&[samples::team()]),
            teams(&[]),
            team_members(&samples::team_members(), &PAGE),
            invitation(&samples::invitation(), &PAGE),
            roles(&samples::roles(), &PAGE),
            channels(&samples::channels(), &PAGE),
            channels(&[], &PAGE),
            links(&samples::links()[..1], &PAGE),
            links(&samples::links()[1..], &PAGE),
            links(&[], &PAGE),
            link_preview(&samples::link_preview(), &PAGE),
            joinings(&[samples::joining()], &PAGE),
            joinings(&[], &PAGE),
            access(&samples::access()),
        ];
        insta::assert_snapshot!(plain(&all.join("\n")));
    }

    #[test]
    fn an_empty_list_says_whether_there_are_others() {
        assert!(conversations(&[], false, &PAGE).contains("tertulia connect"));
        assert!(conversations(&[], true, &PAGE).contains("tertulia list --all"));
    }

    #[test]
    fn a_long_table_is_fitted_to_the_terminal_and_its_ids_stay_whole() {
        let mut conversation = samples::conversations().remove(1);
        conversation.members = (10..40).map(|number| samples::who(&format!("member{number}"))).collect();
        for width in [NARROWEST, 120] {
            let shown = plain(&conversations(
                std::slice::from_ref(&conversation),
                true,
                &Page { width: Some(width), ..PAGE },
            ));
            assert!(shown.lines().all(|line| line.chars().count() <= usize::from(width)), "{shown}");
            assert!(shown.contains(&conversation.id.to_string()), "{shown}");
        }
        let narrow = plain(&conversations(&[conversation], true, &Page { width: Some(20), ..PAGE }));
        assert_eq!(narrow.lines().count(), 2, "{narrow}");
    }

    #[test]
    fn messages_are_read_as_a_conversation() {
        let mut transcript = Transcript::new(samples::handle("alice"), PAGE);
        let read: String = samples::messages().iter().map(|message| transcript.message(message)).collect();
        insta::assert_snapshot!(plain(&read));
    }

    #[test]
    fn nothing_that_others_wrote_acts_on_the_terminal() {
        let attack = "\u{1b}[2J\u{9b}31m\r\u{202e}";
        let mut device = samples::devices().remove(0);
        attack.clone_into(&mut device.label);
        let mut conversation = samples::conversations().remove(1);
        conversation.name = Some(attack.to_owned());
        let mut message = samples::messages().remove(0);
        attack.clone_into(&mut message.text);
        let mut transcript = Transcript::new(samples::handle("alice"), PAGE);

        for shown in [
            devices(&[device], &PAGE),
            conversations(std::slice::from_ref(&conversation), true, &PAGE),
            super::conversation(&conversation),
            transcript.message(&message),
        ] {
            assert!(shown.contains("␛[2J\u{fffd}31m␍\u{fffd}"), "{shown:?}");
            assert!(
                !shown.contains("\u{1b}[2J") && !shown.contains(['\u{9b}', '\r', '\u{202e}']),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn a_moment_out_of_the_calendar_is_shown_as_its_nearest() {
        for millis in [i64::MIN, i64::MAX] {
            assert!(!minute(Moment::from_millis(millis), &PAGE).is_empty());
        }
    }
}
