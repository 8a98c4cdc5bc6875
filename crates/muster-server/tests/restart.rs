//! What a node does at its second start.

#![expect(clippy::unwrap_used, reason = "a helper of tests that cannot bind has nothing to test")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use muster_core::Clock;
use muster_server::setup::{self, Plan};
use muster_server::{Node, Settings, SystemClock};
use muster_store::{Options, RequestFilter, Store};

/// A port that was free a moment ago, with two free ones after it.
fn free_port() -> u16 {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    loop {
        let port = bind(0).unwrap().local_addr().unwrap().port();
        if port < 65_000 && (port..=port + 2).all(|p| bind(p).is_ok()) {
            return port;
        }
    }
}

#[tokio::test]
async fn restart_keeps_the_certificates_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        directory: folder.path().join("muster"),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
        host: "localhost".to_owned(),
        ca_name: "Restart CA".to_owned(),
        algorithm: muster_ca::SigningAlgorithm::P256,
        ca_years: 5,
    };
    let config = setup::create(&plan, &SystemClock).await.unwrap();
    let settings = Settings::load(&config).unwrap();
    for _ in 0..2 {
        Node::start(settings.clone(), Arc::new(SystemClock)).await.unwrap().stop().await;
    }
    let path = muster_server::service::store_path(&settings);
    let store = Store::open(&path, &Options::default(), SystemClock.now()).unwrap();
    let requests = store.requests(RequestFilter::default()).await.unwrap();
    let mut templates: Vec<_> = requests.iter().filter_map(|r| r.template.as_deref()).collect();
    templates.sort_unstable();
    assert_eq!(
        templates,
        ["CAExchange", "MusterServer"],
        "one certificate of each kind, made at the first start"
    );
}
