#!/bin/sh
# Makes the requests that vectors/pkcs10 and vectors/cms hold, with OpenSSL 3.0. Keys are thrown away.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
cat > req.cnf <<'CNF'
oid_section = oids
[oids]
template = 1.3.6.1.4.1.311.21.7
sid = 1.3.6.1.4.1.311.25.2
[req]
prompt = no
distinguished_name = dn
req_extensions = ext
[dn]
CN = host.example.com
[ext]
subjectAltName = DNS:host.example.com,email:a@example.com,IP:192.0.2.1,IP:2001:db8::1,URI:https://example.com/,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:user@example.com
extendedKeyUsage = serverAuth
keyUsage = critical,digitalSignature
template = ASN1:SEQUENCE:template
[template]
id = OID:1.3.6.1.4.1.311.21.8.1.2.3.4.5.6.7
major = INTEGER:100
minor = INTEGER:3
CNF
key() { openssl genpkey -quiet -out "$1.pem" -algorithm "$2" ${3:+-pkeyopt "$3"}; }
key rsa2048 RSA rsa_keygen_bits:2048
key rsa1024 RSA rsa_keygen_bits:1024
key rsa512 RSA rsa_keygen_bits:512
key rsa3 RSA rsa_keygen_pubexp:3
key p256 EC ec_paramgen_curve:P-256
key p384 EC ec_paramgen_curve:P-384
key p521 EC ec_paramgen_curve:P-521
key k256 EC ec_paramgen_curve:secp256k1
key ed25519 ED25519
key ed448 ED448
openssl ec -in p256.pem -conv_form compressed -out p256compressed.pem 2>/dev/null
openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out p256explicit.pem

req() { out=$1 key=$2; shift 2; openssl req -new -config req.cnf -key "$key.pem" -outform DER -out "$here/pkcs10/openssl-$out.der" "$@"; }
req rsa2048-sha256 rsa2048 -sha256
req rsa2048-sha384 rsa2048 -sha384
req rsa2048-sha1 rsa2048 -sha1
req rsa2048-md5 rsa2048 -md5
req rsa2048-pss rsa2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
req rsa2048-pss-salt20 rsa2048 -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
req rsa1024 rsa1024 -sha256
req rsa512 rsa512 -sha256
req rsa2048-e3 rsa3 -sha256
req p256 p256 -sha256
req p256-sha1 p256 -sha1
req p256-sha512 p256 -sha512
req p256-compressed p256compressed -sha256
req p256-explicit p256explicit -sha256
req p384 p384 -sha384
req p521 p521 -sha512
req secp256k1 k256 -sha256
req ed25519 ed25519
req ed448 ed448
sed '/^req_extensions/d' req.cnf > plain.cnf
openssl req -new -config plain.cnf -key p256.pem -subj / -outform DER -out "$here/pkcs10/openssl-empty.der"

openssl req -x509 -config req.cnf -key p384.pem -subj /CN=old -days 3650 -addext subjectKeyIdentifier=hash -out old.pem
sign() { out=$1; shift; openssl cms -sign -nodetach -in "$here/pkcs10/openssl-p256.der" -binary -signer old.pem -inkey p384.pem -outform DER -out "$here/cms/openssl-$out.der" "$@"; }
sign signed
sign signed-noattr -noattr
sign signed-keyid -keyid
sign signed-nocerts -nocerts
sign signed-stream -stream
openssl cms -sign -in "$here/pkcs10/openssl-p256.der" -binary -signer old.pem -inkey p384.pem -outform DER -out "$here/cms/openssl-detached.der"
openssl crl2pkcs7 -nocrl -certfile old.pem -outform DER -out "$here/cms/openssl-certs-only.der"
