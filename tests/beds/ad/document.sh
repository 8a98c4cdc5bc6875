#!/usr/bin/env bash
# Runs what docs/active-directory.md shows, and prints it with its output: the document's blocks are copied from here.
#
#   cargo build -p muster && tests/beds/ad/up.sh --forests target/beds/ad tests/beds/ad/document.sh
set -uo pipefail
muster=$(realpath "${MUSTER:-target/debug/muster}")
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$work"' EXIT
export SMB_CONF_PATH=$BED_SAMBA/etc/smb.conf KRB5CCNAME=FILE:$work/ccache
cd "$work" || exit 1
mkdir bin
ln -s "$muster" bin/muster
export PATH=$work/bin:$PATH
show() {   # COMMAND-LINE: as a person would type it
    echo "\$ $*"
    eval "$@" 2>&1 | sed "s#$work/##g"
    local status=${PIPESTATUS[0]}
    ((status == 0)) || echo "(exit $status)"
    echo
}
section() { printf '\n## %s\n\n' "$*"; }

muster quickstart --once --host pki.corp.test --ca-name 'Corp CA' >quickstart.log 2>&1 || cat quickstart.log

section setup
show muster ad setup --domain corp.test --account svc-muster
printf '%s\n' "# the commands for Samba"
muster ad setup --domain corp.test --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["samba"])' >samba.sh
bash -e samba.sh <<<'Passw0rd!test' 2>&1
chmod 600 svc-muster.keytab
section keytab
show muster ad setup --domain corp.test --keytab svc-muster.keytab --write

section check
show muster ad check

section publish
show "echo 'Passw0rd!test' | kinit Administrator@CORP.TEST"
show muster ad publish --template EnrollersUser --template Machine --dry-run
show muster ad publish --template EnrollersUser --template Machine
show muster ad publish --template EnrollersUser --template Machine --as-me
show muster ad publish --as-me
show muster ad publish --nt-auth --as-me '</dev/null'

section templates
show muster ad publish --template Risky --template Unrecorded --template CorpServerV4 --as-me
show muster ad templates
show muster ad templates accept Risky '</dev/null'
show "echo Risky | muster ad templates accept Risky"
show muster ad templates list
show muster ad templates show Risky

section export
show muster ad templates export UserEmail --enroll CertEnrollers --as-me
show muster ad templates import Workstation

section enroll
muster serve --config muster-data/muster.toml >serve.log 2>&1 &
server=$!
for _ in {1..100}; do grep -q 'serving revocation list' serve.log && break; sleep 0.1; done
sleep 2
show "echo 'Passw0rd!alice' | kinit alice@CORP.TEST"
show muster policy --kerberos --no-cache --ca-file muster-data/ca/ca.pem --policy-url https://pki.corp.test:8443/ADPolicyProvider_CEP_Kerberos/service.svc/CEP
show muster enroll --kerberos --no-cache --ca-file muster-data/ca/ca.pem --policy-url https://pki.corp.test:8443/ADPolicyProvider_CEP_Kerberos/service.svc/CEP --template EnrollersUser --out alice.pem
show openssl x509 -in alice.pem -noout -subject -ext subjectAltName
show muster request list
tail -n 5 serve.log | sed "s#$work/##g"

section 'what goes wrong'
samba-tool user setpassword svc-muster --newpassword='Another!Passw0rd1' >/dev/null
show muster ad check
show "echo 'Passw0rd!test' | kinit Administrator@CORP.TEST"
show muster ad unpublish --as-me
