//! Our view of the Active Directory of the bed, judged by what its own tools say and by what they change.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod accounts;
mod checks;
mod connections;
mod live;
mod publishing;
mod relay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_directory::ldap::{Access, LdapSettings, Login, Server};
use muster_directory::{Directory, DirectorySettings};
use muster_server::clock::SystemClock;
use muster_testkit::ad::{Ad, Forest, Tickets};

/// What `ad.kinit` takes for the administrator, whose password is not made by its rule.
fn administrator() -> Tickets {
    let tickets = Tickets::empty();
    let ran = tickets.run_with("kinit", &["Administrator@CORP.TEST"], b"Passw0rd!test");
    assert!(ran.ok, "{}", ran.all());
    tickets
}

/// The service account with its keytab.
fn service(ad: &Ad) -> Login {
    Login::Keytab { file: ad.keytab("svc-ces"), principal: "svc-ces@CORP.TEST".to_owned() }
}

fn ldap(access: Access) -> LdapSettings {
    at(Forest::Corp, access)
}

fn at(forest: Forest, access: Access) -> LdapSettings {
    let server: Server = forest.dc().parse().unwrap();
    LdapSettings::new(forest.realm().to_ascii_lowercase(), vec![server], access)
}

fn directory(ad: &Ad) -> Arc<Directory> {
    start(DirectorySettings::new(ldap(Access::Sealed(service(ad)))))
}

fn start(settings: DirectorySettings) -> Arc<Directory> {
    Directory::start(settings, Arc::new(SystemClock))
}

/// Waits until `test` holds, as long as `limit`; how long it took.
async fn within(limit: Duration, what: &str, mut test: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !test().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}
