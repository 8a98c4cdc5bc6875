"""Adds to the PAC on standard input what Windows sends and Samba 4.17 does not: resource groups, more SIDs of other
domains, PAC_REQUESTOR. Encoded by Samba; the signatures do not fit any more."""

import sys

from samba.dcerpc import krb5pac, netlogon, samr, security
from samba.ndr import ndr_pack, ndr_unpack

pac = ndr_unpack(krb5pac.PAC_DATA, sys.stdin.buffer.read())
logon = next(b.info.info for b in pac.buffers if b.type == krb5pac.PAC_TYPE_LOGON_INFO)
base = logon.info3.base
enabled = 7


def sid(text, attributes=enabled):
    entry = netlogon.netr_SidAttr()
    entry.sid, entry.attributes = security.dom_sid(text), attributes
    return entry


def group(rid, attributes=enabled):
    entry = samr.RidWithAttribute()
    entry.rid, entry.attributes = rid, attributes
    return entry


extra = [
    sid("S-1-5-21-1-2-3-1601"),
    sid("S-1-18-1"),
    # Not enabled: must not count.
    sid("S-1-5-21-1-2-3-1602", 0),
]
logon.info3.sids, logon.info3.sidcount = extra, len(extra)
base.user_flags |= netlogon.NETLOGON_EXTRA_SIDS | netlogon.NETLOGON_RESOURCE_GROUPS
logon.resource_groups.domain_sid = security.dom_sid("S-1-5-21-7-8-9")
resource = [group(1201, enabled | 0x20000000), group(1202, enabled | 0x20000000)]
logon.resource_groups.groups.rids, logon.resource_groups.groups.count = resource, len(resource)

requester = krb5pac.PAC_BUFFER()
requester.type = krb5pac.PAC_TYPE_REQUESTER_SID
requester.info = krb5pac.PAC_REQUESTER_SID()
requester.info.sid = security.dom_sid(f"{base.domain_sid}-{base.rid}")
pac.buffers = list(pac.buffers) + [requester]
pac.num_buffers += 1
sys.stdout.buffer.write(ndr_pack(pac))
