//! Key rules: algorithm, size, usage, providers.

use std::collections::BTreeSet;

use muster_core::request::KeyAlgorithm;
use muster_core::template::{KeyRules, KeyUsage};

use super::{WireTemplate, algorithms, triplets};
use crate::entry::{AttributeError, AttributeProblem, RawEntry};
use crate::finding::{Effect, Finding};
use crate::flags;

/// Smallest RSA key that is certified, in bits.
const LEAST_RSA: u32 = 2_048;
/// Most providers that are read.
const MAX_PROVIDERS: usize = 64;

/// Bits of pKIKeyUsage, the content octets of a KeyUsage (RFC 5280 4.2.1.3).
pub(crate) const USAGES: [(u8, KeyUsage); 5] = [
    (0x80, KeyUsage::DigitalSignature),
    (0x40, KeyUsage::NonRepudiation),
    (0x20, KeyUsage::KeyEncipherment),
    (0x10, KeyUsage::DataEncipherment),
    (0x08, KeyUsage::KeyAgreement),
];

pub(super) fn rules(
    entry: &RawEntry,
    wire: &mut WireTemplate,
    findings: &mut Vec<Finding>,
) -> Result<KeyRules, AttributeError> {
    wire.crypto_providers = providers(entry, findings)?;
    wire.key_spec = entry.number("pKIDefaultKeySpec")?;
    let asked = entry.number("msPKI-Minimal-Key-Size")?.unwrap_or(0);
    let algorithm = algorithm(wire, findings);
    let bits = match algorithm {
        KeyAlgorithm::Rsa => rsa_bits(asked, findings),
        KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 256,
        KeyAlgorithm::P384 => 384,
        KeyAlgorithm::P521 => 521,
    };
    if algorithm != KeyAlgorithm::Rsa && asked > bits {
        findings.push(Finding::new(
            Effect::Refused,
            "msPKI-Minimal-Key-Size",
            format!("it asks for {asked} bits, but keys of the template's algorithm have {bits}"),
        ));
    }
    wire.minimal_key_length = bits;
    Ok(KeyRules {
        algorithms: vec![algorithm],
        minimum_rsa_bits: if algorithm == KeyAlgorithm::Rsa { bits } else { LEAST_RSA },
        exportable: wire.private_key_flags & flags::private_key::EXPORTABLE != 0,
        usage: usage(entry, findings)?,
    })
}

/// Sizes that are certified are 2048, 3072 and 4096.
fn rsa_bits(asked: u32, findings: &mut Vec<Finding>) -> u32 {
    let mut report = |effect, sentence| {
        findings.push(Finding::new(effect, "msPKI-Minimal-Key-Size", sentence));
    };
    match asked {
        // Templates of schema 1 may leave it to the provider.
        0 => LEAST_RSA,
        1..LEAST_RSA => {
            report(Effect::Ignored, format!("{asked} bits are too short today; keys must have {LEAST_RSA}"));
            LEAST_RSA
        }
        LEAST_RSA => LEAST_RSA,
        2_049..=3_072 => 3_072,
        3_073..=4_096 => 4_096,
        4_097.. => {
            report(
                Effect::Refused,
                format!("keys of {asked} bits are not certified here; 4096 is the limit"),
            );
            4_096
        }
    }
}

/// Without a name, or with a legacy provider, keys are RSA: other kinds have fewer bits than such templates ask for.
fn algorithm(wire: &WireTemplate, findings: &mut Vec<Finding>) -> KeyAlgorithm {
    if !triplets::has_properties(wire) {
        return KeyAlgorithm::Rsa;
    }
    let Some(name) = &wire.asymmetric_algorithm else { return KeyAlgorithm::Rsa };
    if let Some((algorithm, _)) = algorithms::public_key(name) {
        return algorithm;
    }
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(32).collect();
    findings.push(Finding::new(
        Effect::Refused,
        "msPKI-Asymmetric-Algorithm",
        format!("keys of the kind {shown} are not certified here; use RSA or ECDSA"),
    ));
    KeyAlgorithm::Rsa
}

fn usage(entry: &RawEntry, findings: &mut Vec<Finding>) -> Result<BTreeSet<KeyUsage>, AttributeError> {
    const ATTRIBUTE: &str = "pKIKeyUsage";
    let octets = entry.octets(ATTRIBUTE)?.unwrap_or_default();
    let (first, second) = match octets {
        [] => (0, 0),
        [first] => (*first, 0),
        [first, second] => (*first, *second),
        more => {
            let problem = AttributeProblem::Length(more.len());
            return Err(AttributeError { attribute: ATTRIBUTE, problem });
        }
    };
    if first & 0x06 != 0 {
        findings.push(Finding::new(
            Effect::Refused,
            ATTRIBUTE,
            "keyCertSign and cRLSign are for CAs, which no template makes",
        ));
    }
    if first & 0x01 != 0 || second & 0x80 != 0 {
        findings.push(Finding::new(
            Effect::Ignored,
            ATTRIBUTE,
            "encipherOnly and decipherOnly are not written into certificates",
        ));
    }
    Ok(USAGES.into_iter().filter(|(bit, _)| first & bit != 0).map(|(_, usage)| usage).collect())
}

/// pKIDefaultCSPs: `n,Name`, in the order of the numbers.
fn providers(entry: &RawEntry, findings: &mut Vec<Finding>) -> Result<Vec<String>, AttributeError> {
    const ATTRIBUTE: &str = "pKIDefaultCSPs";
    let mut list = Vec::new();
    for value in entry.texts(ATTRIBUTE)?.into_iter().take(MAX_PROVIDERS) {
        let parts = value.split_once(',').and_then(|(number, name)| {
            let name = name.trim();
            let fit = !name.is_empty() && name.len() <= 256 && !name.chars().any(char::is_control);
            Some((number.trim().parse::<u32>().ok()?, name)).filter(|_| fit)
        });
        match parts {
            Some((number, name)) => list.push((number, name.to_owned())),
            None => findings.push(Finding::new(
                Effect::Ignored,
                ATTRIBUTE,
                "a value is not a number, a comma and a name; it is left out",
            )),
        }
    }
    list.sort();
    Ok(list.into_iter().map(|(_, name)| name).collect())
}
