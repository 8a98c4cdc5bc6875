//! Periods as the directory stores them: eight octets, little endian, negative, in units of 100 ns (MS-CRTD 2.11).

use crate::entry::{AttributeError, AttributeProblem, RawEntry};

const UNITS: u64 = 10_000_000;

/// Reads a period in whole seconds, rounded down.
pub(super) fn read(entry: &RawEntry, attribute: &'static str) -> Result<u64, AttributeError> {
    let error = |problem| AttributeError { attribute, problem };
    let octets = entry.octets(attribute)?.ok_or_else(|| error(AttributeProblem::Missing))?;
    let value: [u8; 8] = octets.try_into().map_err(|_| error(AttributeProblem::Length(octets.len())))?;
    let units = i64::from_le_bytes(value);
    // The smallest number means "never".
    if units >= 0 || units == i64::MIN {
        return Err(error(AttributeProblem::Form("a period is a negative number".to_owned())));
    }
    Ok(units.unsigned_abs() / UNITS)
}

/// Writes a period; the longest that can be written is about 29,000 years.
pub(crate) fn to_octets(seconds: u64) -> [u8; 8] {
    let units = i64::try_from(seconds.saturating_mul(UNITS)).unwrap_or(i64::MAX);
    (-units).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_those_of_the_specification() {
        for (octets, seconds) in [
            ([0x00, 0x40, 0x39, 0x87, 0x2e, 0xe1, 0xfe, 0xff], 31_536_000),
            ([0x00, 0x80, 0xa6, 0x0a, 0xff, 0xde, 0xff, 0xff], 3_628_800),
        ] {
            let entry = RawEntry::new("CN=t", [("pKIOverlapPeriod", vec![octets.to_vec()])]);
            assert_eq!(read(&entry, "pKIOverlapPeriod"), Ok(seconds));
            assert_eq!(to_octets(seconds), octets);
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for octets in [vec![], vec![0; 7], vec![0; 9], vec![0; 8], vec![1, 0, 0, 0, 0, 0, 0, 0], {
            let mut never = vec![0; 8];
            never[7] = 0x80;
            never
        }] {
            let entry = RawEntry::new("CN=t", [("pKIOverlapPeriod", vec![octets.clone()])]);
            assert!(read(&entry, "pKIOverlapPeriod").is_err(), "{octets:?}");
        }
        assert!(read(&RawEntry::default(), "pKIOverlapPeriod").is_err());
    }
}
