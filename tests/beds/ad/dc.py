#!/usr/bin/python3
"""Makes Samba domain controllers out of world.py and templates.py, offline, in seconds.

    dc.py provision FOREST BED      FOREST of world.FORESTS into BED/FOREST, its keytabs into BED/keytabs
    dc.py trust FOREST FOREST BED   a two-way forest trust between two that stopped; needs neither SMB nor winbind
"""
import base64
import logging
import os
import ssl
import subprocess
import sys

import ldb
import samba.dckeytab  # gives Net its export_keytab
from samba import dsdb
from samba.auth import system_session
from samba.dcerpc import drsblobs, lsa, security
from samba.ndr import ndr_pack, ndr_unpack
from samba.net import Net
from samba.param import LoadParm
from samba.provision import provision
from samba.samdb import SamDB

import templates
import world

SMB_CONF = """[global]
    netbios name = {HOST}
    realm = {realm}
    workgroup = {netbios}
    server role = active directory domain controller
    interfaces = {address}/8
    bind interfaces only = yes
    server services = rpc, cldap, ldap, kdc, dns
    dns forwarder = {forwarder}
    rpc server dynamic port range = {low}-{high}
    private dir = {dir}/private
    state directory = {dir}/state
    cache directory = {dir}/cache
    lock directory = {dir}
    pid directory = {dir}/run
    ncalrpc dir = {dir}/run/ncalrpc
    ntp signd socket directory = {dir}/run/ntp
    binddns dir = {dir}/bind-dns
    logging = file
    log file = {dir}/log.%m
    log level = 1 dsdb_json_audit:5
    ldap server require strong auth = allow_sasl_over_tls
    tls certfile = {bed}/ca/{host}.{domain}.pem
    tls keyfile = {bed}/ca/{host}.{domain}.key
    tls cafile = {bed}/ca/ca.pem
    disable spoolss = yes
    load printers = no
[sysvol]
    path = {dir}/state/sysvol
    read only = no
[netlogon]
    path = {dir}/state/sysvol/{domain}/scripts
    read only = no
"""


class Names:
    """Everything that has a name of one forest's first domain."""

    def __init__(self, forest, bed):
        self.realm, self.netbios, self.host, self.address, self.sid = world.FORESTS[forest]
        self.bed, self.dir = bed, os.path.join(bed, forest)
        self.domain = self.realm.lower()
        self.base = "DC=" + self.domain.replace(".", ",DC=")
        self.conf = os.path.join(self.dir, "etc/smb.conf")
        number = list(world.FORESTS).index(forest)
        # What a DNS server does not know it asks the next forest's.
        self.forwarder = {0: "127.0.0.3", 1: "127.0.0.4", 2: ""}[number]
        self.low = 50000 + 100 * number
        self.high = self.low + 99
        self.HOST = self.host.upper()


def certificate(names):
    """What the domain controller shows on LDAPS, from the bed's CA."""
    name, folder = f"{names.host}.{names.domain}", os.path.join(names.bed, "ca")
    subprocess.run([os.path.join(os.path.dirname(os.path.abspath(__file__)), "certificate.sh"), folder, name, names.address], check=True)


def provision_forest(forest, bed):
    names = Names(forest, bed)
    for folder in ("etc", "run", "cache", "../keytabs"):
        os.makedirs(os.path.join(names.dir, folder), exist_ok=True)
    certificate(names)
    with open(names.conf, "w") as file:
        file.write(SMB_CONF.format(**vars(names)))
    log = logging.getLogger("provision")
    log.setLevel(logging.ERROR)
    lp = LoadParm()
    made = provision(log, system_session(), targetdir=names.dir, realm=names.realm, domain=names.netbios, hostname=names.host,
                     hostip=names.address, domainsid=security.dom_sid(names.sid), adminpass=world.ADMINISTRATOR,
                     machinepass=world.password("machine" + names.host), krbtgtpass=world.password("krbtgt" + names.host),
                     dns_backend="SAMBA_INTERNAL", serverrole="active directory domain controller",
                     dom_for_fun_level=dsdb.DS_DOMAIN_FUNCTION_2008_R2, lp=lp)
    samdb = made.samdb
    samdb.transaction_start()
    fill(forest, names, samdb)
    samdb.transaction_commit()
    public_key_services(names, samdb)
    keytabs = os.path.join(bed, "keytabs")
    if forest == "corp":
        export(lp, os.path.join(keytabs, "stale.keytab"), ["HTTP/old.corp.test"])
    for user, _, _ in world.SERVICES[forest]:
        samdb.setpassword(f"(sAMAccountName={user})", world.password(user))
    for name, principals in world.KEYTABS[forest].items():
        export(lp, os.path.join(keytabs, f"{name}.keytab"), principals)


def export(lp, keytab, principals):
    if os.path.exists(keytab):
        os.unlink(keytab)
    for principal in principals:
        Net(None, lp).export_keytab(keytab=keytab, principal=principal)


def fill(forest, names, samdb):
    # Accounts lock after five wrong passwords, passwords neither expire nor have to wait.
    message = ldb.Message(ldb.Dn(samdb, names.base))
    for name, value in (("lockoutThreshold", "5"), ("maxPwdAge", "-9223372036854775808"), ("minPwdAge", "0"), ("pwdHistoryLength", "0")):
        message[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    samdb.modify(message)
    where, services = {}, [name for name, _, _ in world.SERVICES[forest]]

    def add(dn, name, **attributes):
        where[name] = dn
        samdb.add({"dn": dn, "sAMAccountName": name, **attributes})

    for name, attributes in world.USERS[forest]:
        attributes = dict(attributes)
        later = {key: attributes.pop(key) for key in ("pwdLastSet", "userAccountControl") if key in attributes}
        dn = f"CN={name},CN=Users,{names.base}"
        add(dn, name, objectClass="user", userPrincipalName=f"{name}@{names.domain}", userAccountControl=str(0x10200),
            unicodePwd=quoted(world.password(name) + ("-before" if name in services else "")), **attributes)
        change(samdb, dn, later)
    for name, attributes in world.COMPUTERS[forest]:
        dn = f"CN={name},CN=Computers,{names.base}"
        add(dn, name + "$", objectClass="computer", userAccountControl=str(0x1000),
            unicodePwd=quoted(world.password(name)), **attributes)
        change(samdb, dn, {"msDS-SupportedEncryptionTypes": "24"})
    samdb.create_ou(f"OU=Groups,{names.base}")
    for name, kind, members in world.GROUPS[forest]:
        attributes = {"member": [where[member] for member in members]} if members else {}
        add(f"CN={name},OU=Groups,{names.base}", name, objectClass="group", groupType=str(kind), **attributes)
    for user, spns, types in world.SERVICES[forest]:
        change(samdb, where[user], {"servicePrincipalName": spns, "msDS-SupportedEncryptionTypes": str(types)})
    # samba_spnupdate would add these to the domain controller's account.
    host = f"{names.host}.{names.domain}"
    change(samdb, f"CN={names.HOST},OU=Domain Controllers,{names.base}", {"servicePrincipalName": [
        f"ldap/{host}", f"ldap/{host}/{names.domain}", f"ldap/{names.HOST}", f"GC/{host}/{names.domain}", f"HOST/{host}/{names.domain}",
        f"cifs/{host}"]}, ldb.FLAG_MOD_ADD)


def public_key_services(names, samdb):
    groups = samdb.search(f"OU=Groups,{names.base}", expression="(!(cn=G*))", attrs=["cn", "objectSid"])
    sid_of = {str(group["cn"]): samdb.schema_format_value("objectSid", group["objectSid"][0]).decode()
              for group in groups if "objectSid" in group}
    if "CertEnrollers" in sid_of:
        container = f"CN=Certificate Templates,CN=Public Key Services,CN=Services,CN=Configuration,{names.base}"
        [found] = samdb.search(container, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"])
        domain = security.dom_sid(names.sid)
        before = ndr_unpack(security.descriptor, found["nTSecurityDescriptor"][0]).as_sddl(domain)
        after = security.descriptor.from_sddl(before + templates.inherited(sid_of), domain)
        change(samdb, container, {"nTSecurityDescriptor": ndr_pack(after)})
    with open(os.path.join(names.bed, "ca/ca.pem")) as file:
        ca = ssl.PEM_cert_to_DER_cert(file.read())
    samdb.transaction_start()
    samdb.add_ldif(templates.ldif(names.base, names.sid, ca, sid_of))
    samdb.transaction_commit()


def quoted(password):
    """A password as LDAP takes it."""
    return f'"{password}"'.encode("utf-16-le")


def change(samdb, dn, attributes, how=ldb.FLAG_MOD_REPLACE):
    if attributes:
        message = ldb.Message(ldb.Dn(samdb, dn))
        for name, value in attributes.items():
            message[name] = ldb.MessageElement(value, how, name)
        samdb.modify(message)


def secret(text):
    """A trust's password as the directory keeps it."""
    clear = drsblobs.AuthInfoClear()
    octets = list(text.encode("utf-16-le"))
    clear.size, clear.password = len(octets), octets
    information = drsblobs.AuthenticationInformation()
    information.LastUpdateTime, information.AuthType, information.AuthInfo = 0, lsa.TRUST_AUTH_TYPE_CLEAR, clear
    array = drsblobs.AuthenticationInformationArray()
    array.count, array.array = 1, [information]
    blob = drsblobs.trustAuthInOutBlob()
    blob.count, blob.current = 1, array
    return ndr_pack(blob)


# What lsasrv says when it makes a trust and its account.
PERMIT = [f"local_oid:{dsdb.DSDB_CONTROL_PERMIT_INTERDOMAIN_TRUST_UAC_OID}:0", "relax:0"]


def trust(one, two, bed):
    for here, there in ((Names(one, bed), Names(two, bed)), (Names(two, bed), Names(one, bed))):
        lp = LoadParm()
        lp.load(here.conf)
        samdb = SamDB(url=lp.samdb_url(), session_info=system_session(), lp=lp)
        incoming, outgoing = world.password(f"trust-of-{here.netbios}"), world.password(f"trust-of-{there.netbios}")
        samdb.transaction_start()
        samdb.add({
            "dn": f"CN={there.domain},CN=System,{here.base}", "objectClass": "trustedDomain",
            "trustType": str(lsa.LSA_TRUST_TYPE_UPLEVEL), "trustAttributes": str(lsa.LSA_TRUST_ATTRIBUTE_FOREST_TRANSITIVE),
            "trustDirection": str(lsa.LSA_TRUST_DIRECTION_INBOUND | lsa.LSA_TRUST_DIRECTION_OUTBOUND),
            "trustPartner": there.domain, "flatName": there.netbios, "securityIdentifier": ndr_pack(security.dom_sid(there.sid)),
            "msDS-SupportedEncryptionTypes": "24",
            "trustAuthIncoming": secret(incoming), "trustAuthOutgoing": secret(outgoing),
            "msDS-TrustForestTrustInfo": forest_names(there),
        }, PERMIT)
        # The account whose keys decrypt what the other side's KDC refers to us.
        samdb.add({
            "dn": f"CN={there.netbios}$,CN=Users,{here.base}", "objectClass": "user", "sAMAccountName": f"{there.netbios}$",
            "userAccountControl": str(0x820), "unicodePwd": quoted(incoming),
        }, PERMIT)
        samdb.transaction_commit()
        # Members from beyond the trust are named by SID.
        if one == "corp" and here.netbios == "CORP":
            sid = sid_of(Names(two, bed), "petra")
            principal = f"CN={sid},CN=ForeignSecurityPrincipals,{here.base}"
            samdb.add({"dn": principal, "objectClass": "foreignSecurityPrincipal", "objectSid": ndr_pack(security.dom_sid(sid))},
                      ["relax:0", "provision:0"])
            change(samdb, f"CN=PartnerEnrollers,OU=Groups,{here.base}", {"member": principal}, ldb.FLAG_MOD_ADD)


def sid_of(names, account):
    lp = LoadParm()
    lp.load(names.conf)
    samdb = SamDB(url=lp.samdb_url(), session_info=system_session(), lp=lp)
    found = samdb.search(names.base, expression=f"(sAMAccountName={account})", attrs=["objectSid"])
    return samdb.schema_format_value("objectSid", found[0]["objectSid"][0]).decode()


def text(name):
    made = drsblobs.ForestTrustString()
    made.string, made.size = name, len(name)
    return made


def forest_names(there):
    """Which names belong to the other forest: its top level name and its domain."""
    info = drsblobs.ForestTrustInfo()
    records = []
    for kind in (drsblobs.FOREST_TRUST_TOP_LEVEL_NAME, drsblobs.FOREST_TRUST_DOMAIN_INFO):
        record = drsblobs.ForestTrustInfoRecord()
        record.timestamp, record.type, record.flags = 0, kind, 0
        if kind == drsblobs.FOREST_TRUST_TOP_LEVEL_NAME:
            data = text(there.domain)
        else:
            data = drsblobs.ForestTrustDataDomainInfo()
            data.sid, data.dns_name, data.netbios_name = security.dom_sid(there.sid), text(there.domain), text(there.netbios)
            data.sid_size = len(ndr_pack(data.sid))
        record.data = data
        armor = drsblobs.ForestTrustInfoRecordArmor()
        armor.record, armor.record_size = record, len(ndr_pack(record))
        records.append(armor)
    info.version, info.count, info.records = 1, len(records), records
    return ndr_pack(info)


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    {"provision": provision_forest, "trust": trust}[task](*arguments)
