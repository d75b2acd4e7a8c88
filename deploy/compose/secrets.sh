#!/bin/sh
# Makes the secrets that compose.yaml reads, those that are missing: one that changes would lock the services out of their data.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
make() { [ -e "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"; }

make postgres-password "$(openssl rand -hex 24)"
make grafana-password "$(openssl rand -hex 16)"
make master-key "$(openssl rand -base64 32)"
make store "postgres://tidings:$(cat secrets/postgres-password)@postgres/tidings"
make redis "redis://redis"
# Tidings reads them as 65532; on this host nobody comes through the folder but its owner.
chmod 0700 secrets
chmod 0644 secrets/*
