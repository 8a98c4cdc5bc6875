//! A realm with alice and `HTTP/pki.corp.test`, and both ends of exchanges in it.

#![expect(clippy::unwrap_used, reason = "tests stop here, at the first surprise")]
#![allow(dead_code, reason = "each suite uses a part")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use muster_gss::{
    Acceptor, AcceptorSettings, ChannelBinding, Framing, Gss, Initiator, InitiatorSettings, Login,
    ReplayCache, Step,
};
use muster_testkit::kdc::Kdc;
use muster_testkit::peers;
use muster_testkit::tools::{base64, from_base64};

pub(crate) const HOST: &str = "pki.corp.test";

pub(crate) fn make(kdc: &Kdc) {
    kdc.add_user("alice", "alice-pw");
    kdc.add_service(&format!("HTTP/{HOST}"), "keytab");
}

pub(crate) fn binding(octet: u8) -> ChannelBinding {
    ChannelBinding::from_hash(&[octet; 32]).unwrap()
}

pub(crate) fn settings(kdc: &Kdc, keytab: &str, services: &[&str]) -> AcceptorSettings {
    AcceptorSettings {
        keytab: kdc.path(keytab),
        services: services.iter().map(|service| service.parse().unwrap()).collect(),
        replay_cache: ReplayCache::File(kdc.path("replay")),
    }
}

pub(crate) fn acceptor_for(kdc: &Kdc, services: &[&str]) -> Acceptor {
    Gss::load().unwrap().acceptor(&settings(kdc, "keytab", services)).unwrap()
}

pub(crate) fn acceptor(kdc: &Kdc) -> Acceptor {
    acceptor_for(kdc, &["HTTP/pki.corp.test"])
}

pub(crate) fn initiator_settings(
    class: &str,
    host: &str,
    binding: Option<ChannelBinding>,
) -> InitiatorSettings {
    let (class, host) = (class.to_owned(), host.to_owned());
    InitiatorSettings { class, host, binding, mutual: true, sealing: true, framing: Framing::Negotiate }
}

/// So many of alice's tokens for our service, all with one ticket.
pub(crate) fn tokens(kdc: &Kdc, count: usize, binding: Option<ChannelBinding>) -> Vec<Vec<u8>> {
    many(kdc, "HTTP", HOST, count, binding)
}

fn many(kdc: &Kdc, class: &str, host: &str, count: usize, binding: Option<ChannelBinding>) -> Vec<Vec<u8>> {
    let cache = kdc.kinit("alice", "alice-pw", &[]);
    let credential = Gss::load().unwrap().credential(&Login::Cache(cache)).unwrap();
    let one = || first(&mut credential.initiator(initiator_settings(class, host, binding.clone())).unwrap());
    std::iter::repeat_with(one).take(count).collect()
}

/// Alice's token for a service, with a ticket of its own.
pub(crate) fn token_for(kdc: &Kdc, class: &str, host: &str, binding: Option<ChannelBinding>) -> Vec<u8> {
    many(kdc, class, host, 1, binding).remove(0)
}

/// Alice's token for our service, with a ticket of its own.
pub(crate) fn token(kdc: &Kdc, binding: Option<ChannelBinding>) -> Vec<u8> {
    token_for(kdc, "HTTP", HOST, binding)
}

/// The first token.
pub(crate) fn first(initiator: &mut Initiator) -> Vec<u8> {
    match initiator.step(None).unwrap() {
        Step::Continue(token) => token,
        Step::Done(token) => token.unwrap_or_default(),
    }
}

/// `tests/peers/kerberos_peer.py` at work.
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Starts the peer with the tickets in `cache`.
pub(crate) fn peer(kdc: &Kdc, python: &Path, arguments: &[&str], cache: &str) -> Peer {
    start(kdc, Command::new(python), arguments, cache)
}

/// Starts the peer by `command`.
pub(crate) fn start(kdc: &Kdc, mut command: Command, arguments: &[&str], cache: &str) -> Peer {
    if command.get_envs().all(|(name, _)| name != "KRB5_CONFIG") {
        kdc.environment(&mut command);
    }
    command.arg(peers::script("kerberos_peer.py")).args(arguments).env("KRB5CCNAME", cache);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    Peer { child, input, output }
}

impl Peer {
    pub(crate) fn text(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub(crate) fn line(&mut self) -> Vec<u8> {
        from_base64(&self.text())
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        writeln!(self.input, "{}", base64(octets)).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
