#!/bin/sh
# Installs Tidings on a Debian host with systemd, or brings an installed one up to date: run it as root from the repository's root, with the
# binary to install (make build makes target/release/tidings). Run again it changes only what is different, and never the configuration.
#   deploy/host/install.sh target/release/tidings
set -eu
binary=${1:?usage: deploy/host/install.sh BINARY}
here=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
"$binary" --version >/dev/null || { echo "install.sh: $binary does not run here" >&2; exit 1; }

getent passwd tidings >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin tidings
install -d -m 0750 -o root -g tidings /etc/tidings
if [ ! -e /etc/tidings/tidings.toml ]; then
  install -m 0640 -o root -g tidings /dev/null /etc/tidings/tidings.toml
  cat >/etc/tidings/tidings.toml <<'TOML'
# Every key is in docs/configuration.md; `tidings config --config /etc/tidings/tidings.toml` prints what is in force.
[server]
listen = "127.0.0.1:3000"
TOML
fi

# Under another name first: a running binary cannot be overwritten, and a half one must not be started.
install -m 0755 "$binary" /usr/local/bin/.tidings.new
mv -f /usr/local/bin/.tidings.new /usr/local/bin/tidings
install -m 0644 "$here/systemd/tidings.service" /etc/systemd/system/tidings.service
install -m 0644 "$here/sysctl/60-tidings.conf" /etc/sysctl.d/60-tidings.conf
tidings config --config /etc/tidings/tidings.toml >/dev/null
sysctl --quiet --load /etc/sysctl.d/60-tidings.conf

systemctl daemon-reload
systemctl enable --quiet tidings
# A restart drains: connections are told when to come back.
systemctl restart tidings
timeout 60 sh -c 'until /usr/local/bin/tidings health --data /var/lib/tidings >/dev/null 2>&1; do sleep 1; done' || {
  echo "install.sh: it does not answer; see: journalctl -u tidings" >&2
  exit 1
}
echo "Tidings answers on the address of /etc/tidings/tidings.toml. The administrator's key: /var/lib/tidings/admin.key"
