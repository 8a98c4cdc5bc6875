#!/usr/bin/env python3
"""Writes the files of this folder from the pages of MS-CSRA and C706 alone, with Python's struct module: make.py FOLDER.

Every octet is written out here, from the specification; no other encoder was asked.
"""
import struct
import sys
from pathlib import Path

folder = Path(sys.argv[1])
u32 = lambda *values: struct.pack("<%dI" % len(values), *values)
pad = lambda octets: octets + b"\0" * (-len(octets) % 4)
# ORPCTHIS: version 5.7, flags, reserved, causality, no extensions. ORPCTHAT: flags, no extensions.
this = struct.pack("<HHII", 5, 7, 0, 0)
this += struct.pack("<IHH", 0x11111111, 0x2222, 0x3333) + bytes.fromhex("4444555555555555") + u32(0)
that = u32(0, 0)
# Times of FILETIME: 100 ns since 1601; this one is 2026-01-02 03:04:05 UTC.
filetime = (1767323045 + 11644473600) * 10_000_000


def string(referent, text):                                          # [string, unique] wchar_t *: referent, maximum, offset, actual
    units = (text + "\0").encode("utf-16le")
    return pad(u32(referent, len(units) // 2, 0, len(units) // 2) + units)


def write(name, octets):
    (folder / f"handmade-{name}.bin").write_bytes(octets)


authority = string(0x20004, "CORP-CA")
write("resubmit-request", this + authority + u32(17))
write("resubmit-response", that + u32(3, 0))
write("resubmit-missing", that + u32(0x80094004, 0))
write("deny-refused", that + u32(0x80070005))
write("revoke-request", this + authority + string(0x20008, "61000000ab") + u32(1) + struct.pack("<II", filetime & 0xFFFFFFFF, filetime >> 32))
write("revoke-response", that + u32(0))
write("roles-response", that + u32(0x300, 0))
write("enum-view-column", this + authority + u32(0, 100))

# CERTTRANSDBCOLUMN: type, index, largest, offset of the name, offset of the display name; the texts behind all of them.
columns = [(0x10001, 0x1000, 4, "Request.RequestID", "Request ID"), (3, 0x1001, 65536, "Request.RawRequest", "Binary Request"),
           (0x10002, 0x100B, 8, "Request.SubmittedWhen", "Request Submission Date"), (0x10004, 0x2003, 254, "CertificateTemplate", "Certificate Template")]
head, texts = b"", b""
for kind, index, largest, name, display in columns:
    offsets = []
    for text in (name, display):
        offsets.append(20 * len(columns) + len(texts))
        texts += pad((text + "\0").encode("utf-16le"))
    head += u32(kind, index, largest, *offsets)
blob = lambda octets: pad(u32(len(octets), 0x20004, len(octets)) + octets)
write("columns-response", that + u32(len(columns)) + blob(head + texts) + u32(0))

# CERTVIEWRESTRICTION: column, operator, order, pointer, length; a conformant array, and what it points to behind it.
raw = b"seven"
restrictions = u32(2) + u32(0x100B, 8, 1, 0x20008, 8) + u32(0x1001, 1, 0, 0x2000C, len(raw))
restrictions += u32(8) + struct.pack("<Q", filetime) + pad(u32(len(raw)) + raw)
write("open-view", this + authority + u32(2) + restrictions + u32(3) + u32(3, 0x1000, 0x100B, 0x2003) + u32(1, 64))
write("open-view-all", this + authority + u32(0, 0) + u32(1) + u32(1, 0x1000) + u32(1, 64))
write("enum-view", this + authority + u32(65, 64))
write("close-view", this + authority)


# CERTTRANSDBRESULTROW: row, columns, length; CERTTRANSDBRESULTCOLUMN: type, index, offset from the row, length.
def row(number, cells):
    head, data = b"", b""
    for kind, index, value in cells:
        head += u32(kind, index, 12 + 16 * len(cells) + len(data), len(value))
        data += pad(value)
    return u32(number, len(cells), 12 + len(head) + len(data)) + head + data


text = lambda value: (value + "\0").encode("utf-16le")
rows = row(11, [(0x10001, 0x1000, u32(11)), (0x10002, 0x100B, struct.pack("<Q", filetime)), (0x10004, 0x2003, text("User"))])
rows += row(12, [(0x10001, 0x1000, u32(12)), (0x10002, 0x100B, struct.pack("<Q", filetime + 10_000_000)), (0x10004, 0x2003, b""), (3, 0x1001, raw)])
write("rows-response", that + u32(2) + blob(rows) + u32(0))
# The end: one row more, which is counted by nobody, with the number of all rows and its inverse; S_FALSE.
write("rows-end-response", that + u32(1) + blob(row(13, [(1, 0x1000, u32(13))]) + u32(3, 0xFFFFFFFC, 0)) + u32(1))
write("rows-open-response", that + u32(0) + u32(0, 0) + u32(0x8000FFFF))
