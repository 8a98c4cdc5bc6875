//! Security identifiers in binary form, and the token of an account.

use std::collections::BTreeSet;

pub use muster_core::directory::ObjectGuid;
use muster_core::identity::Sid;

/// Everyone.
pub const EVERYONE: &str = "S-1-1-0";
/// Authenticated Users.
pub const AUTHENTICATED_USERS: &str = "S-1-5-11";
/// This Organization: accounts of the forest itself and of trusts without selective authentication.
pub const THIS_ORGANIZATION: &str = "S-1-5-15";
/// Enterprise Domain Controllers.
pub const ENTERPRISE_DOMAIN_CONTROLLERS: &str = "S-1-5-9";
/// Principal Self: stands for the object itself in its own access list.
pub const PRINCIPAL_SELF: &str = "S-1-5-10";

/// The octets are not a security identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the octets are not a security identifier")]
pub struct BadSid;

/// Reads the binary form (MS-DTYP 2.4.2.2) that fills `octets` exactly.
///
/// # Errors
/// [`BadSid`].
pub fn from_octets(octets: &[u8]) -> Result<Sid, BadSid> {
    match split(octets) {
        Some((sid, [])) => Ok(sid),
        Some(_) | None => Err(BadSid),
    }
}

/// Reads a security identifier at the begin of `octets`; returns what follows it.
pub(crate) fn split(octets: &[u8]) -> Option<(Sid, &[u8])> {
    let ([1, count], rest) = octets.split_first_chunk()? else { return None };
    let (authority, rest) = rest.split_first_chunk::<6>()?;
    let authority = authority.iter().fold(0_u64, |all, octet| all << 8 | u64::from(*octet));
    let (numbers, rest) = rest.split_at_checked(usize::from(*count) * 4)?;
    let mut text = format!("S-1-{authority}");
    for number in numbers.as_chunks::<4>().0 {
        text.push_str(&format!("-{}", u32::from_le_bytes(*number)));
    }
    // Counts of 0 and above 15 are refused here.
    Some((Sid::try_from(text).ok()?, rest))
}

/// Writes the binary form.
#[must_use]
pub fn to_octets(sid: &Sid) -> Vec<u8> {
    // A `Sid` is well formed: `S-1-`, the authority, 1 to 15 numbers.
    let mut numbers = sid.as_str().split('-').skip(2).map(|number| number.parse::<u64>().unwrap_or_default());
    let [_, _, authority @ ..] = numbers.next().unwrap_or_default().to_be_bytes();
    let rest: Vec<u32> = numbers.map(|number| u32::try_from(number).unwrap_or_default()).collect();
    let mut octets = vec![1, u8::try_from(rest.len()).unwrap_or_default()];
    octets.extend(authority);
    rest.iter().for_each(|number| octets.extend(number.to_le_bytes()));
    octets
}

/// Everything that an access list may name for an account: itself, its groups, and what every authenticated account
/// is (MS-DTYP 2.4.2.4).
#[must_use]
pub fn token(own: &Sid, groups: impl IntoIterator<Item = Sid>) -> BTreeSet<Sid> {
    let well_known = [EVERYONE, AUTHENTICATED_USERS, THIS_ORGANIZATION];
    let mut token: BTreeSet<Sid> = well_known.into_iter().filter_map(|text| text.parse().ok()).collect();
    token.insert(own.clone());
    token.extend(groups);
    token
}

/// The last number of a security identifier that a domain gave out (`S-1-5-21-…-RID`), `None` for others.
#[must_use]
pub fn relative_identifier(sid: &Sid) -> Option<u32> {
    let text = sid.as_str();
    (text.starts_with("S-1-5-21-") && text.split('-').count() == 8)
        .then(|| text.rsplit('-').next()?.parse().ok())
        .flatten()
}

/// Whether `sid` stands for domain controllers: Enterprise Domain Controllers, Domain Controllers and the read-only
/// kinds of both.
#[must_use]
pub fn is_domain_controllers(sid: &Sid) -> bool {
    sid.as_str() == ENTERPRISE_DOMAIN_CONTROLLERS || matches!(relative_identifier(sid), Some(498 | 516 | 521))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_form_reads_back() {
        for (text, octets) in [
            ("S-1-1-0", &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]),
            ("S-1-5-32-544", &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0]),
        ] {
            let sid: Sid = text.parse().unwrap();
            assert_eq!(to_octets(&sid), octets);
            assert_eq!(from_octets(octets), Ok(sid));
        }
    }

    #[test]
    fn damaged_octets_are_refused() {
        let good = to_octets(&"S-1-5-21-1-2-3-1104".parse().unwrap());
        for length in 0..good.len() {
            assert_eq!(from_octets(&good[..length]), Err(BadSid), "cut at {length}");
        }
        let long = [good.clone(), vec![0]].concat();
        assert_eq!(from_octets(&long), Err(BadSid), "an octet too many");
        let mut other = good.clone();
        other[0] = 2;
        assert_eq!(from_octets(&other), Err(BadSid), "another revision");
        assert_eq!(from_octets(&[1, 0, 0, 0, 0, 0, 0, 5]), Err(BadSid), "no number");
        let many = [vec![1, 16, 0, 0, 0, 0, 0, 5], vec![0; 64]].concat();
        assert_eq!(from_octets(&many), Err(BadSid), "sixteen numbers");
    }

    #[test]
    fn controllers_are_told_from_others() {
        for (text, expected) in [
            ("S-1-5-9", true),
            ("S-1-5-21-1-2-3-516", true),
            ("S-1-5-21-1-2-3-515", false),
            ("S-1-5-32-516", false),
            ("S-1-5-21-1-2-516", false),
        ] {
            assert_eq!(is_domain_controllers(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
