"""Makes the virtual environment of the clients with Kerberos, in the folder that is named.

Debian's python-gssapi is lent to it, since pip would have to build that; nothing else of Debian's is seen in it.
Which other packages a machine has is chance, and they do not go with the versions that are required here.
"""

import importlib.metadata
import sys
import sysconfig
import venv
from pathlib import Path

import gssapi

folder = sys.argv[1]
venv.create(folder, with_pip=True, symlinks=True)
packages = Path(sysconfig.get_path("platlib", "venv", {"base": folder, "platbase": folder}))
known_to_pip = importlib.metadata.distribution("gssapi").locate_file("")
for lent in [Path(gssapi.__file__).parent, *known_to_pip.glob("gssapi-*.*-info")]:
    (packages / lent.name).symlink_to(lent)
