//! Security descriptors (MS-DTYP 2.4.6) and who may enroll according to them.
//!
//! The evaluation is the directory's own for one extended right on an object without properties
//! (MS-ADTS 5.1.3.3.4): entries in order, the first that covers the right and names somebody in the token decides.
//! Conditional entries cannot be evaluated here: those that allow never do, those that deny always do.

use muster_core::directory::ObjectGuid;
use muster_core::identity::Sid;
use muster_core::template::{AccessEffect, AccessEntry, AccessRight};

use crate::sid;

/// The extended right Enroll, 0e10c968-78fb-11d2-90d4-00c04f79dc55 (MS-CRTD 2.5.1).
pub const ENROLL: ObjectGuid = ObjectGuid([
    0x68, 0xc9, 0x10, 0x0e, 0xfb, 0x78, 0xd2, 0x11, 0x90, 0xd4, 0x00, 0xc0, 0x4f, 0x79, 0xdc, 0x55,
]);
/// The extended right AutoEnroll, a05b8cc2-17bc-4802-a710-e7c15ab866a2 (MS-CRTD 2.5.2).
pub const AUTO_ENROLL: ObjectGuid = ObjectGuid([
    0xc2, 0x8c, 0x5b, 0xa0, 0xbc, 0x17, 0x02, 0x48, 0xa7, 0x10, 0xe7, 0xc1, 0x5a, 0xb8, 0x66, 0xa2,
]);

/// Bits of an access mask (MS-DTYP 2.4.3, MS-ADTS 5.1.3.2).
pub mod mask {
    /// RIGHT_DS_CONTROL_ACCESS: extended rights.
    pub const CONTROL_ACCESS: u32 = 0x0000_0100;
    /// RIGHT_DS_WRITE_PROPERTY.
    pub const WRITE_PROPERTY: u32 = 0x0000_0020;
    /// RIGHT_WRITE_DAC.
    pub const WRITE_DAC: u32 = 0x0004_0000;
    /// RIGHT_WRITE_OWNER.
    pub const WRITE_OWNER: u32 = 0x0008_0000;
    /// List contents, read properties, list object and read the descriptor: what Read means (MS-CRTD 2.5.3).
    pub const READ: u32 = 0x0002_0094;
    /// Everything that a directory object knows: what Full Control means.
    pub const FULL_CONTROL: u32 = 0x000f_01ff;
    /// The same without extended rights: what administrators have on templates, who enroll only by grant.
    pub const ADMINISTER: u32 = FULL_CONTROL & !CONTROL_ACCESS;
    /// GENERIC_WRITE.
    pub const GENERIC_WRITE: u32 = 0x4000_0000;
    /// GENERIC_ALL; the directory stores [`FULL_CONTROL`] instead.
    pub const GENERIC_ALL: u32 = 0x1000_0000;
}

/// The entry is not for this object, only for those below it.
pub const INHERIT_ONLY: u8 = 0x08;
/// The entry came from above.
pub const INHERITED: u8 = 0x10;

/// Longest descriptor that is read, in octets: two access lists of the greatest size.
const MAX_OCTETS: usize = 2 * 65_536 + 1_024;
const SELF_RELATIVE: u16 = 0x8000;
const DACL_PRESENT: u16 = 0x0004;
const DACL_PROTECTED: u16 = 0x1000;
const OBJECT_TYPE_PRESENT: u32 = 1;
const INHERITED_TYPE_PRESENT: u32 = 2;

/// A security descriptor, without its system access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Owner.
    pub owner: Option<Sid>,
    /// Primary group; nothing looks at it.
    pub group: Option<Sid>,
    /// Discretionary access list.
    pub dacl: Dacl,
}

/// The discretionary access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dacl {
    /// The descriptor says nothing about access.
    Absent,
    /// It says that there is no restriction: Windows lets everybody do everything.
    Null,
    /// The entries, in order; with none of them nobody may do anything.
    List(Vec<Ace>),
}

/// An entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// Allow or deny.
    pub effect: AccessEffect,
    /// Bound to a condition, which is not read.
    pub conditional: bool,
    /// [`INHERIT_ONLY`], [`INHERITED`] and others of MS-DTYP 2.4.4.1.
    pub flags: u8,
    /// Bits of [`mask`].
    pub mask: u32,
    /// The right, property or class that it is about; all of them where absent.
    pub object_type: Option<ObjectGuid>,
    /// The class of objects that inherit it.
    pub inherited_object_type: Option<ObjectGuid>,
    /// Who.
    pub sid: Sid,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Larger than any can be.
    #[error("the security descriptor is too large")]
    TooLarge,
    /// Not revision 1, or not self-relative.
    #[error("the security descriptor is not of a form that a directory stores")]
    Form,
    /// Ends early, or points outside itself.
    #[error("the security descriptor is cut off")]
    Cut,
    /// A security identifier is malformed.
    #[error("the security descriptor has a malformed security identifier")]
    Sid,
    /// An entry is malformed.
    #[error("entry {0} of the access list is malformed")]
    Entry(usize),
}

impl Descriptor {
    /// Reads a self-relative descriptor.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn parse(octets: &[u8]) -> Result<Self, DescriptorError> {
        if octets.len() > MAX_OCTETS {
            return Err(DescriptorError::TooLarge);
        }
        let ([revision, _], rest) = octets.split_first_chunk().ok_or(DescriptorError::Cut)?;
        let (control, rest) = u16_at(rest)?;
        let (owner, rest) = u32_at(rest)?;
        let (group, rest) = u32_at(rest)?;
        let (_sacl, rest) = u32_at(rest)?;
        let (dacl, _) = u32_at(rest)?;
        if *revision != 1 || control & SELF_RELATIVE == 0 {
            return Err(DescriptorError::Form);
        }
        let sid_at = |offset: u32| {
            let from = part(octets, offset)?;
            from.map(|from| sid::split(from).map(|(sid, _)| sid).ok_or(DescriptorError::Sid)).transpose()
        };
        let dacl = if control & DACL_PRESENT == 0 {
            Dacl::Absent
        } else {
            part(octets, dacl)?.map_or(Ok(Dacl::Null), |from| entries(from).map(Dacl::List))?
        };
        Ok(Self { owner: sid_at(owner)?, group: sid_at(group)?, dacl })
    }

    /// Writes a self-relative descriptor whose list does not inherit; conditional entries are left out.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let owner = self.owner.as_ref().map(sid::to_octets).unwrap_or_default();
        let group = self.group.as_ref().map(sid::to_octets).unwrap_or_default();
        let (present, list) = match &self.dacl {
            Dacl::Absent => (0, Vec::new()),
            Dacl::Null => (DACL_PRESENT, Vec::new()),
            Dacl::List(entries) => (DACL_PRESENT | DACL_PROTECTED, write_list(entries)),
        };
        let mut octets = vec![1, 0];
        octets.extend((SELF_RELATIVE | present).to_le_bytes());
        let mut next = 20;
        let mut offset = |length: usize| {
            let at = if length == 0 { 0 } else { next };
            next += u32::try_from(length).unwrap_or_default();
            at.to_le_bytes()
        };
        let (owner_at, group_at) = (offset(owner.len()), offset(group.len()));
        octets.extend(owner_at);
        octets.extend(group_at);
        octets.extend(0_u32.to_le_bytes());
        octets.extend(offset(list.len()));
        [octets, owner, group, list].concat()
    }

    /// Who may enroll and autoenroll, in the order in which it is to be evaluated: see
    /// [`muster_core::template::access::is_granted`].
    ///
    /// A descriptor without access list grants nobody, although Windows would grant everybody: what everybody may
    /// change as well is no rule.
    #[must_use]
    pub fn enrollment_access(&self) -> Vec<AccessEntry> {
        let Dacl::List(entries) = &self.dacl else { return Vec::new() };
        entries.iter().filter_map(Ace::enrollment).collect()
    }

    /// Those besides administrators who could change the object or its permissions, as far as entries that allow
    /// tell. `trusted` says who is meant to.
    pub fn writers<'a>(&'a self, trusted: impl Fn(&Sid) -> bool + 'a) -> impl Iterator<Item = &'a Sid> {
        const WRITE: u32 = mask::WRITE_PROPERTY
            | mask::WRITE_DAC
            | mask::WRITE_OWNER
            | mask::GENERIC_WRITE
            | mask::GENERIC_ALL;
        let entries = match &self.dacl {
            Dacl::List(entries) => entries.as_slice(),
            Dacl::Absent | Dacl::Null => &[],
        };
        entries
            .iter()
            .filter(|ace| {
                ace.effect == AccessEffect::Allow && ace.flags & INHERIT_ONLY == 0 && ace.mask & WRITE != 0
            })
            .map(|ace| &ace.sid)
            .chain(&self.owner)
            .filter(move |sid| !trusted(sid))
    }
}

impl Ace {
    /// An entry that is not inherited and has no condition.
    #[must_use]
    pub const fn new(effect: AccessEffect, mask: u32, object_type: Option<ObjectGuid>, sid: Sid) -> Self {
        Self { effect, conditional: false, flags: 0, mask, object_type, inherited_object_type: None, sid }
    }

    /// What the entry says about enrolling, if anything.
    fn enrollment(&self) -> Option<AccessEntry> {
        let never = self.conditional && self.effect == AccessEffect::Allow;
        // A directory maps generic bits when it stores them, and does not look at those that are left. One that
        // denies is taken at its word all the same.
        let covers = match self.effect {
            AccessEffect::Allow => self.mask & mask::CONTROL_ACCESS != 0,
            AccessEffect::Deny => self.mask & (mask::CONTROL_ACCESS | mask::GENERIC_ALL) != 0,
        };
        if self.flags & INHERIT_ONLY != 0 || never || !covers {
            return None;
        }
        let right = match self.object_type {
            None => AccessRight::Both,
            Some(ENROLL) => AccessRight::Enroll,
            Some(AUTO_ENROLL) => AccessRight::AutoEnroll,
            Some(_) => return None,
        };
        Some(AccessEntry { effect: self.effect, right, sid: self.sid.clone() })
    }
}

fn u16_at(octets: &[u8]) -> Result<(u16, &[u8]), DescriptorError> {
    let (value, rest) = octets.split_first_chunk().ok_or(DescriptorError::Cut)?;
    Ok((u16::from_le_bytes(*value), rest))
}

fn u32_at(octets: &[u8]) -> Result<(u32, &[u8]), DescriptorError> {
    let (value, rest) = octets.split_first_chunk().ok_or(DescriptorError::Cut)?;
    Ok((u32::from_le_bytes(*value), rest))
}

/// The octets from `offset` on; `None` for 0, which means absent.
fn part(octets: &[u8], offset: u32) -> Result<Option<&[u8]>, DescriptorError> {
    if offset == 0 {
        return Ok(None);
    }
    let offset = usize::try_from(offset).map_err(|_| DescriptorError::Cut)?;
    octets.get(offset..).map(Some).ok_or(DescriptorError::Cut)
}

/// The entries of an access list that begins here (MS-DTYP 2.4.5).
fn entries(octets: &[u8]) -> Result<Vec<Ace>, DescriptorError> {
    let ([revision, _], rest) = octets.split_first_chunk().ok_or(DescriptorError::Cut)?;
    let (size, rest) = u16_at(rest)?;
    let (count, rest) = u16_at(rest)?;
    let (_, rest) = u16_at(rest)?;
    if !matches!(revision, 2 | 4) {
        return Err(DescriptorError::Form);
    }
    let inner = usize::from(size).checked_sub(8).ok_or(DescriptorError::Cut)?;
    let mut rest = rest.get(..inner).ok_or(DescriptorError::Cut)?;
    let mut list = Vec::new();
    for number in 1..=usize::from(count) {
        let bad = DescriptorError::Entry(number);
        let [kind, flags, low, high] = *rest.first_chunk().ok_or(bad)?;
        let size = usize::from(u16::from_le_bytes([low, high]));
        let (entry, after) = rest.split_at_checked(size).ok_or(bad)?;
        let body = entry.get(4..).ok_or(bad)?;
        rest = after;
        let (effect, object, conditional) = match kind {
            0x00 => (AccessEffect::Allow, false, false),
            0x01 => (AccessEffect::Deny, false, false),
            0x05 => (AccessEffect::Allow, true, false),
            0x06 => (AccessEffect::Deny, true, false),
            0x09 => (AccessEffect::Allow, false, true),
            0x0a => (AccessEffect::Deny, false, true),
            0x0b => (AccessEffect::Allow, true, true),
            0x0c => (AccessEffect::Deny, true, true),
            // Auditing, alarms, labels and what nobody has defined neither allow nor deny (MS-DTYP 2.5.3.2).
            _ => continue,
        };
        list.push(ace(effect, object, conditional, flags, body).ok_or(bad)?);
    }
    Ok(list)
}

/// An entry from what follows its header (MS-DTYP 2.4.4.2 to 2.4.4.9). Octets behind the security identifier are
/// conditions or padding.
fn ace(effect: AccessEffect, object: bool, conditional: bool, flags: u8, body: &[u8]) -> Option<Ace> {
    let (mask, mut rest) = u32_at(body).ok()?;
    let (mut object_type, mut inherited_object_type) = (None, None);
    if object {
        let (present, after) = u32_at(rest).ok()?;
        rest = after;
        if present & OBJECT_TYPE_PRESENT != 0 {
            let (guid, after) = rest.split_first_chunk()?;
            (object_type, rest) = (Some(ObjectGuid(*guid)), after);
        }
        if present & INHERITED_TYPE_PRESENT != 0 {
            let (guid, after) = rest.split_first_chunk()?;
            (inherited_object_type, rest) = (Some(ObjectGuid(*guid)), after);
        }
    }
    let (sid, _) = sid::split(rest)?;
    Some(Ace { effect, conditional, flags, mask, object_type, inherited_object_type, sid })
}

/// An access list of as many entries as fit into its size field.
fn write_list(entries: &[Ace]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    let mut count = 0_u16;
    for ace in entries.iter().filter(|ace| !ace.conditional) {
        let octets = write_ace(ace);
        if body.len() + octets.len() + 8 > usize::from(u16::MAX) {
            break;
        }
        body.extend(octets);
        count += 1;
    }
    let size = u16::try_from(body.len() + 8).unwrap_or_default();
    let mut list = vec![4, 0];
    list.extend(size.to_le_bytes());
    list.extend(count.to_le_bytes());
    list.extend([0, 0]);
    list.extend(body);
    list
}

fn write_ace(ace: &Ace) -> Vec<u8> {
    let mut body = ace.mask.to_le_bytes().to_vec();
    let types = [(OBJECT_TYPE_PRESENT, ace.object_type), (INHERITED_TYPE_PRESENT, ace.inherited_object_type)];
    let object = types.iter().any(|(_, guid)| guid.is_some());
    if object {
        let present = types.iter().filter(|(_, guid)| guid.is_some()).fold(0, |bits, (bit, _)| bits | bit);
        body.extend(present.to_le_bytes());
        types.iter().filter_map(|(_, guid)| guid.as_ref()).for_each(|guid| body.extend(guid.0));
    }
    body.extend(sid::to_octets(&ace.sid));
    let kind = match (ace.effect, object) {
        (AccessEffect::Allow, false) => 0x00,
        (AccessEffect::Deny, false) => 0x01,
        (AccessEffect::Allow, true) => 0x05,
        (AccessEffect::Deny, true) => 0x06,
    };
    // At most 4 + 4 + 4 + 32 + 68 octets.
    let size = u16::try_from(body.len() + 4).unwrap_or_default();
    let mut octets = vec![kind, ace.flags];
    octets.extend(size.to_le_bytes());
    octets.extend(body);
    octets
}
