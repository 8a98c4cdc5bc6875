//! Renewal: a certificate vouches for the next one. Thirteen checks in one place, in the order in which they stand here.
//!
//! Whoever has the key of a certificate is taken for its holder, so everything that the certificate cannot prove is
//! asked of the store: that it is ours, that nobody revoked it, what was renewed from it before.

use super::{Circumstances, ForwardCircumstances, KnownCertificate};
use crate::identity::{Method, Principal, Sid};
use crate::names::{self, AltName};
use crate::oid::Oid;
use crate::refusal::Refusal;
use crate::request::{RequestedNames, Submission};
use crate::template::{RenewalKey, SubjectSource, Template};
use crate::time::UnixTime;

/// Seconds between two renewals of one certificate: who renews it again with the same key has lost an answer, and does
/// not lose one every minute.
pub const LEAST_INTERVAL: i64 = 3_600;

/// A certificate that is to be renewed, with all that the store and its own octets say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Its row.
    pub known: KnownCertificate,
    /// Its subject and alternative names, from its octets.
    pub names: RequestedNames,
    /// Its security identifier (1.3.6.1.4.1.311.25.2), if it has one.
    pub sid: Option<String>,
    /// Its SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Where it stands among those that it was renewed from and those renewed from it.
    pub line: LinePlace,
}

/// The place of a certificate in its line: the certificates that were had, one with the other, after a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePlace {
    /// How many renewals lie between it and the last sign-in by something else than a certificate.
    pub generation: u32,
    /// When that sign-in was.
    pub since: UnixTime,
    /// An officer approved the enrollment that its renewals go back to.
    pub approved: bool,
    /// It has been renewed already, with another key than the one asked for now.
    pub forked: bool,
    /// When it was last renewed, with whatever key.
    pub renewed_at: Option<UnixTime>,
}

/// Whether one holder of the key has shown itself, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    /// One, as far as anybody can tell.
    One,
    /// The certificate was renewed before with another key: somebody has a copy of its key, or has lost an answer.
    Two,
}

/// The thirteen checks. What is not looked at here was proved before: that the whole is one signed message with one
/// request in it, that the old certificate's key signed it and the new key, too (checks 3 and 4: `muster-proto` hands on
/// nothing else), and that the account exists and may be used (check 7: authentication).
///
/// # Errors
/// The refusal of the first check that fails.
pub(super) fn check(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    old_certificate: &[u8],
    extra_signers: usize,
    circumstances: &Circumstances<'_>,
) -> Result<Holders, Refusal> {
    let now = circumstances.now;
    // 1. Over a connection with a client certificate, it is the one that signs.
    check_connection(circumstances.method, circumstances.tls_certificate, old_certificate)?;
    // 2. It is ours, octet by octet.
    let Renewed { known, names, sid, spki, line } = circumstances.renewed.ok_or(Refusal::RenewalUnknown)?;
    // 3. Nobody else signs.
    check_signers(extra_signers)?;
    // 5. It is valid now (4: see above).
    check_validity(now, known.not_before, known.not_after)?;
    // 6. It is not revoked now.
    if known.on_hold {
        return Err(Refusal::RenewalOnHold);
    }
    if known.revoked {
        return Err(Refusal::RenewalRevoked);
    }
    // 7. It belongs to the account, and the account is still the same one.
    if known.account != principal.name {
        return Err(Refusal::RenewalForeign);
    }
    if sid.as_deref().is_some_and(|old| Some(old) != principal.sid.as_ref().map(Sid::as_str)) {
        return Err(Refusal::RenewalReplaced);
    }
    // 8. It is of the same template, which still allows it.
    if Some(&known.template) != template.oid.as_ref() {
        return Err(Refusal::RenewalTemplate);
    }
    check_key_based(principal, template, circumstances.key_based)?;
    // 9. It asks for no other names. That those are still allowed is looked at when the new certificate gets them.
    if template.subject.source == SubjectSource::Request {
        check_names(&submission.names, names)?;
    }
    if is_limited(circumstances) {
        // 10. It is time.
        let from = window(template, known, line);
        if now < from {
            return Err(Refusal::RenewalTooEarly(from));
        }
        // 11. The last sign-in was not too long ago.
        let rules = &template.renewal;
        if rules.max_generations > 0 && line.generation >= rules.max_generations {
            return Err(Refusal::RenewalLimit(line.generation));
        }
        if rules.max_age_days > 0 && now.since(line.since) > i64::from(rules.max_age_days) * 86_400 {
            return Err(Refusal::RenewalAge(line.since));
        }
    }
    // 13. The key is new, or the same, as the template says.
    check_new_key(template, submission, spki)?;
    // 12. Nobody else has renewed it. The last, because it is no refusal: somebody has to look at it, and need not look
    // at what is refused anyway.
    Ok(if line.forked { Holders::Two } else { Holders::One })
}

/// A certificate of a CA that is not ours, which is to be renewed there. The service has verified that this CA signed it;
/// all else is as the certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCertificate {
    /// The name of its template (1.3.6.1.4.1.311.20.2), if it has one.
    pub template_name: Option<String>,
    /// The identifier of its template (1.3.6.1.4.1.311.21.7), if it has one.
    pub template_oid: Option<Oid>,
    /// Begin of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// Its subject and alternative names.
    pub names: RequestedNames,
    /// Its security identifier (1.3.6.1.4.1.311.25.2), if it has one.
    pub sid: Option<String>,
    /// Its SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

impl ForeignCertificate {
    /// Whether it says that it is of this template. One that names none is of none.
    fn is_of(&self, template: &Template) -> bool {
        let name = self.template_name.as_ref().map(|name| name.eq_ignore_ascii_case(&template.name));
        let oid = self.template_oid.as_ref().map(|oid| Some(oid) == template.oid.as_ref());
        match (name, oid) {
            (None, None) => false,
            (name, oid) => name.unwrap_or(true) && oid.unwrap_or(true),
        }
    }
}

/// The checks of a renewal that another CA is to make: those of the thirteen that need no more than the certificate. What
/// only that CA knows is left to it: whether it has revoked the certificate, and what was renewed from it before.
///
/// # Errors
/// The refusal of the first check that fails.
pub(super) fn check_foreign<'a>(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    old_certificate: &[u8],
    extra_signers: usize,
    circumstances: &ForwardCircumstances<'a>,
) -> Result<&'a ForeignCertificate, Refusal> {
    let key_based = circumstances.key_based;
    // Elsewhere the caller is somebody by another certificate, and the new one is for that account (7).
    if circumstances.renewal_only || key_based {
        check_connection(circumstances.method, circumstances.tls_certificate, old_certificate)?;
    }
    let old = circumstances.renewed.ok_or(Refusal::RenewalUnknown)?;
    check_signers(extra_signers)?;
    check_validity(circumstances.now, old.not_before, old.not_after)?;
    // 7. It belongs to the account, where it says to whom it belongs.
    let own_sid = principal.sid.as_ref().map(Sid::as_str);
    if !key_based && old.sid.as_deref().is_some_and(|sid| Some(sid) != own_sid) {
        return Err(Refusal::RenewalForeign);
    }
    if !old.is_of(template) {
        return Err(Refusal::RenewalTemplate);
    }
    check_key_based(principal, template, key_based)?;
    if template.subject.source == SubjectSource::Request {
        check_names(&submission.names, &old.names)?;
    }
    check_new_key(template, submission, &old.spki)?;
    Ok(old)
}

/// Check 1.
fn check_connection(
    method: Method,
    tls_certificate: Option<&[u8]>,
    old_certificate: &[u8],
) -> Result<(), Refusal> {
    match method {
        Method::ClientCertificate if tls_certificate != Some(old_certificate) => Err(Refusal::RenewalSigner),
        Method::ClientCertificate | Method::UsernamePassword | Method::Kerberos => Ok(()),
    }
}

/// Check 3.
const fn check_signers(extra: usize) -> Result<(), Refusal> {
    if extra > 0 { Err(Refusal::RenewalCosigned) } else { Ok(()) }
}

/// Check 5.
fn check_validity(now: UnixTime, not_before: UnixTime, not_after: UnixTime) -> Result<(), Refusal> {
    if now < not_before {
        return Err(Refusal::RenewalNotYetValid(not_before));
    }
    if now > not_after {
        return Err(Refusal::RenewalExpired(not_after));
    }
    Ok(())
}

/// Check 8, its second half: who may enroll may renew at any address; the certificate alone is enough only where the
/// template says so.
fn check_key_based(principal: &Principal, template: &Template, key_based: bool) -> Result<(), Refusal> {
    if key_based && !template.renewal.key_based && !template.permission(principal).enroll {
        return Err(Refusal::RenewalKeyBased);
    }
    Ok(())
}

/// Check 13.
fn check_new_key(template: &Template, submission: &Submission, old_spki: &[u8]) -> Result<(), Refusal> {
    let same = submission.key.spki == *old_spki;
    match template.renewal.key {
        RenewalKey::New if same => Err(Refusal::RenewalNewKey),
        RenewalKey::Same if !same => Err(Refusal::RenewalSameKey),
        RenewalKey::New | RenewalKey::Same | RenewalKey::Any => Ok(()),
    }
}

/// Whether time and number of renewals are limited: where the certificate is all that anybody has, at an address for
/// renewals. Who signs in with something else, or could enroll anew at the same address, gets around any limit.
const fn is_limited(circumstances: &Circumstances<'_>) -> bool {
    circumstances.renewal_only && matches!(circumstances.method, Method::ClientCertificate)
}

/// From when on a certificate can be renewed: for the last part of its life that the template says, and not at once
/// after it was.
fn window(template: &Template, known: &KnownCertificate, line: &LinePlace) -> UnixTime {
    let lifetime = known.not_after.since(known.not_before).max(0);
    let part = lifetime / 100 * i64::from(template.renewal.window_percent.min(100));
    let overlap = i64::try_from(template.validity.renewal_seconds()).unwrap_or(i64::MAX);
    // Divided first, so a whole life may come out some seconds short.
    let part = if template.renewal.window_percent >= 100 { lifetime } else { part };
    let opens = known.not_after.plus(-part.max(overlap).min(lifetime));
    let again = line.renewed_at.map(|last| last.plus(LEAST_INTERVAL));
    again.map_or(opens, |again| opens.max(again))
}

/// What a renewal asks for, if it asks for anything, is what the old certificate has.
fn check_names(asked: &RequestedNames, old: &RequestedNames) -> Result<(), Refusal> {
    let refuse = |name: &dyn std::fmt::Display| Err(Refusal::RenewalNames(names::shorten(&name.to_string())));
    for unknown in &asked.unknown_subject_attributes {
        if !old.unknown_subject_attributes.contains(unknown) {
            return refuse(unknown);
        }
    }
    for unknown in &asked.unknown_alternatives {
        if !old.unknown_alternatives.contains(unknown) {
            return refuse(unknown);
        }
    }
    if !asked.subject.0.is_empty() && asked.subject != old.subject {
        return refuse(&asked.subject);
    }
    let differs = |name: &AltName, others: &[AltName]| !others.contains(name);
    if let Some(other) = asked.alternatives.iter().find(|name| differs(name, &old.alternatives)) {
        return refuse(other);
    }
    // Fewer names would be other names as well.
    match old.alternatives.iter().find(|name| differs(name, &asked.alternatives)) {
        Some(missing) if !asked.alternatives.is_empty() => refuse(&format_args!("without {missing}")),
        Some(_) | None => Ok(()),
    }
}
