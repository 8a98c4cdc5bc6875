//! One task that keeps one connection to one of several domain controllers, and the handle that asks it.
//!
//! Questions of many callers are on their way at the same time. A controller that does not answer in time, ends the
//! connection or sends something wrong is left for the next one; while none is there, callers get the reason at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_core::time::{Clock, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::connect::Connection;
use super::error::LdapError;
use super::message::{
    Attribute, Entry, Message, Operation, Outcome, Page, Request, Response, ResultCode, Scope, Search,
};
use super::root::Root;
use super::servers::servers;
use super::settings::{LdapSettings, Server};
use super::wire::Wire;

/// Questions that wait for the task, and questions that wait for an answer.
const QUEUE: usize = 64;
/// Entries that are asked for at a time; Active Directory gives at most 1,000.
const PAGE: i32 = 500;
/// A search of several pages may take so many times as long as one answer.
const MAX_WAITS: u32 = 6;
/// Most octets that one search may collect.
const MAX_COLLECTED: usize = 64 << 20;
/// Pauses after all servers failed.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// Whether a domain controller is there.
#[derive(Clone, Debug)]
pub enum State {
    /// The first attempt is under way.
    Starting,
    /// Connected and bound.
    Connected(Arc<Session>),
    /// No server can be used.
    Away {
        /// Since when.
        since: UnixTime,
        /// Why the last attempt failed.
        error: LdapError,
    },
}

/// One connection, from bind to end.
#[derive(Clone, Debug)]
pub struct Session {
    /// Counts the connections of this client, from 1.
    pub number: u64,
    /// The server.
    pub server: Server,
    /// When it was bound.
    pub since: UnixTime,
    /// What the server says of itself.
    pub root: Root,
}

/// Asks a directory. Clones ask through the same connection; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    queries: Arc<AtomicU64>,
    settings: Arc<LdapSettings>,
}

/// One message to send, and who waits for the answer.
#[derive(Debug)]
struct Command {
    request: Request,
    /// Only on this connection: a page's cookie means nothing to another.
    session: Option<u64>,
    limit: usize,
    reply: oneshot::Sender<Result<Answer, LdapError>>,
}

#[derive(Debug)]
struct Answer {
    session: u64,
    outcome: Outcome,
    entries: Vec<Entry>,
    cookie: Vec<u8>,
}

impl Client {
    /// Starts the task. To be called inside a Tokio runtime.
    #[must_use]
    pub fn start(settings: LdapSettings, clock: Arc<dyn Clock>) -> Self {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let (publisher, state) = watch::channel(State::Starting);
        let settings = Arc::new(settings);
        let task = Task {
            settings: Arc::clone(&settings),
            clock,
            commands: receiver,
            state: publisher,
            number: 0,
            left: None,
        };
        tokio::spawn(task.run());
        Self { commands, state, queries: Arc::new(AtomicU64::new(0)), settings }
    }

    /// The settings it was started with.
    #[must_use]
    pub fn settings(&self) -> &LdapSettings {
        &self.settings
    }

    /// Whether a domain controller is there.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The same, to wait for changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// How many questions and changes this handle and its plain clones have sent, pages counted one by one.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// The same connection with a counter of its own.
    #[must_use]
    pub fn counted_apart(&self) -> Self {
        Self { queries: Arc::default(), ..self.clone() }
    }

    /// The connection; waits for the first attempt, not longer than for an answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn session(&self) -> Result<Arc<Session>, LdapError> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| !matches!(state, State::Starting));
        let ready = tokio::time::timeout(self.settings.answer_timeout, ready).await;
        match ready.map(|result| result.map(|state| state.clone())) {
            Ok(Ok(State::Connected(session))) => Ok(session),
            Ok(Ok(State::Away { error, .. })) => Err(error),
            Ok(Ok(State::Starting) | Err(_)) | Err(_) => Err(self.nobody()),
        }
    }

    /// All entries that the search finds, page by page.
    ///
    /// # Errors
    /// [`LdapError`]; [`LdapError::TooLarge`] if there are more than the search allows. A search that loses its
    /// connection is asked once more.
    pub async fn search(&self, search: Search) -> Result<Vec<Entry>, LdapError> {
        let mut again = true;
        loop {
            let pages = tokio::time::timeout(self.settings.answer_timeout * MAX_WAITS, self.pages(&search));
            let result = pages.await.unwrap_or_else(|_elapsed| {
                Err(LdapError::TimedOut {
                    server: self.settings.domain.clone(),
                    seconds: (self.settings.answer_timeout * MAX_WAITS).as_secs(),
                })
            });
            match result {
                Err(error) if again && !error.is_answer() && !matches!(error, LdapError::TooLarge { .. }) => {
                    tracing::debug!(%error, "search is asked once more");
                    again = false;
                    self.session().await?;
                }
                result => return result,
            }
        }
    }

    /// The object of a search with [`Scope::Base`]; `None` if there is none of that name or none that may be seen.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn object(&self, search: Search) -> Result<Option<Entry>, LdapError> {
        match self.search(search).await {
            Ok(entries) => Ok(entries.into_iter().next()),
            Err(error) if error.is_no_such_object() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn add(&self, dn: String, attributes: Vec<Attribute>) -> Result<(), LdapError> {
        self.change(Request::Add { dn, attributes }).await
    }

    /// Changes an object.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn modify(&self, dn: String, changes: Vec<(Operation, Attribute)>) -> Result<(), LdapError> {
        self.change(Request::Modify { dn, changes }).await
    }

    /// Deletes an object that has no children.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn delete(&self, dn: String) -> Result<(), LdapError> {
        self.change(Request::Delete { dn }).await
    }

    async fn change(&self, request: Request) -> Result<(), LdapError> {
        let answer = self.ask(request, None, 0).await?;
        if answer.outcome.code == ResultCode::SUCCESS {
            Ok(())
        } else {
            Err(LdapError::from_outcome(answer.outcome))
        }
    }

    async fn pages(&self, search: &Search) -> Result<Vec<Entry>, LdapError> {
        let paged = search.scope != Scope::Base;
        let (mut cookie, mut session) = (Vec::new(), None);
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let page = paged.then_some(Page { size: PAGE, cookie });
            let request = Request::Search { search: search.clone(), page };
            let left = search.limit.saturating_sub(entries.len());
            let answer = self.ask(request, session, left).await?;
            if answer.outcome.code != ResultCode::SUCCESS {
                return Err(LdapError::from_outcome(answer.outcome));
            }
            entries.extend(answer.entries);
            if answer.cookie.is_empty() {
                return Ok(entries);
            }
            (cookie, session) = (answer.cookie, Some(answer.session));
        }
    }

    async fn ask(&self, request: Request, session: Option<u64>, limit: usize) -> Result<Answer, LdapError> {
        if let State::Away { error, .. } = &*self.state.borrow() {
            return Err(error.clone());
        }
        self.queries.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let command = Command { request, session, limit, reply };
        // The task watches the answers; this covers the time before the question is sent.
        let patience = self.settings.connect_timeout + self.settings.answer_timeout;
        let asked = async {
            self.commands.send(command).await.map_err(|_| self.nobody())?;
            answer.await.map_err(|_| self.nobody())?
        };
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_elapsed| Err(self.nobody()))
    }

    /// The task is gone or has not come to us in time.
    fn nobody(&self) -> LdapError {
        match &*self.state.borrow() {
            State::Away { error, .. } => error.clone(),
            State::Starting | State::Connected(_) => LdapError::TimedOut {
                server: self.settings.domain.clone(),
                seconds: self.settings.answer_timeout.as_secs(),
            },
        }
    }
}

/// Connects to one server, binds, asks what it is, and leaves.
///
/// # Errors
/// [`LdapError`].
pub async fn probe(settings: &LdapSettings, server: &Server) -> Result<Root, LdapError> {
    let (mut connection, root) = open(settings, server).await?;
    let _best_effort = connection.wire.send(connection.next, &Request::Unbind).await;
    Ok(root)
}

async fn open(settings: &LdapSettings, server: &Server) -> Result<(Connection, Root), LdapError> {
    let mut connection = Connection::open(settings, server).await?;
    let root = tokio::time::timeout(settings.answer_timeout, Root::read(&mut connection, settings)).await;
    let root = root.unwrap_or_else(|_elapsed| {
        Err(LdapError::TimedOut { server: server.to_string(), seconds: settings.answer_timeout.as_secs() })
    })?;
    Ok((connection, root))
}

struct Task {
    settings: Arc<LdapSettings>,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Command>,
    state: watch::Sender<State>,
    number: u64,
    /// The server whose connection failed last.
    left: Option<Server>,
}

/// A question that has been sent.
struct Pending {
    reply: oneshot::Sender<Result<Answer, LdapError>>,
    entries: Vec<Entry>,
    octets: usize,
    limit: usize,
    /// The limit that was passed, if one was.
    overflow: Option<(usize, &'static str)>,
    due: Instant,
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0_usize;
        loop {
            let error = match self.connect().await {
                Ok((connection, session)) => {
                    failures = 0;
                    tracing::info!(server = %session.server, domain = %self.settings.domain, "directory connected");
                    let session = Arc::new(session);
                    self.state.send_replace(State::Connected(Arc::clone(&session)));
                    match self.serve(connection, &session).await {
                        None => return,
                        Some(error) => {
                            // The next attempt is immediate: usually the server was restarted, or another is there.
                            tracing::warn!(%error, "directory connection lost");
                            self.left = Some(session.server.clone());
                            continue;
                        }
                    }
                }
                Err(error) => error,
            };
            tracing::warn!(%error, domain = %self.settings.domain, "directory away");
            let since = match &*self.state.borrow() {
                State::Away { since, .. } => *since,
                State::Starting | State::Connected(_) => self.clock.now(),
            };
            self.state.send_replace(State::Away { since, error: error.clone() });
            let pause = PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default();
            failures += 1;
            if !self.turn_away(pause, &error).await {
                return;
            }
        }
    }

    /// The first server that takes us; the error is that of the last one.
    async fn connect(&mut self) -> Result<(Connection, Session), LdapError> {
        let mut servers = servers(&self.settings).await?;
        // Whoever failed last comes last, also if only some of its answers are wrong.
        servers.sort_by_key(|server| Some(server) == self.left.as_ref());
        let mut last = LdapError::NoServer("none is configured".to_owned());
        for server in servers {
            match self.connect_to(&server).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(%server, %error, "directory server not usable");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn connect_to(&mut self, server: &Server) -> Result<(Connection, Session), LdapError> {
        let (connection, root) = open(&self.settings, server).await?;
        self.number += 1;
        let session = Session { number: self.number, server: server.clone(), since: self.clock.now(), root };
        Ok((connection, session))
    }

    /// Answers everybody with `error` for a while; false if nobody is left who could ask.
    async fn turn_away(&mut self, pause: Duration, error: &LdapError) -> bool {
        let end = Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(end, self.commands.recv()).await {
                Err(_elapsed) => return true,
                Ok(None) => return false,
                Ok(Some(command)) => {
                    let _gone = command.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Serves until the connection fails; `None` if nobody is left who could ask.
    async fn serve(&mut self, connection: Connection, session: &Session) -> Option<LdapError> {
        let Connection { mut wire, mut next } = connection;
        let mut pending: HashMap<i32, Pending> = HashMap::new();
        let error = loop {
            // Answers come roughly in order, so that the oldest question is as good as any.
            let due = pending.values().map(|question| question.due).min();
            let alarm =
                tokio::time::sleep_until(due.unwrap_or_else(|| Instant::now() + Duration::from_hours(1)));
            tokio::select! {
                message = wire.receive() => {
                    let result = message.and_then(|message| settle(&wire, &mut pending, message, session.number));
                    if let Err(error) = result {
                        break error;
                    }
                }
                command = self.commands.recv(), if pending.len() < QUEUE => {
                    let Some(command) = command else {
                        let _best_effort = wire.send(next, &Request::Unbind).await;
                        return None;
                    };
                    if command.session.is_some_and(|wanted| wanted != session.number) {
                        let _gone = command.reply.send(Err(closed(&wire)));
                        continue;
                    }
                    let due = Instant::now() + self.settings.answer_timeout;
                    let question = Pending { reply: command.reply, entries: Vec::new(), octets: 0, limit: command.limit, overflow: None, due };
                    pending.insert(next, question);
                    let sent = tokio::time::timeout_at(due, wire.send(next, &command.request)).await;
                    next = if next == i32::MAX { 1 } else { next + 1 };
                    match sent {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => break error,
                        Err(_elapsed) => break self.slow(&wire),
                    }
                }
                () = alarm, if due.is_some() => break self.slow(&wire),
            }
        };
        // Before the answers: whoever asks again waits for the next connection.
        self.state.send_replace(State::Starting);
        for (_, question) in pending {
            let _gone = question.reply.send(Err(error.clone()));
        }
        Some(error)
    }

    fn slow(&self, wire: &Wire) -> LdapError {
        LdapError::TimedOut {
            server: wire.server().to_owned(),
            seconds: self.settings.answer_timeout.as_secs(),
        }
    }
}

fn closed(wire: &Wire) -> LdapError {
    LdapError::Closed { server: wire.server().to_owned() }
}

/// Gives a message to the question that it belongs to. An error ends the connection.
fn settle(
    wire: &Wire,
    pending: &mut HashMap<i32, Pending>,
    message: Message,
    session: u64,
) -> Result<(), LdapError> {
    let server = || wire.server().to_owned();
    let out_of_place = || LdapError::OutOfPlace { server: server() };
    let Message { id, response } = message;
    if id == 0 {
        // Unsolicited (RFC 4511 4.4): the notice of disconnection is the only one that is known.
        return match response {
            Response::Extended { outcome, .. } => Err(LdapError::Disconnected { server: server(), outcome }),
            Response::Bind { .. }
            | Response::Entry(_)
            | Response::Reference(_)
            | Response::Done { .. }
            | Response::Changed(_) => Err(out_of_place()),
        };
    }
    let (outcome, cookie) = match response {
        Response::Entry(entry) => {
            let question = pending.get_mut(&id).ok_or_else(out_of_place)?;
            question.octets += entry.size();
            // What still comes for it until its time is up is read and thrown away; the others keep the connection.
            if question.octets > MAX_COLLECTED {
                question.overflow = Some((MAX_COLLECTED, "octets"));
            } else if question.entries.len() >= question.limit {
                question.overflow = Some((question.limit, "entries"));
            } else {
                question.entries.push(entry);
            }
            return Ok(());
        }
        Response::Reference(references) => {
            tracing::debug!(?references, "search reference not followed");
            return pending.contains_key(&id).then_some(()).ok_or_else(out_of_place);
        }
        Response::Done { outcome, cookie } => (outcome, cookie),
        Response::Changed(outcome) => (outcome, Vec::new()),
        Response::Bind { .. } | Response::Extended { .. } => return Err(out_of_place()),
    };
    let question = pending.remove(&id).ok_or_else(out_of_place)?;
    let answer = match question.overflow {
        None => Ok(Answer { session, outcome, entries: question.entries, cookie }),
        Some((limit, unit)) => Err(LdapError::TooLarge { server: server(), limit, unit }),
    };
    let _gone = question.reply.send(answer);
    Ok(())
}
