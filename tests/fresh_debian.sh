#!/usr/bin/env bash
# The README's two commands in a Debian 12 made by debootstrap, on a clone of HEAD. Needs root, about
# 4 GB of disk and an hour; run by `./dev test --long`.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "SKIPPED: debootstrap needs root" >&2; exit 0; }
command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null

# The mirror that this machine itself uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -1 || true)
root=$(mktemp -d)
cleanup() {
  for folder in proc dev/pts dev sys; do mountpoint -q "$root/$folder" && umount "$root/$folder"; done
  rm -rf --one-file-system "$root"
}
trap cleanup EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" ${mirror:+"$mirror"} >/dev/null
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" # a proxy, if there is one
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
git clone -q . "$root/baleen"
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"; }
inside bash -c 'update-ca-certificates >/dev/null 2>&1; apt-get update -qq && apt-get install -y -qq git >/dev/null'
inside bash -c 'git config --global --add safe.directory /baleen; cd /baleen && ./dev demo --tokens 20000 && ./dev test'
