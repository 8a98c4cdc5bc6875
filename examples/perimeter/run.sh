#!/usr/bin/env bash
# The perimeter: users outside sign in with the password that they have in the directory; the service reads it over LDAP and asks its KDC.
# Usage: examples/perimeter/run.sh [FOLDER]
. "$(dirname "$0")/../directory.sh"

service ces.corp.test
sed -i '/^account = "svc-ces@CORP.TEST"/a passwords = true' muster.toml
publish EnrollersUser UserPending
serve

# Without a ticket, with passwords.
cep=$base/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP
ces=$base/Muster%20CA_CES_UsernamePassword/service.svc/CES
signed_in() { # USER PASSWORD JSON
    "$python" -W ignore "$root/tests/peers/zeep_client.py" "$cep" "$ces" ca/ca.pem <<<"{\"user\": \"$1\", \"password\": \"$2\", $3}"
}
echo "alice@corp.test with her password:"
signed_in alice@corp.test 'Passw0rd!alice' "\"do\": \"issue\", \"request\": \"$(request alice EnrollersUser)\"" |
    "$python" -c 'import json, sys; a = json.load(sys.stdin); print("   ", a.get("disposition") or a)'
echo 'CORP\bob with a wrong one, eight times:'
for n in {1..8}; do
    signed_in 'CORP\\bob' "guess-$n" '"do": "policies"' | "$python" -c 'import json, sys; a = json.load(sys.stdin); print("   ", a.get("reason") or a)'
done | sed 's/ (reference .*//' | sort | uniq -c
echo "the directory has not locked him:"
ticket bob && klist | sed -n '/krbtgt/s/^/    /p'
if grep -q 'guess-\|Passw0rd' server.log; then echo "a password is in the log" >&2; exit 1; fi
echo "no password is in the log"
