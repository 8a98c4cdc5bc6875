//! SQLite: one connection that writes, in a thread of its own, and a few that read.
//!
//! Reads run on the thread that asks. They take microseconds (a look-up by primary key in pages that are mostly in
//! memory), less than handing them to another thread would; only listings and verifications, which may read a whole
//! table, go to the blocking threads of the runtime.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod certificates;
mod convert;
pub(crate) mod crl;
mod der;
pub(crate) mod fill;
pub(crate) mod forwarding;
mod hot;
pub(crate) mod instance;
pub(crate) mod issuance;
pub(crate) mod lines;
mod node;
mod queue;
pub(crate) mod recent;
pub(crate) mod requests;
mod schema;
pub(crate) mod templates;
pub(crate) mod tokens;
mod watch;
mod writer;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_core::audit::{Action, Actor, Event};
use muster_core::{RequestId, UnixTime};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use self::hot::Prepared;
use self::node::Node;
use self::queue::Queue;
use self::recent::Recent;
use self::watch::Watch;
use self::writer::{Job, Kept, Tx, Writer};
use crate::Options;
use crate::error::StoreError;

pub use self::schema::MIGRATIONS;

/// Read connections kept open; more are opened when more threads read at once, and closed afterwards.
const READERS: usize = 8;
/// Request ids taken from the counter at once. At most so many numbers are lost when a process ends.
const ID_BLOCK: u32 = 256;
/// A new block is fetched when fewer are left: enough for what arrives during one commit.
const ID_LOW: u32 = 128;
/// Blocked keys kept in memory at most; more are looked up one by one.
const BLOCKED: usize = 10_000;
/// Statements that a connection keeps compiled.
const STATEMENTS: usize = 64;

/// The backend.
pub(crate) struct Sqlite {
    path: PathBuf,
    node: Node,
    writer: Option<Writer>,
    readers: Mutex<Vec<Connection>>,
    ids: tokio::sync::Mutex<Ids>,
    watch: Arc<Watch>,
    blocked: Mutex<Blocked>,
    queue: Arc<Queue<Box<dyn Job>>>,
    recent: Recent,
    duplicate_window: i64,
    pending_per_account: u32,
}

/// Reserved request ids, and the next block where it is being fetched.
#[derive(Default)]
struct Ids {
    next: u32,
    end: u32,
    coming: Option<tokio::sync::oneshot::Receiver<Result<u32, StoreError>>>,
}

/// The blocked keys, as they were when the counter `configuration` had this value; none if they are too many.
#[derive(Default)]
struct Blocked {
    generation: u64,
    keys: Option<HashSet<[u8; 32]>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, options: &Options, now: UnixTime) -> Result<Self, StoreError> {
        if !path.exists() {
            if !options.create {
                return Err(StoreError::Missing(path.display().to_string()));
            }
            create_private(path)?;
        }
        let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options.busy_timeout)?;
        schema::check(&conn)?;
        let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Other(format!(
                "no write-ahead log on this file system (journal mode {mode}); use a local disk"
            )));
        }
        // In WAL mode anything less than FULL loses the last commits when the power fails.
        conn.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 8000;
             PRAGMA journal_size_limit = 67108864;",
        )?;
        let synchronous: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        if synchronous != 2 {
            return Err(StoreError::Other(format!("synchronous is {synchronous} and cannot be set to FULL")));
        }
        let node = Node::register(path)?;
        schema::migrate(&mut conn, MIGRATIONS, || node.others_live())?;
        if let Some(pages) = options.max_pages {
            conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        initialize(&mut conn, now)?;
        let (queue, recent, watch) = (Arc::default(), Recent::default(), Arc::<Watch>::default());
        let kept = Kept { recent: recent.clone(), watch: Arc::clone(&watch) };
        let writer = Writer::start(conn, Arc::clone(&queue), kept, options.faults.clone())?;
        let store = Self {
            path: path.to_owned(),
            node,
            writer: Some(writer),
            readers: Mutex::default(),
            ids: tokio::sync::Mutex::default(),
            watch,
            blocked: Mutex::default(),
            queue,
            recent,
            duplicate_window: options.duplicate_window,
            pending_per_account: options.pending_per_account,
        };
        Ok(store)
    }

    pub(crate) fn open_read_only(path: &Path, options: &Options) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.display().to_string()));
        }
        let conn = reader(path)?;
        schema::check_current(&conn)?;
        Ok(Self {
            path: path.to_owned(),
            node: Node::reader(path),
            writer: None,
            readers: Mutex::new(vec![conn]),
            ids: tokio::sync::Mutex::default(),
            watch: Arc::default(),
            blocked: Mutex::default(),
            queue: Arc::default(),
            recent: Recent::default(),
            duplicate_window: options.duplicate_window,
            pending_per_account: options.pending_per_account,
        })
    }

    /// Runs `work` in the writer's transaction; it may run more than once.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer()?.write(work).await
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        let writer = self.writer.as_ref().ok_or(StoreError::ReadOnly)?;
        if writer.is_stopped() { Err(StoreError::Stopped) } else { Ok(writer) }
    }

    /// Runs `work` here and now on a read connection.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.writer.as_ref().is_some_and(Writer::is_stopped) {
            return Err(StoreError::Stopped);
        }
        let kept = lock(&self.readers).pop();
        let conn = match kept {
            Some(conn) => conn,
            None => reader(&self.path)?,
        };
        let result = work(&conn);
        let mut kept = lock(&self.readers);
        if kept.len() < READERS {
            kept.push(conn);
        }
        result
    }

    /// Runs `work`, which may take long, on a thread for such things.
    pub(crate) async fn read_long<T, F>(self: &Arc<Self>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || this.read(work));
        task.await.unwrap_or(Err(StoreError::Stopped))
    }

    pub(crate) const fn queue(&self) -> &Arc<Queue<Box<dyn Job>>> {
        &self.queue
    }

    /// The recent requests, to be brought up to date by the next write.
    pub(crate) fn recent(&self) -> &Recent {
        self.recent.want();
        &self.recent
    }

    pub(crate) fn node_name(&self) -> String {
        self.node.name().to_owned()
    }

    /// Names of the nodes among `candidates` whose process has ended.
    pub(crate) fn ended_nodes(&self, candidates: Vec<String>) -> Result<Vec<String>, StoreError> {
        self.node.ended(candidates)
    }

    pub(crate) const fn duplicate_window(&self) -> i64 {
        self.duplicate_window
    }

    pub(crate) const fn pending_per_account(&self) -> u32 {
        self.pending_per_account
    }

    pub(crate) async fn reserve_request_id(&self) -> Result<RequestId, StoreError> {
        let writer = self.writer()?;
        let mut ids = self.ids.lock().await;
        loop {
            if ids.end - ids.next < ID_LOW && ids.coming.is_none() {
                ids.coming = Some(writer.enqueue(instance::reserve_ids(ID_BLOCK))?);
            }
            if ids.next < ids.end {
                let id = RequestId::new(ids.next);
                ids.next += 1;
                return id.ok_or_else(|| StoreError::unreadable("counter of request ids"));
            }
            // Taken only after it has arrived, so that a caller who gives up here does not lose the block.
            let Some(coming) = ids.coming.as_mut() else { return Err(StoreError::Stopped) };
            let block = coming.await.unwrap_or(Err(StoreError::Stopped));
            ids.coming = None;
            ids.next = block?;
            ids.end = ids.next.saturating_add(ID_BLOCK);
        }
    }

    /// The counters `configuration` and `revocations`.
    pub(crate) fn generations(&self) -> Result<(u64, u64), StoreError> {
        if self.writer.as_ref().is_some_and(Writer::is_stopped) {
            return Err(StoreError::Stopped);
        }
        self.watch.counters(&self.path)
    }
}

impl Sqlite {
    pub(crate) fn is_key_blocked(&self, spki: &[u8], generation: u64) -> Result<bool, StoreError> {
        let mut blocked = lock(&self.blocked);
        if blocked.generation < generation {
            // Read after the counter was, so it is at least as new.
            blocked.keys = self.read(|conn| certificates::blocked_keys(conn, BLOCKED))?;
            blocked.generation = generation;
        }
        match &blocked.keys {
            // Mostly there is none, and nothing to be hashed.
            Some(keys) => Ok(!keys.is_empty() && keys.contains(&lines::key_of(spki))),
            None => self.read(|conn| certificates::is_key_blocked(conn, lines::key_of(spki))),
        }
    }
}

/// A lock is only ever held over code that leaves its value whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an empty file that only its owner may read: SQLite gives the same mode to the files beside it.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(StoreError::Other(format!("{} cannot be created: {e}", path.display()))),
    }
}

fn connect(path: &Path, flags: OpenFlags, busy_timeout: Duration) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise a statement is compiled again for each new value of a parameter that a partial index could be chosen by.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")?;
    Ok(conn)
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    // Not SQLITE_OPEN_READ_ONLY: the first to open a database after a crash has to recover its log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let conn = connect(path, flags, Duration::from_secs(5))?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -2048;")?;
    Ok(conn)
}

/// The first audit record, so that a chain that begins otherwise is known to be cut.
fn initialize(conn: &mut Connection, now: UnixTime) -> Result<(), StoreError> {
    if !audit::Head::read(conn)?.is_start() {
        return Ok(());
    }
    let transaction = Transaction::new(conn, TransactionBehavior::Immediate)?;
    let begin = audit::Head::read(&transaction)?;
    // Again under the lock: another process may have been faster.
    if !begin.is_start() {
        return Ok(());
    }
    append_first(&transaction, begin, now)?;
    transaction.commit()?;
    Ok(())
}

fn append_first(conn: &Connection, begin: audit::Head, now: UnixTime) -> Result<(), StoreError> {
    let (hot, kept) = (Prepared::new(conn), Kept::default());
    let tx = Tx::new(conn, &hot, begin, &kept);
    tx.audit(&Event::new(now, Actor::Service, Action::Initialize))?;
    tx.head.get().write_unless(begin, conn)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn statements_are_compiled_once_whatever_their_parameters_are() {
        let directory = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = connect(&directory.path().join("test.sqlite"), flags, Duration::ZERO).unwrap();
        conn.execute_batch(
            "CREATE TABLE requests (id INTEGER PRIMARY KEY, owner TEXT, state TEXT) STRICT;
             CREATE INDEX waiting ON requests (owner) WHERE state = 'pending';",
        )
        .unwrap();
        let mut statement =
            conn.prepare_cached("SELECT id FROM requests WHERE owner = ?1 AND state = ?2").unwrap();
        for (owner, state) in [("a", "pending"), ("b", "issued"), ("c", "pending")] {
            assert!(!statement.exists([owner, state]).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
