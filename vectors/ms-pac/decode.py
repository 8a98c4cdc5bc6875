"""What Samba's decoder reads in the PAC on standard input, as far as the project reads it, as JSON."""

import json
import sys

from samba.dcerpc import krb5pac, security
from samba.ndr import ndr_unpack

pac = ndr_unpack(krb5pac.PAC_DATA, sys.stdin.buffer.read())
found = {buffer.type: buffer.info for buffer in pac.buffers}
logon = found[krb5pac.PAC_TYPE_LOGON_INFO].info
info3, base = logon.info3, logon.info3.base
domain = str(base.domain_sid)
groups = {f"{domain}-{group.rid}" for group in base.groups.rids} | {f"{domain}-{base.primary_gid}"}
enabled = security.SE_GROUP_ENABLED
groups |= {str(extra.sid) for extra in info3.sids or [] if extra.attributes & enabled}
resource = logon.resource_groups
groups |= {f"{resource.domain_sid}-{group.rid}" for group in resource.groups.rids or []}
upn = found[krb5pac.PAC_TYPE_UPN_DNS_INFO]
requester = found.get(krb5pac.PAC_TYPE_REQUESTER_SID)
json.dump(
    {
        "account_name": str(base.account_name),
        "full_name": str(base.full_name),
        "logon_domain": base.logon_domain.string,
        "logon_server": base.logon_server.string,
        "user_sid": f"{domain}-{base.rid}",
        "primary_group_sid": f"{domain}-{base.primary_gid}",
        "resource_groups": resource.groups.count,
        "extra_sids": info3.sidcount,
        "group_sids": sorted(groups),
        "user_account_control": base.acct_flags,
        "upn": upn.upn_name,
        "upn_constructed": bool(upn.flags & krb5pac.PAC_UPN_DNS_FLAG_CONSTRUCTED),
        "dns_domain": upn.dns_domain_name,
        "client_name": found[krb5pac.PAC_TYPE_LOGON_NAME].account_name,
        "requestor_sid": str(requester.sid) if requester else None,
    },
    sys.stdout,
    ensure_ascii=False,
    indent=1,
)
print()
