#!/bin/bash
# Makes the PACs of this folder with a Samba AD DC of its own, and what Samba's own decoder reads in them.
#   unshare -Urnm ./make.sh
# Needs Debian's samba samba-ad-provision samba-dsdb-modules ldb-tools python3-samba krb5-user iproute2, and a Python
# with the package gssapi as $PYTHON. Times, keys and SIDs differ each time; nothing secret is kept.
set -euo pipefail
here=$(dirname "$(realpath "$0")"); d=$(mktemp -d); PATH=$PATH:/usr/sbin; PYTHON=${PYTHON:-/usr/bin/python3}
ip link set lo up
tool() {  # samba-tool without the one step that needs real user ids
  /usr/bin/python3 - "$@" <<'P'
import sys
import samba.provision
samba.provision.setsysvolacl = lambda *a, **k: None
sys.argv[0] = "samba-tool"
exec(compile(open("/usr/bin/samba-tool").read(), "samba-tool", "exec"))
P
}
tool domain provision --targetdir="$d" --realm=CORP.TEST --domain=CORP --server-role=dc --adminpass='Passw0rd!a' \
  --host-name=dc1 --host-ip=127.0.0.2 --option="interfaces=127.0.0.2/8" --option="bind interfaces only=yes" \
  > "$d/provision.log" 2>&1
mkdir -p "$d"/{run,cache}
sed -i "/^\[global\]/a interfaces = 127.0.0.2/8\nbind interfaces only = yes\nserver services = ldap, kdc\n\
pid directory = $d/run\nncalrpc dir = $d/run/ncalrpc\nntp signd socket directory = $d/run/ntp\nlog file = $d/log.%m" "$d/etc/smb.conf"
t() { samba-tool "$@" -s "$d/etc/smb.conf" > /dev/null; }
t user create alice 'Passw0rd!1' --given-name=Alice --surname=Müller
t user create bob 'Passw0rd!1'
t group add Staff; t group add Enrollers; t group addmembers Staff alice; t group addmembers Enrollers Staff
t group add Everywhere --group-scope=Universal; t group addmembers Everywhere alice
t group add Local --group-scope=Domain; t group addmembers Local Everywhere
for n in $(seq 60); do t group add "many$n"; t group addmembers "many$n" bob; done
t computer create PC1; t user setpassword 'PC1$' --newpassword='Passw0rd!1'
t user create svc 'Passw0rd!1'; t spn add HTTP/pki.corp.test svc
ldbmodify -H "$d/private/sam.ldb" > /dev/null <<L
dn: CN=svc,CN=Users,DC=corp,DC=test
changetype: modify
replace: msDS-SupportedEncryptionTypes
msDS-SupportedEncryptionTypes: 24

dn: CN=bob,CN=Users,DC=corp,DC=test
changetype: modify
replace: userPrincipalName
userPrincipalName: robert@example.test
L
t domain exportkeytab "$d/keytab" --principal=HTTP/pki.corp.test
cat > "$d/krb5.conf" <<C
[libdefaults]
 default_realm = CORP.TEST
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 CORP.TEST = {
  kdc = 127.0.0.2
 }
C
samba -s "$d/etc/smb.conf" -F -M single > "$d/samba.log" 2>&1 < /dev/null & dc=$!
trap 'kill $dc; rm -rf "$d"' EXIT
for _ in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.2/88) 2> /dev/null && break; sleep 0.1; done
export KRB5_CONFIG=$d/krb5.conf KRB5_KTNAME=$d/keytab KRB5CCNAME=FILE:$d/cc
for name in alice bob 'PC1$'; do
  kinit "$name" <<< 'Passw0rd!1' > /dev/null
  file=$here/samba-$(tr -d '$' <<< "${name,,}").pac
  "$PYTHON" "$here/extract.py" > "$file"
  /usr/bin/python3 "$here/decode.py" < "$file" > "${file%.pac}.json"
done
/usr/bin/python3 "$here/encode.py" < "$here/samba-alice.pac" > "$here/samba-encoded.pac"
/usr/bin/python3 "$here/decode.py" < "$here/samba-encoded.pac" > "$here/samba-encoded.json"
