"""Writes a Registry.pol with Samba's own encoder (Debian's package python3-samba).

registry_pol.py FILE: reads a JSON list of [key, name, text or number] from standard input."""
import json
import sys

from samba.dcerpc import misc, preg
from samba.ndr import ndr_pack

file = preg.file()
file.header.signature, file.header.version = "PReg", 1
entries = []
for key, name, data in json.load(sys.stdin):
    entry = preg.entry()
    entry.keyname, entry.valuename = key, name
    # The type comes first: by it the encoder knows what the data are.
    entry.type = misc.REG_DWORD if isinstance(data, int) else misc.REG_SZ
    entry.data = data
    entries.append(entry)
file.num_entries, file.entries = len(entries), entries
with open(sys.argv[1], "wb") as out:
    out.write(ndr_pack(file))
