//! The one thread that writes, and how it turns many waiting writes into one commit.
//!
//! A commit costs one synchronization of the disk however much it holds. So the thread takes every job that waits
//! (at most 512), runs them in one transaction, commits, and only then answers them all. Jobs are closures
//! that may run more than once:
//!
//! * First all of them run one after the other. A job that fails before it changed anything (most do: they look
//!   first) just gets its error.
//! * If a job fails after it changed something, the transaction is rolled back and all run again, each inside a
//!   savepoint, so that the failure undoes that job alone. Savepoints copy every page that two jobs touch, which is
//!   why they are not used at first.
//! * If SQLite itself gives up the transaction (disk full, damaged page), or the commit fails, nothing of the group
//!   is there and every job gets that error.
//!
//! Waiting for company makes commits fewer, but is time lost when nobody comes. The thread waits only while more
//! writes were announced than are in the group, and not for long: see [`super::queue`].
//!
//! Fail-stop: if a job panics, the thread ends. Its end drops the transaction, which rolls back, and every waiting
//! answer, which ends the waits; from then on every call of the store fails with [`StoreError::Stopped`].

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::audit::Head;
use super::hot::{Prepared, Run};
use super::queue::Queue;
use super::recent::{Change, Recent};
use super::watch::Watch;
use crate::error::StoreError;
use crate::{FaultHook, FaultPoint};

/// What a job sees: the open transaction, the end of the audit chain in it, and what is kept in memory beside it.
pub(crate) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) hot: &'c dyn Run,
    pub(super) head: Cell<Head>,
    /// The counters that [`super::instance::generations_in`] has read, until one of them is raised.
    pub(super) generations: Cell<Option<(u64, u64)>>,
    /// Whether one of them was raised.
    pub(super) raised: Cell<bool>,
    pub(super) recent: &'c Recent,
    pub(super) watch: &'c Watch,
    /// What becomes of the recent requests if the transaction is committed.
    pub(super) changes: RefCell<Vec<Change>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, hot: &'c dyn Run, head: Head, kept: &'c Kept) -> Self {
        Self {
            conn,
            hot,
            head: Cell::new(head),
            generations: Cell::new(None),
            raised: Cell::new(false),
            recent: &kept.recent,
            watch: &kept.watch,
            changes: RefCell::default(),
        }
    }

    fn mark(&self) -> Mark {
        Mark { head: self.head.get(), changes: self.changes.borrow().len() }
    }

    /// Takes back what was noted since the mark.
    fn back_to(&self, mark: &Mark) {
        self.head.set(mark.head);
        self.generations.set(None);
        self.changes.borrow_mut().truncate(mark.changes);
    }
}

/// A point inside a transaction.
struct Mark {
    head: Head,
    changes: usize,
}

/// One write: runs in the thread, perhaps twice, and is answered after the commit.
pub(crate) trait Job: Send {
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Write<T, F> {
    work: F,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.value = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, answer, .. } = *self;
        // Nobody waits any more if the caller was cancelled; the write took place all the same.
        drop(answer.send(outcome.and_then(|()| value.ok_or(StoreError::Stopped))));
    }
}

/// What of the database is kept in memory and has to follow what is committed.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) recent: Recent,
    pub(super) watch: Arc<Watch>,
}

/// The handle of the thread.
pub(crate) struct Writer {
    queue: Arc<Queue<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn start(
        conn: Connection,
        queue: Arc<Queue<Box<dyn Job>>>,
        kept: Kept,
        faults: Option<FaultHook>,
    ) -> Result<Self, StoreError> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (end, jobs) = (Arc::clone(&stopped), Arc::clone(&queue));
        let runtime = tokio::runtime::Handle::try_current().ok();
        let thread = std::thread::Builder::new()
            .name("muster-store".to_owned())
            .spawn(move || {
                let _end = StopAtEnd { stopped: &end, queue: &jobs };
                Loop { conn, queue: &jobs, kept, faults, stopped: &end, runtime }.run();
            })
            .map_err(|e| StoreError::Other(format!("no thread for the writer: {e}")))?;
        Ok(Self { queue, thread: Some(thread), stopped })
    }

    /// Whether the thread has ended.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Queues `work` and waits until it is committed. Dropping the future does not undo the write.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.enqueue(work)?.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Queues `work` without waiting.
    pub(super) fn enqueue<T, F>(
        &self,
        work: F,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        if self.is_stopped() {
            return Err(StoreError::Stopped);
        }
        let (answer, waiting) = oneshot::channel();
        let job = Box::new(Write { work, value: None, answer });
        self.queue.push(job).map_err(|_| StoreError::Stopped)?;
        Ok(waiting)
    }
}

impl Drop for Writer {
    /// Lets the thread finish what is queued, then waits for it, so that the database is closed afterwards.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            drop(thread.join());
        }
    }
}

/// However the thread ends: nothing more is taken in, and those who wait learn of it.
struct StopAtEnd<'a> {
    stopped: &'a AtomicBool,
    queue: &'a Queue<Box<dyn Job>>,
}

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.queue.close_and_clear());
    }
}

struct RaiseAtEnd<'a>(&'a AtomicBool);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One job of a group and what became of it.
struct Slot {
    job: Box<dyn Job>,
    outcome: Result<(), StoreError>,
}

/// Why a group is not committed.
enum NotCommitted {
    /// A job failed halfway; run all again with savepoints.
    Halfway,
    /// Nothing can be done for any of them.
    Lost(StoreError),
}

struct Loop<'a> {
    conn: Connection,
    queue: &'a Queue<Box<dyn Job>>,
    kept: Kept,
    faults: Option<FaultHook>,
    stopped: &'a AtomicBool,
    runtime: Option<tokio::runtime::Handle>,
}

impl Loop<'_> {
    fn run(self) {
        let hot = Prepared::new(&self.conn);
        while let Some(jobs) = self.queue.group() {
            let mut group: Vec<Slot> = jobs.into_iter().map(|job| Slot { job, outcome: Ok(()) }).collect();
            // Made after the group, so that after a panic the flag is up before anybody learns of it.
            let panic = RaiseAtEnd(self.stopped);
            let mut result = self.attempt(&hot, &mut group, false);
            if matches!(result, Err(NotCommitted::Halfway)) {
                result = self.attempt(&hot, &mut group, true);
            }
            std::mem::forget(panic);
            let lost = match result {
                Ok(()) => None,
                Err(NotCommitted::Lost(error)) => Some(error),
                // Cannot be: with savepoints a failing job is undone alone.
                Err(NotCommitted::Halfway) => Some(StoreError::Stopped),
            };
            if let Some(error) = &lost {
                tracing::error!(jobs = group.len(), %error, "a group of writes was not committed");
            }
            self.answer(group, lost);
        }
    }

    /// Answers the group. One task of the runtime does it: each answer wakes a task of its own, which is cheap from
    /// within the runtime and from outside takes a lock that its threads want as well.
    fn answer(&self, group: Vec<Slot>, lost: Option<StoreError>) {
        let answer = move || {
            for Slot { job, outcome } in group {
                job.answer(lost.clone().map_or(outcome, Err));
            }
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { answer() })),
            None => answer(),
        }
    }

    /// Runs the group in one transaction.
    fn attempt(&self, hot: &dyn Run, group: &mut [Slot], savepoints: bool) -> Result<(), NotCommitted> {
        let result = self.transact(hot, group, savepoints);
        if result.is_err() && !self.conn.is_autocommit() {
            // If this fails too, the next BEGIN says so.
            drop(self.execute("ROLLBACK"));
        }
        result
    }

    fn transact(&self, hot: &dyn Run, group: &mut [Slot], savepoints: bool) -> Result<(), NotCommitted> {
        let lost = NotCommitted::Lost;
        self.fault(FaultPoint::Begin).map_err(lost)?;
        self.execute("BEGIN IMMEDIATE").map_err(lost)?;
        let begin = Head::read(&self.conn).map_err(lost)?;
        self.kept.recent.catch_up(&self.conn, begin).map_err(lost)?;
        let tx = Tx::new(&self.conn, hot, begin, &self.kept);
        for slot in group {
            let changes = self.conn.total_changes();
            let mark = tx.mark();
            if savepoints {
                self.execute("SAVEPOINT job").map_err(lost)?;
            }
            slot.outcome = slot.job.run(&tx).and_then(|()| self.fault(FaultPoint::Job));
            match &slot.outcome {
                Err(error) if self.conn.is_autocommit() => return Err(lost(error.clone())),
                Ok(()) | Err(_) => {}
            }
            let undo = slot.outcome.is_err() && self.conn.total_changes() != changes;
            if undo && !savepoints {
                return Err(NotCommitted::Halfway);
            }
            if undo {
                self.execute("ROLLBACK TO job").map_err(lost)?;
            }
            if slot.outcome.is_err() {
                tx.back_to(&mark);
            }
            if savepoints {
                self.execute("RELEASE job").map_err(lost)?;
            }
        }
        tx.head.get().write_unless(begin, &self.conn).map_err(lost)?;
        self.fault(FaultPoint::Commit).map_err(lost)?;
        self.execute("COMMIT").map_err(lost)?;
        if tx.raised.get() {
            tx.watch.forget();
        }
        self.kept.recent.committed(begin, tx.head.get(), tx.changes.take());
        self.fault(FaultPoint::Answer).map_err(lost)
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn fault(&self, point: FaultPoint) -> Result<(), StoreError> {
        self.faults.as_ref().map_or(Ok(()), |hook| hook(point))
    }
}
