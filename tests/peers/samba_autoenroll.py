"""The certificate extension of samba-gpupdate (Debian's package python3-samba), run as samba-gpupdate runs it for one
policy object, without a machine that joined: the policy is given, trust anchors go into a folder.

    samba_autoenroll.py FOLDER HOST USER PASSWORD

FOLDER is for all that it writes. The commands getcert and cepces-submit are those of PATH; without update-ca-certificates
there the machine's own trust anchors stay as they are. Prints JSON: what the extension read of the enrollment service of
HOST, what it keeps of having enrolled, and what `samba-gpupdate --rsop` would say."""
import base64
import json
import pathlib
import sys
import types

import samba.gp.gp_cert_auto_enroll_ext as extension
from samba import Ldb
from samba.auth import system_session
from samba.credentials import MUST_USE_KERBEROS, Credentials
from samba.dcerpc import misc, preg
from samba.gp.gpclass import GPOStorage, get_dc_hostname
from samba.ndr import ndr_pack
from samba.param import LoadParm

folder, host, user, password = pathlib.Path(sys.argv[1]), *sys.argv[2:]
for name in ("cache", "private", "trust", "anchors"):
    (folder / name).mkdir(parents=True, exist_ok=True)
extension.global_trust_dir = str(folder / "anchors")

lp = LoadParm()
for name, value in (("realm", "CORP.TEST"), ("client ldap sasl wrapping", "seal"), ("interfaces", "127.0.0.1/8"),
                    ("cache directory", str(folder / "cache")), ("private dir", str(folder / "private"))):
    lp.set(name, value)
credentials = Credentials()
credentials.guess(lp)
credentials.set_realm("CORP.TEST")
credentials.set_username(user)
credentials.set_password(password)
credentials.set_kerberos_state(MUST_USE_KERBEROS)

# The policy "enroll, renew, remove" in the extension's copy of SYSVOL, whose names are in capitals.
entry = preg.entry()
entry.keyname, entry.valuename = r"Software\Policies\Microsoft\Cryptography\AutoEnrollment", "AEPolicy"
entry.type, entry.data = misc.REG_DWORD, 7
policy = preg.file()
policy.header.signature, policy.header.version = "PReg", 1
policy.num_entries, policy.entries = 1, [entry]
guid = "{31B2F340-016D-11D2-945F-00C04FB984F9}"
path = f"corp.test/Policies/{guid}"
copy = folder / "cache" / "gpo_cache" / f"{path}/MACHINE/Registry.pol".upper()
copy.parent.mkdir(parents=True, exist_ok=True)
copy.write_bytes(ndr_pack(policy))
gpo = types.SimpleNamespace(name=guid, file_sys_path=f"sysvol/{path}")

url = f"ldap://{get_dc_hostname(credentials, lp)}"
directory = Ldb(url=url, session_info=system_session(), lp=lp, credentials=credentials)
services = [ca for ca in extension.fetch_certification_authorities(directory) if str(ca["hostname"]) == host]

store = GPOStorage(str(folder / "gpo.tdb"))
ours = extension.gp_cert_auto_enroll_ext(lp, credentials, user, store)
ours.gp_db.set_guid(guid)
ours.process_group_policy([], [gpo], str(folder / "trust"), str(folder / "private"))
kept = {}
for _, settings in ours.gp_db.get_applied_settings([guid]):
    for name, data in settings.get(str(ours), {}).items():
        kept[base64.b64decode(name).decode()] = json.loads(data)
said = ours.rsop(gpo)
json.dump({
    "services": [{"name": str(ca["name"]), "certificate": base64.b64encode(bytes(ca["cACertificate"])).decode()}
                 for ca in services],
    "kept": kept,
    "rsop": {str(name): {"server": str(value["Auto Enrollment Server"]), "templates": value["Templates"]}
             for name, value in said.get("Auto Enrollment Policy", {}).items()},
}, sys.stdout)
