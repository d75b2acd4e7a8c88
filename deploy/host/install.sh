#!/bin/sh
# Installs Tidings on this host, or puts a new version in place of the old: the binary, its user, its units, its
# configuration and the kernel's settings. Run as root, from anywhere, as often as you like:
#
#   deploy/host/install.sh [--start] [--socket] [--root FOLDER] BINARY
#
# --start   enables and starts it; a running one is restarted: it drains first, for up to 45 s.
# --socket  with --start: systemd keeps the port (tidings.socket), so that later restarts refuse no connection; in this one, if it is
#           the first, the port changes hands. With --root: only sees to it that the configuration has the unit's port.
# --root    writes below FOLDER, for an image, and neither makes a user nor asks systemd.
#
# A configuration that is there is kept. Nothing is downloaded, and no secret is made or printed.
set -eu

fail() { echo "install.sh: $1" >&2; exit "${2:-1}"; }
usage() { fail "$1; usage: install.sh [--start] [--socket] [--root FOLDER] BINARY" 2; }

root='' start=no socket=no binary=''
while [ $# -gt 0 ]; do
  case "$1" in
    --start) start=yes ;;
    --socket) socket=yes ;;
    --root) [ -n "${2:-}" ] || usage "--root wants a folder"; root=${2%/}; shift ;;
    -*) usage "there is no option $1" ;;
    *) [ -z "$binary" ] || usage "one binary only"; binary=$1 ;;
  esac
  shift
done
[ -n "$binary" ] || usage "no binary was named"
[ -f "$binary" ] || fail "$binary is not there: cargo build --release --locked -p tidings-cli makes target/release/tidings"
version=$("$binary" --version 2>/dev/null) || fail "$binary does not run on this host: build it for this machine"
case "$version" in 'tidings '*) ;; *) fail "$binary is not tidings: it says '$version'" ;; esac
[ -z "$root" ] || [ "$start" = no ] || usage "--start and --root exclude each other"
[ "$socket" = no ] || [ "$start$root" != no ] || usage "--socket goes with --start"
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "must run as root: it writes to /usr/local/bin and /etc"
[ -n "$root" ] || command -v systemctl >/dev/null || fail "there is no systemd on this host: run 'tidings serve' under what it has"

here=$(cd "$(dirname "$0")/.." && pwd)
config=$root/etc/tidings/tidings.toml
if [ -e "$config" ]; then
  # Before anything is replaced: an upgrade may know fewer keys.
  settings=$("$binary" config --config "$config") || fail "$version does not read $config: mend it; nothing was changed"
  # The socket of the unit would take the place of the configured one without a word.
  if [ "$socket" = yes ] && [ ! -d "$root/etc/systemd/system/tidings.socket.d" ]; then
    port=$(sed -n 's/^ListenStream=//p' "$here/systemd/tidings.socket")
    echo "$settings" | grep -q "^ *server\.listen .*\"$port\"" ||
      fail "$config has another server.listen than tidings.socket, which is $port: 'systemctl edit tidings.socket' first; nothing was changed"
  fi
fi

umask 022

if [ -z "$root" ] && ! id tidings >/dev/null 2>&1; then
  useradd --system --user-group --no-create-home --home-dir /var/lib/tidings --shell /usr/sbin/nologin tidings
fi

# FILE MODE TARGET: whole or not at all, also while the old one runs.
place() {
  mkdir -p "$root$(dirname "$3")"
  draft=$root$3.new
  cp "$1" "$draft"
  chmod "$2" "$draft"
  mv -f "$draft" "$root$3"
}

place "$binary" 0755 /usr/local/bin/tidings
place "$here/systemd/tidings.service" 0644 /etc/systemd/system/tidings.service
place "$here/systemd/tidings.socket" 0644 /etc/systemd/system/tidings.socket
place "$here/sysctl/60-tidings.conf" 0644 /etc/sysctl.d/60-tidings.conf

# It may name files with secrets: for root to write and for Tidings to read.
mkdir -p "$root/etc/tidings"
chmod 0750 "$root/etc/tidings"
if [ ! -e "$config" ]; then
  # The data folder is the unit's.
  printf '[server]\nlisten = "127.0.0.1:3000"\n\n[drain]\n# A node that stops still answers for so long, unready: for a balancer to see it.\nnotice = "5s"\n' >"$config"
  chmod 0640 "$config"
fi
if [ -z "$root" ]; then
  chgrp tidings /etc/tidings
  chgrp tidings "$config"
fi
echo "installed $version"
[ -z "$root" ] || exit 0
sysctl --quiet --load /etc/sysctl.d/60-tidings.conf || echo "not all of /etc/sysctl.d/60-tidings.conf could be set (a container?)" >&2
systemctl daemon-reload
if [ "$start" = yes ]; then
  systemctl enable --quiet tidings.service
  if [ "$socket" = yes ]; then
    systemctl enable --quiet tidings.socket
    # It cannot start while the service has the port.
    systemctl is-active --quiet tidings.socket || { systemctl stop tidings.service && systemctl start tidings.socket; }
  fi
  systemctl restart tidings.service
  systemctl --no-pager --lines 0 status tidings.service
else
  echo "next: systemctl enable --now tidings.socket tidings.service (or the service alone, which then binds the port itself)"
fi
