//! What building, checking and signing a certificate costs, for each kind of CA key; medians of 31 rounds, one thread.
//!
//! `cargo run --release -p muster-ca --example speed`
#![expect(clippy::print_stdout, reason = "a table on standard output is what it is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use muster_ca::{Addresses, Authority, Passphrase, RootParameters, SigningAlgorithm, SigningKey};
use muster_core::issuance::Issuer;
use muster_core::names::{AltName, SubjectName};
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::revocation::Reason;
use muster_core::template::KeyUsage;
use muster_core::{RequestId, Serial, UnixTime};

const NOW: UnixTime = UnixTime(1_795_408_903);

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:10}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "CA", "build", "lint", "key signs", "key verifies", "sign"
    );
    for algorithm in SigningAlgorithm::ALL {
        let directory = tempfile::TempDir::new()?;
        let parameters =
            RootParameters { common_name: "Speed".to_owned(), organization: None, algorithm, years: 10 };
        let addresses = Addresses::new("http://pki.example/ca.crl", "http://pki.example/ca.crt")?;
        let passphrase = Passphrase::new("speed".to_owned()).ok_or("empty")?;
        let ca = Authority::create(&parameters, addresses, directory.path(), &passphrase, NOW)?;
        let contents = contents()?;
        let serial = muster_ca::serial::fresh(RequestId::new(1).ok_or("zero")?)?;
        let tbs = ca.build(&contents, serial)?;
        ca.lint(&contents, &tbs)?;
        let key = SigningKey::generate(algorithm)?;
        let signature = key.sign(&tbs)?;
        let columns = [
            median(|| ca.build(&contents, serial).is_ok()),
            median(|| ca.lint(&contents, &tbs).is_ok()),
            median(|| key.sign(&tbs).is_ok()),
            median(|| key.verifies(&tbs, &signature)),
            median(|| ca.sign(&tbs).is_ok()),
        ];
        let text: String = columns.iter().map(|d| format!("{:>9.1} µs", d.as_secs_f64() * 1e6)).collect();
        println!("{:10}{text}", algorithm.as_str());
        if algorithm == SigningAlgorithm::P256 {
            lists(&ca)?;
            let begin = Instant::now();
            let addresses = Addresses::new("http://pki.example/ca.crl", "http://pki.example/ca.crt")?;
            Authority::open(directory.path(), addresses, &passphrase)?;
            println!("  opening, which decrypts the key: {:.0?}", begin.elapsed());
        }
    }
    Ok(())
}

fn lists(ca: &Authority) -> Result<(), Box<dyn Error>> {
    for count in [1_000, 100_000] {
        let entries: Vec<_> = (1..=count)
            .filter_map(RequestId::new)
            .map(|id| (Serial::compose(id, [7; 15]), NOW, Reason::Superseded))
            .collect();
        let begin = Instant::now();
        let crl = ca.revocation_list(1, NOW, NOW.plus(86_400), entries)?;
        let made = begin.elapsed();
        let begin = Instant::now();
        let missing = muster_ca::crl::missing_from(&crl, &crl)?;
        println!(
            "  revocation list of {count}: {} octets in {made:.1?}; compared with another in {:.1?} ({} missing)",
            crl.len(),
            begin.elapsed(),
            missing.len()
        );
    }
    Ok(())
}

/// Median time of one call, over rounds of at least 2 ms.
fn median(mut call: impl FnMut() -> bool) -> Duration {
    let mut rounds: Vec<Duration> = (0..31)
        .map(|_| {
            let begin = Instant::now();
            let mut calls = 0;
            while begin.elapsed() < Duration::from_millis(2) {
                for _ in 0..8 {
                    assert!(black_box(call()));
                }
                calls += 8;
            }
            begin.elapsed() / calls
        })
        .collect();
    rounds.sort_unstable();
    rounds.get(15).copied().unwrap_or_default()
}

fn contents() -> Result<CertificateContents, Box<dyn Error>> {
    Ok(CertificateContents {
        subject: SubjectName::common_name("client0001.lab.example"),
        alternatives: vec![AltName::Dns("client0001.lab.example".to_owned())],
        not_before: NOW.plus(-600),
        not_after: NOW.plus(365 * 86_400 - 1),
        spki: SigningKey::generate(SigningAlgorithm::P256)?.spki().to_vec(),
        key_algorithm: KeyAlgorithm::P256,
        usage: vec![KeyUsage::DigitalSignature],
        eku: vec!["1.3.6.1.5.5.7.3.2".parse()?, "1.3.6.1.5.5.7.3.1".parse()?],
        policies: Vec::new(),
        template: ("1.3.6.1.4.1.311.21.8.10230.40561.7".parse()?, 100, 3),
        sid: Some("S-1-5-21-1111111111-2222222222-3333333333-1104".to_owned().try_into()?),
    })
}
