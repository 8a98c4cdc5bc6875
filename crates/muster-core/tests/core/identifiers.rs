//! The words and sentences that others keep: codes, reasons, refusals.

use std::collections::BTreeSet;

use muster_core::audit::Action;
use muster_core::directory::HostNameDoubt;
use muster_core::revocation::Reason;
use muster_core::{Refusal, RequestId};

use crate::support::*;

/// One of each. A new one does not compile before it stands in the match, and in the list.
fn every_refusal() -> Vec<Refusal> {
    let listed = |refusal: &Refusal| match refusal {
        Refusal::NoTemplate
        | Refusal::TemplateConflict
        | Refusal::TemplateDenied
        | Refusal::TemplateVersion
        | Refusal::KeyAlgorithm(_)
        | Refusal::KeyTooShort { .. }
        | Refusal::KeyBlocked
        | Refusal::DnsNameMissing
        | Refusal::EmailMissing
        | Refusal::UpnMissing
        | Refusal::HostNameDoubtful(_)
        | Refusal::DomainController
        | Refusal::DirectoryPathMissing
        | Refusal::GuidMissing
        | Refusal::SignatureRequired
        | Refusal::NameNotAllowed(_)
        | Refusal::NameMissing
        | Refusal::SidInRequest
        | Refusal::CaRequested
        | Refusal::OnBehalfOf
        | Refusal::RenewalOnly
        | Refusal::RenewalUnknown
        | Refusal::RenewalForeign
        | Refusal::RenewalCosigned
        | Refusal::RenewalNotYetValid(_)
        | Refusal::RenewalExpired(_)
        | Refusal::RenewalOnHold
        | Refusal::RenewalRevoked
        | Refusal::RenewalReplaced
        | Refusal::RenewalKeyBased
        | Refusal::RenewalNames(_)
        | Refusal::RenewalTooEarly(_)
        | Refusal::RenewalLimit(_)
        | Refusal::RenewalAge(_)
        | Refusal::RenewalNewKey
        | Refusal::RenewalSameKey
        | Refusal::RenewalTemplate
        | Refusal::RenewalSigner
        | Refusal::SignatureRejected
        | Refusal::AgentUnknown
        | Refusal::AgentRevoked
        | Refusal::AgentPurpose
        | Refusal::AgentNotCaller
        | Refusal::AgentLimits
        | Refusal::AgentTemplate
        | Refusal::RequesterUnknown
        | Refusal::SignatureCount { .. }
        | Refusal::AgentExpired(_)
        | Refusal::TokenForm
        | Refusal::TokenName(_)
        | Refusal::TokenTemplate
        | Refusal::TooManyPending(_)
        | Refusal::DeniedByOfficer { .. }
        | Refusal::DeniedBefore { .. }
        | Refusal::CaExpiring(_) => (),
    };
    let all = vec![
        Refusal::NoTemplate,
        Refusal::TemplateConflict,
        Refusal::TemplateDenied,
        Refusal::TemplateVersion,
        Refusal::KeyAlgorithm("ed25519"),
        Refusal::KeyTooShort { bits: 1024, minimum: 2048 },
        Refusal::KeyBlocked,
        Refusal::DnsNameMissing,
        Refusal::EmailMissing,
        Refusal::UpnMissing,
        Refusal::HostNameDoubtful(HostNameDoubt::Shared),
        Refusal::DomainController,
        Refusal::DirectoryPathMissing,
        Refusal::GuidMissing,
        Refusal::SignatureRequired,
        Refusal::NameNotAllowed("CN=host.example".to_owned()),
        Refusal::NameMissing,
        Refusal::SidInRequest,
        Refusal::CaRequested,
        Refusal::OnBehalfOf,
        Refusal::RenewalOnly,
        Refusal::RenewalUnknown,
        Refusal::RenewalForeign,
        Refusal::RenewalExpired(NOW),
        Refusal::SignatureRejected,
        Refusal::AgentUnknown,
        Refusal::AgentRevoked,
        Refusal::AgentPurpose,
        Refusal::AgentNotCaller,
        Refusal::AgentLimits,
        Refusal::AgentTemplate,
        Refusal::RequesterUnknown,
        Refusal::SignatureCount { have: 1, needed: 2 },
        Refusal::AgentExpired(NOW),
        Refusal::TokenForm,
        Refusal::TokenName("DNS:host.example".to_owned()),
        Refusal::TokenTemplate,
        Refusal::RenewalCosigned,
        Refusal::RenewalNotYetValid(NOW),
        Refusal::RenewalOnHold,
        Refusal::RenewalReplaced,
        Refusal::RenewalKeyBased,
        Refusal::RenewalNames("CN=host.example".to_owned()),
        Refusal::RenewalTooEarly(NOW),
        Refusal::RenewalLimit(8),
        Refusal::RenewalAge(NOW),
        Refusal::RenewalNewKey,
        Refusal::RenewalSameKey,
        Refusal::TooManyPending(1_000_000),
        Refusal::RenewalRevoked,
        Refusal::RenewalTemplate,
        Refusal::RenewalSigner,
        Refusal::DeniedByOfficer { id: RequestId::new(7).unwrap(), comment: "not now".to_owned() },
        Refusal::DeniedBefore { id: RequestId::new(7).unwrap(), sentence: "Not so.".to_owned() },
        Refusal::CaExpiring(NOW),
    ];
    all.iter().for_each(listed);
    all
}

#[test]
fn refusals_are_sentences_with_codes_of_their_own() {
    let refusals = every_refusal();
    let mut codes = BTreeSet::new();
    for refusal in &refusals {
        let sentence = refusal.to_string();
        assert!(sentence.chars().count() <= 200, "{sentence}");
        assert!(sentence.starts_with(char::is_uppercase), "{sentence}");
        assert!(matches!(refusal, Refusal::DeniedByOfficer { .. }) || sentence.ends_with('.'), "{sentence}");
        let word = |c: char| c.is_ascii_uppercase() || c == '_';
        assert!(refusal.code().chars().all(word), "{}", refusal.code());
        assert!(codes.insert(refusal.code()), "{} twice", refusal.code());
    }
    assert_eq!(codes.len(), 55, "one of each kind");
}

#[test]
fn reasons_are_those_of_the_standard_and_read_back() {
    // RFC 5280 5.3.1; 7 is unused, 8 and 10 are not for certificates of this CA.
    let expected = [
        (0, "unspecified"),
        (1, "keyCompromise"),
        (2, "cACompromise"),
        (3, "affiliationChanged"),
        (4, "superseded"),
        (5, "cessationOfOperation"),
        (6, "certificateHold"),
        (9, "privilegeWithdrawn"),
    ];
    assert_eq!(Reason::ALL.map(|reason| (reason.code(), reason.as_str())), expected);
    for reason in Reason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(reason));
        assert_eq!(reason.as_str().to_ascii_uppercase().parse(), Ok(reason));
    }
    for text in ["", "removeFromCRL", "aACompromise", "1", "key compromise"] {
        assert!(text.parse::<Reason>().is_err(), "{text}");
    }
}

#[test]
fn audit_words_differ() {
    let words: BTreeSet<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(words.len(), Action::ALL.len());
}
