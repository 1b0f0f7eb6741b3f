//! What goes to standard output: views of things, as a table for people or as JSON lines for programs.

mod human;
mod json;
pub(crate) mod operator;
#[cfg(test)]
mod samples;
pub(crate) mod text;
pub(crate) mod view;

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use tertulia::Handle;
use tertulia_conversation::types::Descriptor;

use self::human::Page;
use crate::error::CliError;

/// The style of `error[…]:` on standard error.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The style of `hint:` on standard error.
pub(crate) const HINT: Style = AnsiColor::Yellow.on_default().bold();

/// The form in which commands answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Tables and sentences.
    Human,
    /// One object a line.
    Json,
}

impl Output {
    pub(crate) fn me(self, me: &view::Me) -> Result<(), CliError> {
        self.one(me, |me| human::me(me, &Page::stdout()))
    }

    pub(crate) fn devices(self, devices: &[view::Device]) -> Result<(), CliError> {
        self.all(devices, |devices| human::devices(devices, &Page::stdout()))
    }

    pub(crate) fn removed_device(self, removed: &view::RemovedDevice) -> Result<(), CliError> {
        self.one(removed, human::removed_device)
    }

    pub(crate) fn changed_password(self, changed: &view::ChangedPassword) -> Result<(), CliError> {
        self.one(changed, human::changed_password)
    }

    pub(crate) fn deleted_account(self, deleted: &view::DeletedAccount) -> Result<(), CliError> {
        self.one(deleted, human::deleted_account)
    }

    pub(crate) fn profile(self, profile: &view::Profile) -> Result<(), CliError> {
        self.one(profile, human::profile)
    }

    pub(crate) fn people(self, people: &[view::Profile]) -> Result<(), CliError> {
        self.all(people, |people| human::people(people, &Page::stdout()))
    }

    /// One team, or none.
    pub(crate) fn teams(self, teams: &[view::Team]) -> Result<(), CliError> {
        self.all(teams, human::teams)
    }

    pub(crate) fn team_members(self, members: &[view::TeamMember]) -> Result<(), CliError> {
        self.all(members, |members| human::team_members(members, &Page::stdout()))
    }

    pub(crate) fn invitation(self, invitation: &view::Invitation) -> Result<(), CliError> {
        self.one(invitation, |invitation| human::invitation(invitation, &Page::stdout()))
    }

    pub(crate) fn roles(self, roles: &[view::Role]) -> Result<(), CliError> {
        self.all(roles, |roles| human::roles(roles, &Page::stdout()))
    }

    pub(crate) fn connections(self, connections: &[view::Connection]) -> Result<(), CliError> {
        self.all(connections, |connections| human::connections(connections, &Page::stdout()))
    }

    /// What others need to write to this home; `drawn` is the same as a QR code.
    pub(crate) fn intro(self, intro: &view::Intro, drawn: Option<&str>) -> Result<(), CliError> {
        self.one(intro, |intro| human::intro(intro, drawn))
    }

    pub(crate) fn requests(self, requests: &[view::Request]) -> Result<(), CliError> {
        self.all(requests, |requests| human::requests(requests, &Page::stdout()))
    }

    pub(crate) fn ignored(self, ignored: &view::Ignored) -> Result<(), CliError> {
        self.one(ignored, human::ignored)
    }

    pub(crate) fn connection(self, connection: &view::Connection) -> Result<(), CliError> {
        self.one(connection, human::connection)
    }

    pub(crate) fn conversations(
        self,
        conversations: &[view::Conversation],
        has_any: bool,
    ) -> Result<(), CliError> {
        self.all(conversations, |conversations| human::conversations(conversations, has_any, &Page::stdout()))
    }

    pub(crate) fn conversation(self, conversation: &view::Conversation) -> Result<(), CliError> {
        self.one(conversation, human::conversation)
    }

    pub(crate) fn channels(self, channels: &[view::Channel]) -> Result<(), CliError> {
        self.all(channels, |channels| human::channels(channels, &Page::stdout()))
    }

    /// What one has set of a conversation for oneself.
    pub(crate) fn own_settings(self, conversation: &view::Conversation) -> Result<(), CliError> {
        self.one(conversation, human::own_settings)
    }

    pub(crate) fn members(self, members: &[view::Member]) -> Result<(), CliError> {
        self.all(members, |members| human::members(members, &Page::stdout()))
    }

    pub(crate) fn sub_conversations(self, subs: &[view::SubConversation]) -> Result<(), CliError> {
        self.all(subs, |subs| human::sub_conversations(subs, &Page::stdout()))
    }

    pub(crate) fn sub_conversation(self, sub: &view::SubConversation) -> Result<(), CliError> {
        self.one(sub, human::sub_conversation)
    }

    /// One link, or none.
    pub(crate) fn links(self, links: &[view::Link]) -> Result<(), CliError> {
        self.all(links, |links| human::links(links, &Page::stdout()))
    }

    pub(crate) fn joinings(self, joinings: &[view::Joining]) -> Result<(), CliError> {
        self.all(joinings, |joinings| human::joinings(joinings, &Page::stdout()))
    }

    pub(crate) fn link_preview(self, preview: &view::LinkPreview) -> Result<(), CliError> {
        self.one(preview, |preview| human::link_preview(preview, &Page::stdout()))
    }

    pub(crate) fn access(self, access: &view::Access) -> Result<(), CliError> {
        self.one(access, human::access)
    }

    pub(crate) fn secret(self, secret: &view::Secret) -> Result<(), CliError> {
        self.one(secret, human::secret)
    }

    pub(crate) fn report(self, report: &view::Report) -> Result<(), CliError> {
        self.one(report, human::report)
    }

    pub(crate) fn warnings(self, warnings: &[view::Warning]) -> Result<(), CliError> {
        self.all(warnings, |warnings| human::warnings(warnings, &Page::stdout()))
    }

    pub(crate) fn exported(self, exported: &view::Exported) -> Result<(), CliError> {
        self.one(exported, human::exported)
    }

    pub(crate) fn rekeyed(self, rekeyed: &view::Rekeyed) -> Result<(), CliError> {
        self.one(rekeyed, human::rekeyed)
    }

    /// A message that was sent: a person has just typed it and needs no copy.
    pub(crate) fn sent(self, message: &view::Message) -> Result<(), CliError> {
        self.one(message, |_| String::new())
    }

    pub(crate) fn queued(self, queued: &view::Queued) -> Result<(), CliError> {
        self.one(queued, |_| "Kept here. The next `tertulia sync` sends it.\n".to_owned())
    }

    /// Messages of a conversation, in several portions.
    pub(crate) fn transcript(self, me: Handle) -> Transcript {
        Transcript { output: self, human: human::Transcript::new(me, Page::stdout()) }
    }

    /// Types of conversations.
    pub(crate) fn types<'a>(self, types: impl Iterator<Item = &'a Descriptor>) -> Result<(), CliError> {
        let types =
            types.map(|&descriptor| view::DescribedType { descriptor, is_carried: descriptor.is_carried() });
        self.all(&types.collect::<Vec<_>>(), |types| human::types(types, &Page::stdout()))
    }

    fn one<T: Serialize>(self, view: &T, human: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        self.print(&match self {
            Self::Human => human(view),
            Self::Json => json::line(view),
        })
    }

    fn all<T: Serialize>(self, views: &[T], human: impl FnOnce(&[T]) -> String) -> Result<(), CliError> {
        self.print(&match self {
            Self::Human => human(views),
            Self::Json => views.iter().map(json::line).collect(),
        })
    }

    fn print(self, text: &str) -> Result<(), CliError> {
        match self {
            Self::Human => print_styled(text),
            // Nothing in it is a style, so nothing may be dropped.
            Self::Json => print_exactly(text.as_bytes()),
        }
    }
}

/// A conversation that is being printed.
pub(crate) struct Transcript {
    output: Output,
    human: human::Transcript,
}

impl Transcript {
    pub(crate) fn print(&mut self, messages: &[view::Message]) -> Result<(), CliError> {
        let text: String = match self.output {
            Output::Human => messages.iter().map(|message| self.human.message(message)).collect(),
            Output::Json => messages.iter().map(json::line).collect(),
        };
        self.output.print(&text)
    }
}

/// Writes to standard output; styles only where it is a terminal that shows them, and `NO_COLOR` is not set.
pub(crate) fn print_styled(text: &str) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(CliError::output)
}

/// Writes to standard output as it is.
pub(crate) fn print_exactly(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(CliError::output)
}

/// Writes a line to standard error for a person who is watching. If nobody can be told, there is nobody to tell that.
pub(crate) fn note(line: &str) {
    if io::stderr().is_terminal() {
        let _ = writeln!(anstream::stderr().lock(), "{line}");
    }
}
