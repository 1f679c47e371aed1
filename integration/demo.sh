#!/usr/bin/env bash
# demo.sh [BINARY]: the main job on a real disk image: back up, change, back up again,
# look, mount, copy a file out, copy and restore the disk, compare, check. Needs no root.
# Everything lies in a temporary folder that is removed at the end.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
binary=$(realpath "${1:-bin/holdfast}")

enough_memory() { [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -gt $((6 << 20)) ] 2>/dev/null; }
if [ -n "${TMPDIR:-}" ]; then base=$TMPDIR; elif enough_memory; then base=/dev/shm; else base=/var/tmp; fi
work=$(mktemp -d "$base/holdfast-demo-XXXXXX")
mounter=
began=$EPOCHREALTIME

cleanup() {
	status=$?
	trap - EXIT INT TERM
	unmount || true
	cd / && rm -rf "$work"
	[ "$status" = 0 ] || echo "the demo ended early, with exit code $status"
	exit "$status"
}
unmount() {
	[ -n "$mounter" ] || return 0
	kill "$mounter" 2>/dev/null || true
	wait "$mounter" 2>/dev/null || true
	mounter=
	! mountpoint -q "$work/mnt" || fusermount3 -uz "$work/mnt"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

seconds() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }
say() { printf '\n== %s\n' "$*"; }
run() { # show a command, then run it and say how long it took
	local shown='$' word from=$EPOCHREALTIME
	for word in "$@"; do
		case $word in *' '*) shown+=" '$word'" ;; *) shown+=" $word" ;; esac
	done
	echo "$shown"
	if [ "$1" = debugfs ]; then "$@" >/dev/null 2>&1; else "$@"; fi
	printf '  (%s)\n' "$(seconds "$from")"
}

cd "$work"
mkdir bin stage mnt out
ln -s "$binary" bin/holdfast
PATH=$work/bin:$PATH
export HOLDFAST_VAULT=$work/vault

say "a disk: an ext4 file system of 4 GiB with 1 GiB of this machine's files, in $work"
find /usr/share /usr/lib -xdev -type f -size +16k -size -64M -readable -printf '%s %p\n' 2>/dev/null | grep -v '[^ ]* .*[[:space:]"]' |
	awk '{ sum += $1; if (sum > 2^30) exit; print $2 }' >files || true
tar -c -P -T files --ignore-failed-read 2>/dev/null | tar -x -C stage --strip-components=1 2>/dev/null || true
mkdir -p stage/srv && seq 1 2000000 >stage/srv/numbers.txt
truncate -s 4G web1.raw
run mkfs.ext4 -q -F -d stage web1.raw
rm -rf stage
sha256sum web1.raw | cut -d' ' -f1 >first.sha256
want=$(debugfs -R 'cat /srv/numbers.txt' web1.raw 2>/dev/null | sha256sum)

say "a vault, and the first backup"
run holdfast vault create vault
run holdfast backup web1 --disk vda=web1.raw

say "a day goes by: a file is removed, one is added (debugfs writes into the image)"
seq 1 3000000 | sed 's/^/order /' >orders.txt
run debugfs -w -R 'rm /srv/numbers.txt' web1.raw
run debugfs -w -R 'write orders.txt orders.txt' web1.raw

say "the second backup stores what changed"
run holdfast backup web1 --disk vda=web1.raw
run holdfast points web1
first=$(holdfast points web1 --json | grep -o '"id": *"p[0-9a-f]*"' | head -1 | grep -o 'p[0-9a-f]\{16\}')
run holdfast diff "web1@$first" web1@latest

say "both points are there as plain files"
echo '$ holdfast mount mnt &'
holdfast mount mnt 2>mount.log &
mounter=$!
for _ in $(seq 200); do mountpoint -q mnt && break; sleep 0.05; done
mountpoint -q mnt || { cat mount.log; exit 1; }
run ls mnt/web1
run ls -lsh mnt/web1/latest/disks

say "the removed file comes back out of the first point's disk"
old=$(dirname "$(grep -l "$first" mnt/web1/*/point.json | head -1)")
run debugfs -R 'dump /srv/numbers.txt out/numbers.txt' "$old/disks/vda.raw"
[ "$(sha256sum <out/numbers.txt)" = "$want" ] && echo "  the same bytes as on the first day: $(wc -c <out/numbers.txt) bytes"

say "the whole disk, copied through the mount"
run cp --sparse=always mnt/web1/latest/disks/vda.raw out/copy.raw
run cmp out/copy.raw web1.raw
rm out/copy.raw
unmount

say "and restored: the first day raw, the second as qcow2"
run holdfast restore "web1@$first" --to out/first.raw
[ "$(sha256sum out/first.raw | cut -d' ' -f1)" = "$(cat first.sha256)" ] && echo "  the same disk as on the first day"
run holdfast restore web1@latest --to out/second.qcow2 --format qcow2
run qemu-img compare -f raw -F qcow2 web1.raw out/second.qcow2

say "every block of the vault, read and hashed"
run holdfast check --data
run du -sh vault web1.raw
printf '\nThe demo took %s. All comparisons held.\n' "$(seconds "$began")"
