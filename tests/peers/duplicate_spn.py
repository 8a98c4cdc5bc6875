"""Gives an account of the bed's CORP.TEST a service principal name that another one has, as directories have it that were
not asked: a domain controller of today refuses it, so it is written below it, into the file of the partition.

    duplicate_spn.py ACCOUNT SPN        the bed's own directory alone: see Ad::of_its_own
"""
import os
import sys

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

account, name = sys.argv[1:]
folder = os.environ["BED_SAMBA"]
lp = LoadParm()
lp.load(f"{folder}/etc/smb.conf")
directory = SamDB(url=f"{folder}/private/sam.ldb", session_info=system_session(), lp=lp)
[found] = directory.search("DC=corp,DC=test", expression=f"(sAMAccountName={account})", attrs=["cn"])
partition = ldb.Ldb(url=f"tdb://{folder}/private/sam.ldb.d/DC=CORP,DC=TEST.ldb", options=["modules:"])
change = ldb.Message(ldb.Dn(partition, str(found.dn)))
# In capitals, as the index has it.
change["add"] = ldb.MessageElement([name.upper()], ldb.FLAG_MOD_ADD, "servicePrincipalName")
partition.modify(change)
