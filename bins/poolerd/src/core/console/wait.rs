//! Commands whose answer has to wait, and who gets it.

use std::time::Instant;

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::sqlstate::SqlState;

use super::commands::refusal;
use crate::core::effect::Effect;
use crate::core::{ClientId, ControlId, Core, DatabaseId};

/// Who gave a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Asker {
    /// A session of the console.
    Console(ClientId),
    /// A request on the control socket, by its connection.
    Control(ControlId),
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Wait {
    /// All servers of the database, or of all, are closed.
    Pause(Option<DatabaseId>),
    /// All tagged servers of the database, or of all, are closed.
    Close(Option<DatabaseId>),
    /// The shell has flushed everything.
    Suspend,
    /// The shell has read the configuration.
    Reload,
}

impl Wait {
    /// The command tag that ends it.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Wait::Pause(_) => "PAUSE",
            Wait::Close(_) => "WAIT_CLOSE",
            Wait::Suspend => "SUSPEND",
            Wait::Reload => "RELOAD",
        }
    }
}

impl Core {
    /// A server was released or closed: answers the commands that waited for that, and ends a shutdown.
    pub(in crate::core) fn reply_to_waiting_consoles(&mut self, _now: Instant) {
        self.end_shutdown();
        if self.console.waiting.is_empty() {
            return;
        }
        self.answer_where(Ok(()), |core, wait| match wait {
            Wait::Pause(database) => core.servers_left(database) == 0,
            Wait::Close(database) => core.tagged_left(database) == 0,
            Wait::Suspend | Wait::Reload => false,
        });
    }

    /// Ends the waits that `over` picks.
    pub(in crate::core) fn answer_where(
        &mut self,
        outcome: Result<(), ErrorResponse>,
        over: impl Fn(&Core, Wait) -> bool,
    ) {
        let waiting = std::mem::take(&mut self.console.waiting);
        for (asker, wait) in waiting {
            if over(self, wait) {
                self.answer(asker, wait, outcome.clone());
            } else {
                self.console.waiting.push((asker, wait));
            }
        }
    }

    fn answer(&mut self, asker: Asker, wait: Wait, outcome: Result<(), ErrorResponse>) {
        match asker {
            Asker::Console(id) => self.answer_console(id, wait.tag(), outcome),
            Asker::Control(control) => self.effects.push_back(Effect::Answer { control, outcome }),
        }
    }

    /// RESUME ends what others still wait for.
    pub(in crate::core) fn answer_paused(&mut self, database: Option<DatabaseId>) {
        self.answer_where(Err(refusal("ended by RESUME")), |_, wait| match wait {
            Wait::Pause(paused) => paused == database,
            Wait::Suspend => database.is_none(),
            Wait::Close(_) | Wait::Reload => false,
        });
    }

    /// A console session is over: what it waited for is forgotten, and what it suspended goes on.
    pub(in crate::core) fn forget_console(&mut self, id: ClientId, now: Instant) {
        if self.console.sessions.remove(&id).is_none() {
            return;
        }
        self.console.survey = None;
        self.forget_wait(Asker::Console(id), now);
    }

    /// The control connection that gave this request is gone.
    pub fn control_gone(&mut self, control: ControlId) {
        self.console.waiting.retain(|&(asker, _)| asker != Asker::Control(control));
    }

    fn forget_wait(&mut self, asker: Asker, now: Instant) {
        self.console.waiting.retain(|&(waiting, _)| waiting != asker);
        if self.suspended && self.console.suspender == Some(asker) {
            let text = "admin disappeared when suspended, doing RESUME";
            self.log_plain(crate::core::Level::Log, crate::core::Event::Command, text);
            self.resume_all(now);
        }
    }

    /// A cancel request for a console that waits: the wait ends, and with it the PAUSE or SUSPEND it waited for.
    pub(in crate::core) fn cancel_console_wait(&mut self, id: ClientId, now: Instant) {
        let asker = Asker::Console(id);
        let Some(at) = self.console.waiting.iter().position(|&(waiting, _)| waiting == asker) else { return };
        let (_, wait) = self.console.waiting.remove(at);
        match wait {
            Wait::Pause(None) | Wait::Suspend => {
                self.resume_all(now);
            }
            Wait::Pause(Some(database)) => {
                self.resume_database(database, now);
            }
            Wait::Close(_) | Wait::Reload => {}
        }
        let text = "canceling statement due to user request";
        let error = ErrorResponse::new(Severity::Error, SqlState::QUERY_CANCELED, text);
        self.answer(asker, wait, Err(error));
    }
}
