#!/bin/sh
# Makes the certificates of this directory anew: an authority, two hosts it knows, a stranger, and two that
# signed themselves, as openssl makes them unless told otherwise; one of them is out of date.
set -eu
cd "$(dirname "$0")"
make() { # NAME SUBJECT_ALT_NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
    rm "$1.csr" "$1.ext"
}
alone() { # NAME FROM TO, as YYYYMMDD
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
    : > index.txt; echo 01 > serial
    printf '[ca]\ndefault_ca=c\n[c]\nnew_certs_dir=.\ndatabase=index.txt\nserial=serial\npolicy=p\nx509_extensions=x\n' > ca.conf
    printf '[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:a.test\nbasicConstraints=critical,CA:TRUE\n' >> ca.conf
    openssl ca -batch -config ca.conf -selfsign -keyfile "$1.key" -in "$1.csr" -md sha256 -notext \
        -startdate "$2000000Z" -enddate "$3000000Z" -out "$1.pem" 2>/dev/null
    rm -f "$1.csr" ca.conf index.txt* serial* ./[0-9A-F]*.pem
}
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -subj "/CN=$1" -days 36500 -out ca.pem 2>/dev/null
}
authority "stranger's authority"
make stranger DNS:a.test
authority "test authority"
make a DNS:a.test,IP:127.0.0.1
make b DNS:b.test
rm ca.key ca.srl
alone own 20250101 21251231
alone old 20240101 20250101
