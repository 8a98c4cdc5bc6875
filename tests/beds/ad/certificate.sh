#!/usr/bin/env bash
# The bed's CA, and a server certificate from it:   certificate.sh FOLDER DNS-NAME ADDRESS
set -euo pipefail
mkdir -p "$1"
cd "$1"
name=$2 address=$3
days=7300
if [[ ! -s ca.pem ]]; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days $days -subj '/DC=test/DC=corp/CN=CORP-CA' \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
fi
openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:%s,IP:%s\n' \
    "$name" "$address" >"$name.ext"
openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days $days -extfile "$name.ext" -out "$name.pem" 2>/dev/null
chmod 600 "$name.key" ca.key
rm "$name.csr" "$name.ext"
