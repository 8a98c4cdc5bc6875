//! The queue in front of the writer's thread, and when the thread is woken.
//!
//! Waking a thread costs more than most writes do, so it is woken as seldom as possible: by the first write that
//! finds it idle, and, while it waits for company, by the one that completes the company. The others only lay down
//! what they bring.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lock;

/// Most jobs in one transaction. Bounds the memory and the time for which others wait for the lock.
const GROUP: usize = 512;
/// Longest wait for company.
const COMPANY: Duration = Duration::from_millis(3);
/// Longest wait for the next one of the company.
const GAP: Duration = Duration::from_micros(500);

/// Jobs that wait for the writer, and how many more are known to be on their way.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    bell: Condvar,
    announced: AtomicUsize,
}

struct State<J> {
    jobs: Vec<J>,
    waiting: Waiting,
    closed: bool,
}

/// What the thread is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    First,
    Company,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        let state = State { jobs: Vec::new(), waiting: Waiting::Nothing, closed: false };
        Self { state: Mutex::new(state), bell: Condvar::new(), announced: AtomicUsize::new(0) }
    }
}

impl<J> Queue<J> {
    /// Says that one more write is on its way.
    pub(crate) fn raise(&self) {
        self.announced.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes an announcement back: its writes were made, or will not come.
    pub(crate) fn lower(&self) {
        self.announced.fetch_sub(1, Ordering::Relaxed);
        self.ring(lock(&self.state));
    }

    /// Adds a job. Gives it back if the queue is closed.
    pub(super) fn push(&self, job: J) -> Result<(), J> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(job);
        }
        state.jobs.push(job);
        self.ring(state);
        Ok(())
    }

    /// No more jobs are taken in.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.bell.notify_all();
    }

    /// Closes the queue and hands out what is left in it.
    pub(super) fn close_and_clear(&self) -> Vec<J> {
        let mut state = lock(&self.state);
        state.closed = true;
        std::mem::take(&mut state.jobs)
    }

    /// Wakes the thread if what it waits for is there.
    fn ring(&self, mut state: MutexGuard<'_, State<J>>) {
        let due = match state.waiting {
            Waiting::Nothing => false,
            Waiting::First => !state.jobs.is_empty(),
            Waiting::Company => state.jobs.len() >= self.company(),
        };
        if due {
            state.waiting = Waiting::Nothing;
            drop(state);
            self.bell.notify_one();
        }
    }

    /// How many jobs make a group complete.
    fn company(&self) -> usize {
        self.announced.load(Ordering::Relaxed).min(GROUP)
    }

    /// Waits for the next group. `None` once the queue is closed and empty.
    pub(super) fn group(&self) -> Option<Vec<J>> {
        let mut state = lock(&self.state);
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting = Waiting::First;
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state = self.wait_for_company(state);
        state.waiting = Waiting::Nothing;
        if state.jobs.len() <= GROUP {
            let room = Vec::with_capacity(state.jobs.len());
            return Some(std::mem::replace(&mut state.jobs, room));
        }
        Some(state.jobs.drain(..GROUP).collect())
    }

    fn wait_for_company<'a>(&self, mut state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        if state.jobs.len() >= self.company() {
            return state;
        }
        let end = Instant::now() + COMPANY;
        loop {
            let before = state.jobs.len();
            let left = end.saturating_duration_since(Instant::now()).min(GAP);
            if left.is_zero() {
                return state;
            }
            state.waiting = Waiting::Company;
            let (next, timeout) = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = next;
            let come = state.jobs.len();
            if come >= self.company() || state.closed || (timeout.timed_out() && come == before) {
                return state;
            }
        }
    }
}
