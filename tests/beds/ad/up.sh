#!/usr/bin/env bash
# A real Active Directory (Samba) for the length of a command, without root and without a trace on the machine.
#
#   tests/beds/ad/up.sh [--forests] DIR COMMAND…
#   tests/beds/ad/up.sh --check          names the Debian packages that are missing
#
# In user, network and mount namespaces of its own (`unshare -Urnm`) it maps /etc/hosts and /etc/resolv.conf, starts domain controllers
# on loopback addresses, runs COMMAND, stops them, and ends as COMMAND ended. Without --forests there is CORP.TEST; with it also
# PARTNER.TEST, which CORP.TEST trusts and which trusts it, and OTHER.TEST, which nobody trusts. What is in them: world.py, templates.py.
# The first run makes them (4 s each) and keeps them in DIR; every run starts from there (half a second), so nothing that COMMAND
# changes survives it. When these scripts change, they are made again.
# BED_OVER=FOLDER: a second one beside one that runs; FOLDER, with copies of the files of DIR, stands in for it. BED_SMB=LINES: for
# the section global of the controllers' smb.conf.
#
# COMMAND sees
#   KRB5_CONFIG     realms and their KDCs
#   BED_DIR         DIR
#   BED_FORESTS     corp, or corp partner other
#   BED_REALM       CORP.TEST
#   BED_DC          127.0.0.2, the address of its domain controller dc1.corp.test (pdc1.partner.test: 127.0.0.3, odc1.other.test: 127.0.0.4)
#   BED_KEYTABS     folder of the keytabs that world.py names
#   BED_CA          folder with ca.pem, ca.key: the CA of LDAPS (636), and CORP-CA in the directory
#   BED_SAMBA       folder of the domain controller of CORP.TEST, for `samba-tool … -H $BED_SAMBA/private/sam.ldb`
# ces.corp.test and other names of services are 127.0.0.1.
#
# Debian's packages: samba samba-ad-provision samba-dsdb-modules python3-samba krb5-user ldap-utils libsasl2-modules-gssapi-mit
# iproute2 openssl util-linux.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1
here=$(dirname "$(realpath "$0")")

missing=()
for need in samba:samba kinit:krb5-user ldapsearch:ldap-utils ip:iproute2 openssl:openssl unshare:util-linux; do
    command -v "${need%:*}" >/dev/null || missing+=("${need#*:}")
done
[[ -s /usr/share/samba/setup/provision.ldif ]] || missing+=(samba-ad-provision)
compgen -G '/usr/lib/*/samba/ldb/samldb.so' >/dev/null || missing+=(samba-dsdb-modules)
compgen -G '/usr/lib/*/sasl2/libgssapiv2.so' >/dev/null || missing+=(libsasl2-modules-gssapi-mit)
/usr/bin/python3 -c 'import samba.samdb' 2>/dev/null || missing+=(python3-samba)
if [[ ${1:-} = --check ]]; then echo "${missing[*]}"; exit 0; fi

forests=(corp)
arguments=("$@")
if [[ ${1:-} = --forests ]]; then forests=(corp partner other); shift; fi
if (($# < 2)); then sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n -1 >&2; exit 64; fi
mkdir -p "$1"
bed=$(realpath "$1"); shift

fail() { echo "bed: $*" >&2; exit 69; }
((${#missing[@]} == 0)) || fail "needs Debian's packages ${missing[*]}"
if [[ ${BED_INSIDE:-} != "$$" ]]; then
    # Where user namespaces are not permitted, root may do without.
    for own in -Urnm -nm; do
        if unshare $own ip link set lo up 2>/dev/null; then BED_INSIDE=$$ exec unshare $own "$0" "${arguments[@]}"; fi
    done
    fail "may not make namespaces here: \`unshare -Urnm true\` has to work"
fi
unset BED_INSIDE
ip link set lo up
[[ -z ${BED_OVER:-} ]] || mount --bind "$BED_OVER" "$bed"

# Made once.
stamp=$(cat "$here"/*.{sh,py} | sha256sum)
if [[ $(cat "$bed/stamp" 2>/dev/null) != "$stamp ${forests[*]}" ]]; then
    rm -rf "$bed"/{corp,partner,other,keytabs,ca,stamp}
    for forest in "${forests[@]}"; do
        "$here/dc.py" provision "$forest" "$bed" >"$bed/provision-$forest.log" 2>&1 || fail "$(tail -n 3 "$bed/provision-$forest.log")"
    done
    if ((${#forests[@]} > 1)); then
        "$here/dc.py" trust corp partner "$bed" >"$bed/trust.log" 2>&1 || fail "$(tail -n 3 "$bed/trust.log")"
    fi
    tar -C "$bed" --sparse -cf "$bed/forests.tar" "${forests[@]}"
    echo "$stamp ${forests[*]}" >"$bed/stamp"
else
    for forest in "${forests[@]}"; do rm -rf "${bed:?}/$forest"; done
    tar -C "$bed" -xf "$bed/forests.tar"
fi

if [[ -n ${BED_SMB:-} ]]; then
    for forest in "${forests[@]}"; do sed -i "/^\[sysvol\]/i $BED_SMB" "$bed/$forest/etc/smb.conf"; done
fi

cat >"$bed/hosts" <<END
127.0.0.1 localhost pki.corp.test ces.corp.test ces ces2.corp.test alias.corp.test rc4.corp.test old.corp.test ca1.corp.test pc1.corp.test pc2.corp.test pc3.corp.test
127.0.0.1 ces.partner.test ppc1.partner.test ces.other.test
127.0.0.2 dc1.corp.test dc1
127.0.0.3 pdc1.partner.test pdc1
127.0.0.4 odc1.other.test odc1
END
echo 'nameserver 127.0.0.2' >"$bed/resolv.conf"
for file in hosts resolv.conf; do
    mount --bind "$bed/$file" "/etc/$file" 2>/dev/null || fail "cannot map /etc/$file"
done
cat >"$bed/krb5.conf" <<END
[libdefaults]
    default_realm = CORP.TEST
    dns_lookup_realm = false
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    rdns = false
    forwardable = true
    udp_preference_limit = 1
    default_ccache_name = FILE:$bed/ccache
[realms]
    CORP.TEST = {
        kdc = 127.0.0.2
        kpasswd_server = 127.0.0.2
    }
    PARTNER.TEST = {
        kdc = 127.0.0.3
        kpasswd_server = 127.0.0.3
    }
    OTHER.TEST = {
        kdc = 127.0.0.4
        kpasswd_server = 127.0.0.4
    }
[domain_realm]
    .corp.test = CORP.TEST
    corp.test = CORP.TEST
    .partner.test = PARTNER.TEST
    partner.test = PARTNER.TEST
    .other.test = OTHER.TEST
    other.test = OTHER.TEST
END
mkdir -p "$bed/rcache"
rm -f "$bed/ccache"

# Domain controllers, for as long as the command runs.
pids=()
stop() {
    if ((${#pids[@]})); then
        kill "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
}
trap stop EXIT
trap 'exit 143' TERM INT
for forest in "${forests[@]}"; do
    setpriv --pdeathsig TERM samba -s "$bed/$forest/etc/smb.conf" --debug-stdout -F -M single >"$bed/$forest/samba.log" 2>&1 </dev/null &
    pids+=($!)
done
await() {   # ADDRESS FOREST
    local port
    for _ in {1..300}; do
        for port in 53 88 389 464 636; do
            (exec 3<>"/dev/tcp/$1/$port") 2>/dev/null || { sleep 0.05; continue 2; }
        done
        return
    done
    fail "the domain controller of $2 does not start: $bed/$2/samba.log"
}
address=2
for forest in "${forests[@]}"; do await 127.0.0.$((address++)) "$forest"; done

export KRB5_CONFIG=$bed/krb5.conf KRB5RCACHEDIR=$bed/rcache LDAPTLS_CACERT=$bed/ca/ca.pem LDAPSASL_NOCANON=on
export BED_DIR=$bed BED_FORESTS=${forests[*]} BED_REALM=CORP.TEST BED_DC=127.0.0.2 BED_KEYTABS=$bed/keytabs BED_CA=$bed/ca BED_SAMBA=$bed/corp
status=0
setpriv --pdeathsig TERM "$@" <&0 &
pids+=($!)
wait $! || status=$?
exit $status
