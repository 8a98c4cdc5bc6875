//! cfssl with SQLite, if it is installed (Debian: `golang-cfssl`): the same load, another signer.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use der::pem;
use serde_json::{Value, json};

use crate::installation::{Installation, free_ports};
use crate::message::Requester;
use crate::process::Server;
use crate::wire;

/// The table that cfssl writes; it does not make it itself.
const TABLES: &str = "CREATE TABLE certificates (serial_number, authority_key_identifier, ca_label, status, \
    reason, expiry, revoked_at, pem, issued_at, not_before, metadata, sans, common_name, \
    PRIMARY KEY (serial_number, authority_key_identifier))";

/// Where a request goes.
const PATH: &str = "/api/v1/cfssl/sign";

/// Whether it can be run here.
pub(crate) fn is_installed() -> bool {
    Command::new("cfssl").arg("version").output().is_ok_and(|output| output.status.success())
}

/// Starts it with a P-256 CA of its own, a new database, and the TLS certificate of the installation.
pub(crate) fn start(installation: &Installation) -> Result<Server> {
    let directory = installation.directory.join("cfssl");
    fs::create_dir(&directory)?;
    let file = |name: &str| directory.join(name);
    let request = json!({"CN": "cfssl", "key": {"algo": "ecdsa", "size": 256}});
    fs::write(file("request.json"), request.to_string())?;
    let made = Command::new("cfssl").arg("genkey").arg("-initca").arg(file("request.json")).output()?;
    let made: Value = serde_json::from_slice(&made.stdout).context("cfssl genkey")?;
    for (key, name) in [("cert", "ca.pem"), ("key", "ca.key.pem")] {
        fs::write(file(name), made.get(key).and_then(Value::as_str).context("cfssl genkey made no CA")?)?;
    }
    rusqlite::Connection::open(file("store.sqlite"))?.execute_batch(TABLES)?;
    // Its own patience ends after 5 s, and then it refuses requests.
    let source = format!("file:{}?_busy_timeout=60000", file("store.sqlite").display());
    let store = json!({"driver": "sqlite3", "data_source": source});
    fs::write(file("store.json"), store.to_string())?;
    let policy =
        json!({"signing": {"default": {"expiry": "8760h", "usages": ["client auth", "digital signature"]}}});
    fs::write(file("policy.json"), policy.to_string())?;

    let address = free_ports()?;
    let (certificate, key) = installation.server_certificate();
    let mut command = Command::new("cfssl");
    command.arg("serve").args(["-address", "127.0.0.1", "-loglevel", "3"]);
    command.arg("-port").arg(address.port().to_string());
    let options: [(&str, &Path); 6] = [
        ("-ca", &file("ca.pem")),
        ("-ca-key", &file("ca.key.pem")),
        ("-config", &file("policy.json")),
        ("-db-config", &file("store.json")),
        ("-tls-cert", &certificate),
        ("-tls-key", &key),
    ];
    for (name, path) in options {
        command.arg(name).arg(path);
    }
    Server::start(command, address, installation)
}

/// So many requests, ready to be sent.
pub(crate) fn requests(requester: &Requester, template: &str, count: usize) -> Result<Vec<Vec<u8>>> {
    let request = || {
        let pkcs10 = requester.pkcs10(template)?;
        let text = pem::encode_string("CERTIFICATE REQUEST", pem::LineEnding::LF, &pkcs10)?;
        let body = json!({"certificate_request": text, "hosts": ["bench.example"]}).to_string();
        Ok(wire::request("POST", PATH, "application/json", None, &body))
    };
    (0..count).map(|_| request()).collect()
}

/// Takes the certificate out of an answer.
pub(crate) fn certificate(answer: &[u8]) -> Result<Vec<u8>> {
    let answer: Value = serde_json::from_slice(answer)?;
    let text = answer.pointer("/result/certificate").and_then(Value::as_str);
    let Some(text) = text else { bail!("cfssl answers {answer}") };
    Ok(pem::decode_vec(text.as_bytes())?.1)
}

/// How many certificates are in its database: what it counts must be durable, too.
pub(crate) fn stored(installation: &Installation) -> Result<usize> {
    let store = rusqlite::Connection::open(installation.directory.join("cfssl").join("store.sqlite"))?;
    let rows: i64 = store.query_row("SELECT count(*) FROM certificates", [], |row| row.get(0))?;
    Ok(usize::try_from(rows)?)
}
