#!/usr/bin/env bash
# In front of AD CS: the certification authority stays what and where it is, and this service stands where Microsoft's CES stood.
# The authority is played by tests/beds/adcs/authority.py, which shares no code with Muster and writes down who asked it for what.
# Usage: examples/in-front-of-ad-cs/run.sh [FOLDER]
. "$(dirname "$0")/../directory.sh"

ca="Corp Issuing CA"
export XDG_CACHE_HOME=$PWD/cache # where the client keeps policies
directory() { "$bed/directory.py" "$@"; }
openssl() { command openssl "$@" 2>>openssl.log; }

echo "the authority, with the directory's templates EnrollersUser and Machine, and the account svc-ces, which may delegate to it:"
mkdir -p adcs ca secrets && chmod 700 . secrets
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$ca" -keyout adcs/ca.key -out adcs/ca.pem
directory authority "$ca" ca1.corp.test adcs/ca.pem EnrollersUser Machine >/dev/null
directory set "$(directory dn svc-ces)" msDS-AllowedToDelegateTo HOST/ca1.corp.test RPCSS/ca1.corp.test >/dev/null
"$python" "$root/tests/beds/adcs/authority.py" --name "$ca" --ca adcs/ca.pem --ca-key adcs/ca.key --keytab "$BED_KEYTABS/ca1.keytab" \
    --sid-of "alice@CORP.TEST=$(directory sid alice)" --sid-of "PC1\$@CORP.TEST=$(directory sid 'PC1$')" --renew-on-behalf >adcs/calls 2>adcs/errors &
authority=$!
trap 'kill $authority 2>/dev/null || true' EXIT
until [[ -s adcs/calls ]]; do sleep 0.1; done
mapper=$(sed -n '1s/.*"mapper": \([0-9]*\).*/\1/p' adcs/calls)
# Its revocation list: without one, no certificate of it lets anybody in.
printf '[ca]\ndefault_ca=a\n[a]\ndatabase=adcs/index\ncrlnumber=adcs/number\ndefault_md=sha256\ndefault_crl_days=7\n' >adcs/crl.cnf
: >adcs/index && echo 01 >adcs/number
openssl ca -gencrl -config adcs/crl.cnf -cert adcs/ca.pem -keyfile adcs/ca.key -out adcs/ca.crl

echo "the service: a certificate for TLS, two keytabs, a configuration, and a store; no CA of its own:"
"$bed/certificate.sh" secrets/tls ces.corp.test 127.0.0.1
cp secrets/tls/ca.pem ca/ca.pem
cp "$BED_KEYTABS"/{http,svc-ces}.keytab secrets/
cat >muster.toml <<END
[ca."$ca"]
backend = "adcs"
server = "ca1.corp.test"
mapper_port = $mapper # of AD CS: 135, which is the default
certificates = ["adcs/ca.pem"]
account = "svc-ces@CORP.TEST"
keytab = "secrets/svc-ces.keytab"

[tls]
certificate = "secrets/tls/ces.corp.test.pem"
key = "secrets/tls/ces.corp.test.key"

[listener.main]
address = "127.0.0.1:9443"
url = "https://ces.corp.test:9443"

[listener.certificate]
address = "127.0.0.1:9444"
url = "https://ces.corp.test:9444"
client_certificate = true

[kerberos."CORP.TEST"]
keytab = "secrets/http.keytab"
services = ["HTTP/ces.corp.test"]

[directory."corp.test"]
servers = ["dc1.corp.test"]
account = "svc-ces@CORP.TEST"
keytab = "secrets/svc-ces.keytab"

[[client_trust]]
ca_file = "adcs/ca.pem"
crl_file = "adcs/ca.crl"
directory = "corp.test"

[[policy_endpoint]]
authentication = "kerberos"
listener = "main"

[[policy_endpoint]]
authentication = "client_certificate"
listener = "certificate"

# In the caller's name, by constrained delegation.
[[enrollment_endpoint]]
authentication = "kerberos"
listener = "main"
identity = "delegate"

# As the service, for the holder of the certificate that is renewed.
[[enrollment_endpoint]]
authentication = "client_certificate"
listener = "certificate"
identity = "renew_on_behalf"
renewal_only = true
END
"$muster" init --config muster.toml
"$muster" check-config --config muster.toml
serve
trap 'kill $server $authority 2>/dev/null || true' EXIT
ces=$base/${ca// /%20}_CES_Kerberos/service.svc/CES

saw() { # what the authority wrote down about requests, not about connections
    sed -n 's/.*"call": "\([^"]*\)".*"request_len": [1-9].*"who": "\([^"]*\)".*"level": "\([^"]*\)".*/    \1 by \2, \3/p' adcs/calls
}
ticket alice
echo "alice may have: $(templates)"
echo "alice enrolls with her ticket:"
enroll alice EnrollersUser
machine pc1 'PC1$'
echo "the computer PC1 enrolls:"
enroll pc1 Machine
echo "whom the authority saw:"
saw

ticket alice
echo "alice enrolls and renews with our client; the renewal, without a ticket, by her certificate alone:"
"$muster" enroll --policy-url "$cep" --ca-file ca/ca.pem --kerberos --template EnrollersUser --out own.pem >own.log
KRB5CCNAME=FILE:none "$muster" renew --policy-url "https://ces.corp.test:9444/ADPolicyProvider_CEP_Certificate/service.svc/CEP" --ca-file ca/ca.pem --force --cert own.pem >>own.log
saw | tail -2
grep '"on_behalf"' adcs/calls | sed 's/.*"by": "\([^"]*\)".*/    asked by \1, for the holder of the certificate/'

echo "the same requests in the service's store:"
"$muster" request --config muster.toml list

echo "the right to delegate is taken away; alice asks again:"
directory set "$(directory dn svc-ces)" msDS-AllowedToDelegateTo >/dev/null
before=$(saw | wc -l)
kill $server; wait $server 2>/dev/null || true
serve
trap 'kill $server $authority 2>/dev/null || true' EXIT
enroll refused EnrollersUser
echo "    the authority heard of $(($(saw | wc -l) - before)) requests"
