#!/usr/bin/python3
"""Changes and questions to a domain controller of the bed while it runs, as its administrator, over LDAP.

    directory.py [--forest FOREST] TASK ARGUMENT…

    dn NAME                       where the account or group is
    sid NAME                      its SID
    get DN ATTRIBUTE              its values, one a line, octets as base64
    set DN ATTRIBUTE VALUE…       replace; without values: take away
    add DN ATTRIBUTE VALUE…       add values
    remove DN ATTRIBUTE VALUE…    remove values
    user NAME GROUP…              make a user with the password of world.password
    computer NAME HOST            make a computer NAME$ with that dNSHostName, its SPNs and a password
    bare NAME HOST                the same without SPNs, as whoever may make computers can
    delete DN
    template NAME LIKE ENTRY…     copy a template of CORP-CA; ENTRY in SDDL, {Group} stands for its SID, ENROLL and AUTOENROLL for the rights
    templates PREFIX LIKE ENTRIES…   one copy for each argument: PREFIX0 with all the entries of the first, and so on
    publish NAME CA               list a template in an enrollment service
    authority NAME HOST CA.pem TEMPLATE…   make an enrollment service that lists these templates
    acting DN NAME…               who may act for others at this account's services: resource-based constrained delegation
    descriptor DN [SDDL]          print or replace the descriptor
    judge TEMPLATE,… USER…        what the directory itself says of the right to enroll: lines `TEMPLATE USER yes` or `… no`

`judge` asks no code of ours and none of Samba's libraries, but the domain controller: it makes an account with the template's
descriptor, in which the right to enroll has changed places with the right to reset a password, and resets it as USER.
"""
import base64
import os
import ssl
import sys
import uuid

import ldb
from samba import Ldb
from samba.auth import system_session
from samba.credentials import MUST_USE_KERBEROS, Credentials
from samba.dcerpc import misc, security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

import templates
import world

RESET_PASSWORD = "00299570-246d-11d0-a768-00aa006e0529"


class Directory:
    def __init__(self, forest="corp", user="Administrator", password=world.ADMINISTRATOR):
        self.realm, _, host, _, self.domain_sid = world.FORESTS[forest]
        self.domain = security.dom_sid(self.domain_sid)
        self.base = "DC=" + self.realm.lower().replace(".", ",DC=")
        self.services = f"CN=Public Key Services,CN=Services,CN=Configuration,{self.base}"
        lp = LoadParm()
        lp.set("realm", self.realm)
        lp.set("client ldap sasl wrapping", "seal")
        lp.set("interfaces", "127.0.0.1/8")  # else it warns that there is nothing but loopback
        credentials = Credentials()
        credentials.guess(lp)
        credentials.set_realm(self.realm)
        credentials.set_username(user)
        credentials.set_password(password)
        credentials.set_kerberos_state(MUST_USE_KERBEROS)
        self.db = Ldb(url=f"ldap://{host}.{self.realm.lower()}", credentials=credentials, session_info=system_session(lp), lp=lp)

    def dn(self, name):
        found = self.db.search(self.base, expression=f"(|(sAMAccountName={name})(sAMAccountName={name}$))", attrs=["objectSid"],
                               controls=["search_options:1:2"])
        return str(found[0].dn)

    def sid(self, name):
        [found] = self.db.search(self.dn(name), ldb.SCOPE_BASE, attrs=["objectSid"])
        return str(ndr_unpack(security.dom_sid, found["objectSid"][0]))

    def get(self, dn, attribute):
        [found] = self.db.search(dn, ldb.SCOPE_BASE, attrs=[attribute])
        for value in found.get(attribute, []):
            octets = bytes(value)
            text = octets.decode("utf-8", "replace")
            yield text if text.isprintable() else base64.b64encode(octets).decode()

    def change(self, how, dn, attribute, *values):
        message = ldb.Message(ldb.Dn(self.db, dn))
        message[attribute] = ldb.MessageElement(list(values), how, attribute)
        self.db.modify(message)

    def set(self, dn, attribute, *values):
        self.change(ldb.FLAG_MOD_REPLACE, dn, attribute, *values)

    def add(self, dn, attribute, *values):
        self.change(ldb.FLAG_MOD_ADD, dn, attribute, *values)

    def remove(self, dn, attribute, *values):
        self.change(ldb.FLAG_MOD_DELETE, dn, attribute, *values)

    def account(self, container, name, account, kind, control, **more):
        quoted = f'"{world.password(name)}"'.encode("utf-16-le")
        self.db.add({"dn": f"CN={name},{container},{self.base}", "objectClass": kind, "sAMAccountName": account, "unicodePwd": quoted,
                     "userAccountControl": str(control), **more})
        return f"CN={name},{container},{self.base}"

    def user(self, name, *groups):
        dn = self.account("CN=Users", name, name, "user", 0x10200, userPrincipalName=f"{name}@{self.realm.lower()}",
                          mail=f"{name}@{self.realm.lower()}")
        for group in groups:
            self.add(self.dn(group), "member", dn)
        return dn

    def computer(self, name, host):
        return self.account("CN=Computers", name, name + "$", "computer", 0x1000, dNSHostName=host,
                            servicePrincipalName=[f"HOST/{host}", f"HOST/{name}"])

    def bare(self, name, host):
        return self.account("CN=Computers", name, name + "$", "computer", 0x1000, dNSHostName=host)

    def delete(self, dn):
        self.db.delete(dn)

    def read_descriptor(self, dn):
        control = f"sd_flags:1:{security.SECINFO_OWNER | security.SECINFO_GROUP | security.SECINFO_DACL}"
        [found] = self.db.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=[control])
        return ndr_unpack(security.descriptor, found["nTSecurityDescriptor"][0])

    def descriptor(self, dn, sddl=None):
        if sddl is None:
            return self.read_descriptor(dn).as_sddl(self.domain)
        return self.set(dn, "nTSecurityDescriptor", ndr_pack(security.descriptor.from_sddl(sddl, self.domain)))

    def template(self, name, like, *entries):
        [found] = self.db.search(f"CN={like},CN=Certificate Templates,{self.services}", ldb.SCOPE_BASE, attrs=["*"])
        skip = ("dn", "cn", "name", "distinguishedName", "objectGUID", "instanceType", "uSNCreated", "uSNChanged", "whenCreated",
                "whenChanged", "objectCategory", "nTSecurityDescriptor", "displayName", "msPKI-Cert-Template-OID")
        attributes = {key: [bytes(value) for value in found[key]] for key in found.keys() if key not in skip}
        entries = [self.named(entry) for entry in entries]
        dn = f"CN={name},CN=Certificate Templates,{self.services}"
        self.db.add({"dn": dn, "displayName": name, **attributes,
                     "msPKI-Cert-Template-OID": f"{templates.OIDS}.2.{uuid.uuid4().int % 10**9}.{uuid.uuid4().int % 10**9}",
                     "nTSecurityDescriptor": templates.descriptor(self.domain_sid, *entries)})
        self.publish(name, "CORP-CA")
        return dn

    def templates(self, prefix, like, *descriptors):
        for number, entries in enumerate(descriptors):
            yield self.template(f"{prefix}{number}", like, entries)

    def named(self, entry):
        entry = entry.replace("AUTOENROLL", templates.AUTOENROLL).replace("ENROLL", templates.ENROLL)
        while "{" in entry:
            name = entry[entry.index("{") + 1:entry.index("}")]
            entry = entry.replace("{" + name + "}", self.sid(name))
        return entry

    def authority(self, name, host, certificate, *names):
        with open(certificate) as file:
            der = ssl.PEM_cert_to_DER_cert(file.read())
        dn = f"CN={name},CN=Enrollment Services,{self.services}"
        self.db.add({"dn": dn, "objectClass": "pKIEnrollmentService", "displayName": name, "dNSHostName": host, "cACertificate": der,
                     "cACertificateDN": f"CN={name}", "flags": "10", "certificateTemplates": list(names),
                     "nTSecurityDescriptor": templates.descriptor(self.domain_sid, templates.allow("AU"))})
        return dn

    def acting(self, dn, *names):
        """Samba 4.17 lets nobody change this over LDAP, and its own KDC does not read it."""
        lp = LoadParm()
        lp.load(os.path.join(os.environ["BED_SAMBA"], "etc/smb.conf"))
        sddl = "O:BAD:" + "".join(f"(A;;0xf01ff;;;{self.sid(name)})" for name in names)
        packed = ndr_pack(security.descriptor.from_sddl(sddl, self.domain))
        self.db = SamDB(url=lp.samdb_url(), session_info=system_session(lp), lp=lp)
        self.set(dn, "msDS-AllowedToActOnBehalfOfOtherIdentity", *([packed] if names else []))

    def publish(self, name, ca):
        self.add(f"CN={ca},CN=Enrollment Services,{self.services}", "certificateTemplates", name)

    def judge(self, names, *users):
        callers = {user: Directory(user=user, password=world.password(user.rstrip("$"))) for user in users}
        for template in names.split(","):
            probe, sid = self.probe(template)
            for user, caller in callers.items():
                try:
                    caller.set(f"<SID={sid}>", "unicodePwd", f'"Passw0rd!{uuid.uuid4().hex}"'.encode("utf-16-le"))
                    yield f"{template} {user} yes"
                except ldb.LdbError as error:
                    if error.args[0] not in (ldb.ERR_INSUFFICIENT_ACCESS_RIGHTS, ldb.ERR_NO_SUCH_OBJECT):
                        raise
                    yield f"{template} {user} no"
            self.delete(probe)

    def probe(self, template):
        """The account whose password may be reset by whom the template lets enroll; where it is and its SID."""
        descriptor = self.read_descriptor(f"CN={template},CN=Certificate Templates,{self.services}")
        places = {templates.ENROLL: RESET_PASSWORD, RESET_PASSWORD: templates.ENROLL}
        aces = descriptor.dacl.aces
        for ace in aces:
            ace.flags &= ~security.SEC_ACE_FLAG_INHERITED_ACE
            # Plain entries have no place for a right: they are about all of them.
            if ace.type in (security.SEC_ACE_TYPE_ACCESS_ALLOWED_OBJECT, security.SEC_ACE_TYPE_ACCESS_DENIED_OBJECT):
                if ace.object.flags & security.SEC_ACE_OBJECT_TYPE_PRESENT:
                    ace.object.type = misc.GUID(places.get(str(ace.object.type), str(ace.object.type)))
        descriptor.dacl.aces = aces
        descriptor.type |= security.SEC_DESC_DACL_PROTECTED
        name = f"probe{uuid.uuid4().hex[:12]}"
        dn = self.user(name)
        sid = self.sid(name)
        self.set(dn, "nTSecurityDescriptor", ndr_pack(descriptor))
        return dn, sid


if __name__ == "__main__":
    arguments = sys.argv[1:]
    forest = "corp"
    if arguments[:1] == ["--forest"]:
        forest = arguments[1]
        arguments = arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    answer = getattr(Directory(forest), arguments[0])(*arguments[1:])
    for line in [] if answer is None else [answer] if isinstance(answer, str) else answer:
        print(line)
