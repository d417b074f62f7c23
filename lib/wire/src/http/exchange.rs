//! What may come next on a connection: the states of its two sides, whoever of the two we are.
//!
//! Owned by a session, one for each of its connections: towards a client we are the server, towards an origin the client.
//! An exchange is one request and its final response; interim responses come between. Knows no bytes: the readers report
//! what they have read, the writers what they write, and the next exchange begins only when both sides are done.
//!
//! ```text
//! client   Idle ──request with content──▶ Sending ──its end──▶ Done ─┐
//!           │ └──request without──────────────────────────────▶ ─────┤ both Done: next() ──▶ Idle, or over
//!           │ └──request that offers to switch──▶ MightSwitch ──final┘
//! server   Idle ──a request came──▶ Awaited ──final──▶ Sending ──its end──▶ Done
//!                                    │ ▲ interim        101 after an offer: both Switched
//!                                    └─┘
//! either   Closed: its end of the connection is over; what was begun is truncated, what is whole stands
//! ```
//!
//! Invariants: a final response answers exactly one request; nothing is said unasked; once [`Persistence::Close`] was
//! said by anyone, no further exchange begins.

use super::connection::Persistence;

/// State of the side that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientState {
    /// Between requests.
    Idle,
    /// Its request has content that is not over.
    Sending,
    /// Its request is whole.
    Done,
    /// Its request is whole and offers to switch: what it sends now is not HTTP if the server accepts, and the next
    /// request if not.
    MightSwitch,
    /// It speaks another protocol now.
    Switched,
    /// It has ended its direction of the connection.
    Closed,
}

/// State of the side that answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerState {
    /// Nothing was asked.
    Idle,
    /// It owes a final response.
    Awaited,
    /// Its response has content that is not over.
    Sending,
    /// Its response is whole.
    Done,
    /// It speaks another protocol now.
    Switched,
    /// It has ended its direction of the connection.
    Closed,
}

/// Whether a message has content that will be reported as ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// It is over with its head.
    None,
    /// It ends with [`Act::RequestEnd`] or [`Act::ResponseEnd`].
    Follows,
    /// It ends with the connection ([`Act::ServerClosed`]).
    UntilClose,
}

/// Whether a request asks for more than an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// No.
    Nothing,
    /// To be told to go on before it sends its content.
    Continue,
    /// To switch protocols.
    Switch,
}

/// Something one of the sides did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The client sent the head of a request.
    Request {
        /// Its content.
        content: Content,
        /// What else it asks for.
        wish: Wish,
        /// Whether it wants the connection to go on.
        persistence: Persistence,
    },
    /// The client sent bytes of content.
    RequestContent,
    /// The content of the request is over.
    RequestEnd,
    /// The client will send nothing more.
    ClientClosed,
    /// The server sent 100 (Continue).
    Continue,
    /// The server sent another interim response.
    Interim,
    /// The server sent 101: it switches.
    Switch,
    /// The server sent the head of a final response.
    Final {
        /// Its content.
        content: Content,
        /// Whether it wants the connection to go on.
        persistence: Persistence,
    },
    /// The server answers something that is no request (a broken one, or silence): the last words on this connection.
    Refusal {
        /// The content of the answer.
        content: Content,
    },
    /// The content of the response is over.
    ResponseEnd,
    /// The server will send nothing more.
    ServerClosed,
}

/// An act that cannot follow what came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misstep {
    /// The server speaks though nothing is owed, or switches though nothing was offered.
    Unasked,
    /// The connection ended within a message, or before a response that is owed.
    Truncated,
    /// The client begins a request before the last exchange is over, or after it was to be the last.
    OutOfTurn,
    /// There are more interim responses than may be.
    InterimMany,
}

/// What a connection is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// An exchange is under way.
    Busy,
    /// The response is whole, the request is not: read what is left of it, or close.
    Drain,
    /// A request may come.
    Request,
    /// Both sides speak another protocol.
    Tunnel,
    /// Nothing more: close.
    Close,
}

/// The states of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    client: ClientState,
    server: ServerState,
    persistence: Persistence,
    wish: Wish,
    interim_max: u16,
    interims: u16,
    until_close: bool,
}

impl Exchange {
    /// A new connection. A final response may follow at most `interim_max` interim ones.
    pub fn new(interim_max: u16) -> Self {
        Self {
            client: ClientState::Idle,
            server: ServerState::Idle,
            persistence: Persistence::KeepAlive,
            wish: Wish::Nothing,
            interim_max,
            interims: 0,
            until_close: false,
        }
    }

    /// Takes note of `act`.
    ///
    /// # Errors
    /// [`Misstep`] if it cannot come now; the states are as before, and the connection is good for nothing more.
    pub fn on(&mut self, act: Act) -> Result<(), Misstep> {
        match act {
            Act::Request { content, wish, persistence } => self.request(content, wish, persistence),
            Act::RequestContent => self.request_content(),
            Act::RequestEnd => self.request_end(),
            Act::ClientClosed => self.client_closed(),
            Act::Continue => {
                self.interim()?;
                self.wish = Wish::Nothing;
                Ok(())
            }
            Act::Interim => self.interim(),
            Act::Switch => self.switch(),
            Act::Final { content, persistence } => self.answer(content, persistence),
            Act::Refusal { content } => self.refusal(content),
            Act::ResponseEnd => self.response_end(),
            Act::ServerClosed => self.server_closed(),
        }
    }

    /// State of the side that asks.
    pub fn client(&self) -> ClientState {
        self.client
    }

    /// State of the side that answers.
    pub fn server(&self) -> ServerState {
        self.server
    }

    /// Whether the connection will go on after this exchange, as far as is known: what the head of a response is to
    /// say.
    pub fn persistence(&self) -> Persistence {
        // A client that was not told to go on may keep its content or send it: nobody can tell what its next bytes are.
        let in_doubt = self.wish == Wish::Continue && self.client == ClientState::Sending;
        if in_doubt { Persistence::Close } else { self.persistence }
    }

    /// Whether the client waits to be told to go on.
    pub fn awaits_continue(&self) -> bool {
        self.wish == Wish::Continue
            && self.client == ClientState::Sending
            && self.server == ServerState::Awaited
    }

    /// Makes this exchange the last one: the process drains, or the connection has served its share.
    pub fn end_after_this(&mut self) {
        self.persistence = Persistence::Close;
    }

    /// What the connection is good for now.
    pub fn next(&self) -> Next {
        match (self.client, self.server) {
            (ClientState::Switched, _) => Next::Tunnel,
            (ClientState::Idle, ServerState::Idle) if self.persistence == Persistence::KeepAlive => {
                Next::Request
            }
            (ClientState::Idle, ServerState::Idle) => Next::Close,
            (ClientState::Sending, ServerState::Done) if self.persistence == Persistence::KeepAlive => {
                Next::Drain
            }
            (_, ServerState::Done | ServerState::Closed) => Next::Close,
            (ClientState::Closed, ServerState::Idle) => Next::Close,
            _ => Next::Busy,
        }
    }

    fn request(&mut self, content: Content, wish: Wish, persistence: Persistence) -> Result<(), Misstep> {
        if self.next() != Next::Request {
            return Err(Misstep::OutOfTurn);
        }
        self.client = match (content, wish) {
            (Content::None, Wish::Switch) => ClientState::MightSwitch,
            (Content::None, _) => ClientState::Done,
            _ => ClientState::Sending,
        };
        self.server = ServerState::Awaited;
        (self.wish, self.interims, self.until_close) = (wish, 0, false);
        self.say(persistence);
        Ok(())
    }

    fn request_content(&mut self) -> Result<(), Misstep> {
        if self.client != ClientState::Sending {
            return Err(Misstep::OutOfTurn);
        }
        // It did not wait, or was told by somebody else.
        self.wish = Wish::Nothing;
        Ok(())
    }

    fn request_end(&mut self) -> Result<(), Misstep> {
        self.request_content()?;
        self.client = ClientState::Done;
        self.settle();
        Ok(())
    }

    /// The end of a direction is not the end of interest (RFC 9112 §9.6): a whole request is still answered.
    fn client_closed(&mut self) -> Result<(), Misstep> {
        match self.client {
            ClientState::Sending => return Err(Misstep::Truncated),
            // In a tunnel each direction ends by itself.
            ClientState::Switched => return Ok(()),
            _ => self.client = ClientState::Closed,
        }
        self.persistence = Persistence::Close;
        Ok(())
    }

    fn interim(&mut self) -> Result<(), Misstep> {
        if self.server != ServerState::Awaited {
            return Err(Misstep::Unasked);
        }
        if self.interims == self.interim_max {
            return Err(Misstep::InterimMany);
        }
        self.interims += 1;
        Ok(())
    }

    fn switch(&mut self) -> Result<(), Misstep> {
        if (self.client, self.server) != (ClientState::MightSwitch, ServerState::Awaited) {
            return Err(Misstep::Unasked);
        }
        (self.client, self.server) = (ClientState::Switched, ServerState::Switched);
        self.persistence = Persistence::Close;
        Ok(())
    }

    fn answer(&mut self, content: Content, persistence: Persistence) -> Result<(), Misstep> {
        if self.server != ServerState::Awaited {
            return Err(Misstep::Unasked);
        }
        self.persistence = self.persistence();
        self.say(persistence);
        self.begin_answer(content);
        Ok(())
    }

    fn refusal(&mut self, content: Content) -> Result<(), Misstep> {
        if !matches!(self.server, ServerState::Idle | ServerState::Awaited) {
            return Err(Misstep::Unasked);
        }
        self.persistence = Persistence::Close;
        self.begin_answer(content);
        Ok(())
    }

    fn begin_answer(&mut self, content: Content) {
        if self.client == ClientState::MightSwitch {
            self.client = ClientState::Done;
        }
        self.until_close = content == Content::UntilClose;
        if self.until_close {
            self.persistence = Persistence::Close;
        }
        self.server = if content == Content::None { ServerState::Done } else { ServerState::Sending };
        self.settle();
    }

    fn response_end(&mut self) -> Result<(), Misstep> {
        if self.server != ServerState::Sending {
            return Err(Misstep::Unasked);
        }
        self.server = ServerState::Done;
        self.settle();
        Ok(())
    }

    fn server_closed(&mut self) -> Result<(), Misstep> {
        match self.server {
            ServerState::Awaited => return Err(Misstep::Truncated),
            ServerState::Sending if !self.until_close => return Err(Misstep::Truncated),
            ServerState::Switched => return Ok(()),
            _ => self.server = ServerState::Closed,
        }
        self.persistence = Persistence::Close;
        Ok(())
    }

    fn say(&mut self, persistence: Persistence) {
        if persistence == Persistence::Close {
            self.persistence = Persistence::Close;
        }
    }

    /// Both messages are whole and the connection goes on: the next exchange may begin.
    fn settle(&mut self) {
        let both = (self.client, self.server) == (ClientState::Done, ServerState::Done);
        if both && self.persistence == Persistence::KeepAlive {
            (self.client, self.server) = (ClientState::Idle, ServerState::Idle);
            self.wish = Wish::Nothing;
        }
    }
}
