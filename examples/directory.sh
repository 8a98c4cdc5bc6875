# What the examples with Active Directory share; read by their run.sh, which is called run.sh [FOLDER].
# The directory is Samba's, made by tests/beds/ad/up.sh in namespaces of its own; the client is python's zeep with requests-gssapi.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
muster=${MUSTER_EXE:-$root/target/release/muster}
python=${MUSTER_PEER_KERBEROS_PYTHON:-$root/target/peers/kerberos/bin/python}
bed=$root/tests/beds/ad

# Everything after this runs inside of the directory's namespaces.
if [[ -z ${BED_DIR:-} ]]; then
    cd "$root"
    cargo build --quiet --release -p muster
    cargo xtask peers >/dev/null || true
    [[ -x $python ]] || { echo "needs target/peers/kerberos: \`cargo xtask peers\` says why it is not there" >&2; exit 69; }
    folder=$(mkdir -p "${1:-$(mktemp -d)}" && cd "${1:-$_}" && pwd)
    exec "$bed/up.sh" --forests target/beds/examples "$(realpath "$0")" "$folder"
fi
cd "$1"

# service HOST: an installation with a CA, for tickets of CORP.TEST and accounts of its directory.
service() {
    "$muster" quickstart --dir . --host "$1" --listen 127.0.0.1:9443 --once >/dev/null 2>&1
    cp "$BED_KEYTABS"/{http,svc-ces}.keytab secrets/
    cat >>muster.toml <<END

[kerberos."CORP.TEST"]
keytab = "secrets/http.keytab"
services = ["HTTP/$1"]

[directory."corp.test"]
servers = ["dc1.corp.test"]
account = "svc-ces@CORP.TEST"
keytab = "secrets/svc-ces.keytab"

[[policy_endpoint]]
authentication = "kerberos"
listener = "password"

[[enrollment_endpoint]]
authentication = "kerberos"
listener = "password"
END
}

# publish TEMPLATE…: the forest names this CA and what it issues.
publish() { "$bed/directory.py" authority "Muster CA" ces.corp.test "$PWD/ca/ca.pem" "$@" >/dev/null; }

serve() {
    touch server.log
    "$muster" serve --config muster.toml 2>server.log &
    server=$!
    trap 'kill $server 2>/dev/null || true' EXIT
    until grep -q 'listening' server.log; do sleep 0.1; done
    for _ in {1..50}; do [[ -s directory-corp.test.json ]] && return; sleep 0.2; done
    echo "the templates have not been read; see $PWD/server.log" >&2
    return 1
}

base=https://ces.corp.test:9443
cep=$base/ADPolicyProvider_CEP_Kerberos/service.svc/CEP
ces=$base/Muster%20CA_CES_Kerberos/service.svc/CES

# ticket USER, machine KEYTAB PRINCIPAL: who asks from now on.
ticket() { export KRB5CCNAME=FILE:$PWD/tickets; kinit "$1" <<<"Passw0rd!${1%@*}" >/dev/null; }
machine() { export KRB5CCNAME=FILE:$PWD/tickets; kinit -k -t "$BED_KEYTABS/$1.keytab" "$2"; }

# soap JSON: one exchange of the foreign client.
soap() { "$python" -W ignore "$root/tests/peers/zeep_client.py" --negotiate "$cep" "$ces" ca/ca.pem <<<"$1"; }

# templates: those that the caller may enroll for.
templates() {
    soap '{"do": "policies"}' | "$python" -c 'import json, sys
answer = json.load(sys.stdin)
print(" ".join(t["name"] for t in answer["templates"] if t["enroll"]) or "nothing")'
}

# request NAME TEMPLATE: a key and a request for nobody in particular: the names come from the directory.
request() {
    openssl req -new -newkey rsa:2048 -nodes -keyout "$1.key" -outform DER -subj / \
        -addext "1.3.6.1.4.1.311.20.2=ASN1:BMPSTRING:$2" -config <(printf '[req]\ndistinguished_name=n\n[n]\n') 2>/dev/null | base64 -w 0
}

# enroll NAME TEMPLATE: prints the names in the certificate, or the refusal.
enroll() {
    soap "{\"do\": \"issue\", \"request\": \"$(request "$1" "$2")\"}" >"$1.json"
    "$python" - "$1" <<'PY'
import base64, json, ssl, subprocess, sys
name = sys.argv[1]
answer = json.load(open(name + ".json"))
if not answer.get("certificate"):
    print("   ", answer.get("disposition") or answer.get("reason") or answer)
    sys.exit()
open(name + ".pem", "w").write(ssl.DER_cert_to_PEM_cert(base64.b64decode(answer["certificate"])))
shown = subprocess.run(["openssl", "x509", "-in", name + ".pem", "-noout", "-subject", "-ext", "subjectAltName"], capture_output=True, text=True)
for line in shown.stdout.splitlines():
    print("   ", line.strip())
PY
}
