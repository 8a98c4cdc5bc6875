#!/usr/bin/env bash
# Adds a read-only domain controller to CORP.TEST, inside of up.sh; then the other one is stopped, and every program's KDC is this one.
#
#   rodc.sh ACCOUNT…      accounts whose keys it may have; 127.0.0.5, rodc1.corp.test. Runs until it is stopped; about 15 s to its start.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
rodc=$BED_DIR/rodc
administrator='-UAdministrator%Passw0rd!test'
conf=$rodc/etc/smb.conf
mkdir -p "$rodc"/{etc,run}
exec </dev/null
samba-tool domain join corp.test RODC --server=dc1.corp.test "$administrator" --realm=CORP.TEST --dns-backend=SAMBA_INTERNAL \
    --targetdir="$rodc" --option='netbios name=RODC1' --option='interfaces=127.0.0.5/8' --option='bind interfaces only=yes'
sed -i '/^\t\(binddns dir\|log file\|logging\|panic action\|passwd\|pam\|obey\|unix\|usershare\|map to\)/d; /^\[homes\]/,$d' "$conf"
cat >>"$conf" <<END
    server services = cldap, ldap, kdc
    ncalrpc dir = $rodc/run/ncalrpc
    pid directory = $rodc/run
    ntp signd socket directory = $rodc/run/ntp
    logging = file
    log file = $rodc/log.%m
    log level = 1 dsdb_json_audit:5
    dns update command = /bin/true
    spn update command = /bin/true
    tls enabled = no
    disable spoolss = yes
    load printers = no
END
# samba_spnupdate would add them.
"$here/directory.py" add "CN=RODC1,OU=Domain Controllers,DC=corp,DC=test" servicePrincipalName ldap/rodc1.corp.test \
    ldap/rodc1.corp.test/corp.test
for account in "$@"; do
    "$here/directory.py" add "$("$here/directory.py" dn 'Allowed RODC Password Replication Group')" member "$("$here/directory.py" dn "${account%$}")"
done
samba-tool rodc preload "$@" 'RODC1$' --server=dc1.corp.test -s "$conf" "$administrator"
kill "$(<"$BED_SAMBA/run/samba.pid")"
echo '127.0.0.5 rodc1.corp.test rodc1' >>"$BED_DIR/hosts"
sed -i 's/127\.0\.0\.2$/127.0.0.5/' "$KRB5_CONFIG"
exec samba -s "$conf" --debug-stdout -F -M single >"$rodc/samba.log" 2>&1
