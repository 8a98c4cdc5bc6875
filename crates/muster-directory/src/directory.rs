//! One Active Directory domain, as the rest of the program asks it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_core::time::Clock;

use crate::cache::Cache;
use crate::ldap::{Client, LdapSettings, State};
use crate::live::Live;
use crate::watch;

/// How a directory is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// How it is reached.
    pub ldap: LdapSettings,
    /// Most accounts that are kept in memory.
    pub accounts: usize,
    /// How long an account that was read is used while the directory is away.
    pub away: Duration,
    /// How often the directory is asked whether anything changed.
    pub poll: Duration,
    /// Templates and CAs are read at least this often.
    pub refresh: Duration,
    /// Where the templates and CAs that were read last are kept, for a start without the directory.
    pub state_file: Option<PathBuf>,
}

impl DirectorySettings {
    /// 10,000 accounts, 60 s without the directory, a question each second, templates once a minute.
    #[must_use]
    pub const fn new(ldap: LdapSettings) -> Self {
        Self {
            ldap,
            accounts: 10_000,
            away: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            refresh: Duration::from_mins(1),
            state_file: None,
        }
    }
}

/// A domain: its accounts, its templates and CAs, and the way to publish in it.
pub struct Directory {
    settings: DirectorySettings,
    accounts: Client,
    other: Client,
    cache: Mutex<Cache>,
    live: Live,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({}, {:?})", self.settings.ldap.domain, self.state())
    }
}

/// How much a directory has been asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queries {
    /// For accounts, on behalf of callers.
    pub accounts: u64,
    /// For everything else: changes, templates, publishing.
    pub other: u64,
}

impl Directory {
    /// Connects and keeps watch, in tasks that end with the last reference. To be called inside a Tokio runtime.
    #[must_use]
    pub fn start(settings: DirectorySettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        let accounts = Client::start(settings.ldap.clone(), Arc::clone(&clock));
        let directory = Arc::new(Self {
            other: accounts.counted_apart(),
            accounts,
            cache: Mutex::new(Cache::new(settings.accounts, settings.away)),
            live: Live::start(&settings),
            settings,
            clock,
        });
        tokio::spawn(watch::run(Arc::downgrade(&directory)));
        directory
    }

    /// The settings it was started with.
    #[must_use]
    pub const fn settings(&self) -> &DirectorySettings {
        &self.settings
    }

    /// Whether a domain controller is there, which one, since when; or why not.
    #[must_use]
    pub fn state(&self) -> State {
        self.accounts.state()
    }

    /// The domain's short name, `CORP`; `None` until the directory has told it.
    #[must_use]
    pub fn netbios_name(&self) -> Option<String> {
        match self.state() {
            State::Connected(session) => session.root.netbios.clone(),
            State::Starting | State::Away { .. } => None,
        }
    }

    /// The templates and CAs.
    #[must_use]
    pub const fn live(&self) -> &Live {
        &self.live
    }

    /// How much the directory has been asked so far.
    #[must_use]
    pub fn queries(&self) -> Queries {
        Queries { accounts: self.accounts.queries(), other: self.other.queries() }
    }

    /// How many accounts are in memory.
    #[must_use]
    pub fn cached_accounts(&self) -> usize {
        self.cache().len()
    }

    /// The connection, for what is not an account.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.other
    }

    pub(crate) const fn accounts_client(&self) -> &Client {
        &self.accounts
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        // What it guards is valid between any two statements.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
