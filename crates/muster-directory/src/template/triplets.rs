//! msPKI-RA-Application-Policies: identifiers, or properties as triplets of name, type and value (MS-CRTD 2.23).

use super::{WireTemplate, oid};
use crate::entry::{AttributeError, AttributeProblem, RawEntry};
use crate::finding::{Effect, Finding};
use crate::flags::private_key::USE_LEGACY_PROVIDER;

const ATTRIBUTE: &str = "msPKI-RA-Application-Policies";
/// Most properties in one value; the specification knows seven.
const MAX_PROPERTIES: usize = 64;

/// Whether the attribute holds triplets.
pub(crate) const fn has_properties(wire: &WireTemplate) -> bool {
    match wire.schema_version {
        3 => true,
        4 => wire.private_key_flags & USE_LEGACY_PROVIDER == 0,
        _ => false,
    }
}

pub(super) fn read(
    entry: &RawEntry,
    wire: &mut WireTemplate,
    findings: &mut Vec<Finding>,
) -> Result<(), AttributeError> {
    let values = entry.texts(ATTRIBUTE)?;
    if !has_properties(wire) {
        wire.ra_application_policies =
            values.into_iter().map(|value| oid(ATTRIBUTE, value.trim())).collect::<Result<_, _>>()?;
        return Ok(());
    }
    for value in values {
        let fields: Vec<&str> = value.split('`').take(3 * MAX_PROPERTIES + 1).collect();
        let (triplets, rest) = fields.as_chunks::<3>();
        // A grave accent ends the last triplet, so that an empty field follows it.
        if !matches!(rest, [] | [""]) {
            return Err(wrong("the properties are not triplets of name, type and value"));
        }
        for triplet in triplets {
            property(triplet, wire, findings)?;
        }
    }
    Ok(())
}

fn property(
    [name, kind, value]: &[&str; 3],
    wire: &mut WireTemplate,
    findings: &mut Vec<Finding>,
) -> Result<(), AttributeError> {
    let text = || match *kind {
        "PZPWSTR" => Ok((*value).to_owned()),
        _ => Err(wrong(&format!("{name} is not of type PZPWSTR"))),
    };
    let number = || match *kind {
        "DWORD" => value.parse::<u32>().map_err(|_| wrong(&format!("{name} is not a number"))),
        _ => Err(wrong(&format!("{name} is not of type DWORD"))),
    };
    match *name {
        "msPKI-RA-Application-Policies" => {
            wire.ra_application_policies = text()?
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| oid(ATTRIBUTE, part))
                .collect::<Result<_, _>>()?;
        }
        "msPKI-Asymmetric-Algorithm" => wire.asymmetric_algorithm = Some(text()?),
        "msPKI-Key-Security-Descriptor" => wire.key_permissions = Some(text()?),
        "msPKI-Symmetric-Algorithm" => wire.symmetric_algorithm = Some(text()?),
        "msPKI-Symmetric-Key-Length" => wire.symmetric_key_length = Some(number()?),
        "msPKI-Hash-Algorithm" => wire.hash_algorithm = Some(text()?),
        "msPKI-Key-Usage" => wire.key_usage_property = Some(number()?),
        _ => findings.push(Finding::new(
            Effect::Ignored,
            ATTRIBUTE,
            "it has a property that is not known here and does nothing",
        )),
    }
    Ok(())
}

fn wrong(what: &str) -> AttributeError {
    AttributeError { attribute: ATTRIBUTE, problem: AttributeProblem::Form(what.chars().take(128).collect()) }
}

/// The attribute's value for a template of schema 4 without legacy provider.
pub(crate) fn write(wire: &WireTemplate) -> Option<String> {
    let policies: Vec<&str> = wire.ra_application_policies.iter().map(muster_core::Oid::as_str).collect();
    let policies = (!policies.is_empty()).then(|| policies.join(","));
    let text = |name: &str, value: Option<&String>| value.map(|v| format!("{name}`PZPWSTR`{v}`"));
    let number = |name: &str, value: Option<u32>| value.map(|v| format!("{name}`DWORD`{v}`"));
    let all = [
        text("msPKI-Asymmetric-Algorithm", wire.asymmetric_algorithm.as_ref()),
        text("msPKI-Hash-Algorithm", wire.hash_algorithm.as_ref()),
        text("msPKI-Key-Security-Descriptor", wire.key_permissions.as_ref()),
        number("msPKI-Key-Usage", wire.key_usage_property),
        text("msPKI-RA-Application-Policies", policies.as_ref()),
        text("msPKI-Symmetric-Algorithm", wire.symmetric_algorithm.as_ref()),
        number("msPKI-Symmetric-Key-Length", wire.symmetric_key_length),
    ];
    let joined: String = all.into_iter().flatten().collect();
    (!joined.is_empty()).then_some(joined)
}
