#!/bin/bash
# SPDX-License-Identifier: MIT
# Make a disk as a Debian installation leaves it: a partition table, GRUB in the MBR and the gap
# behind it, a minimal Debian of this machine's release on ext4, with systemd, a login on the first
# serial port, and a network that asks for its address. Needs no loop device and mounts nothing of
# this machine.
#
# Usage: mkdebian.sh OUTDIR
#
# Prints the path of the raw image, 1 GiB of which about 300 MiB are used. It is made anew when this
# script has changed, which takes about a minute. The user root has the password "bantam". The
# initrd is small, as the BIOS reads it by PIO, and finds its root on IDE and on virtio.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

PASSWORD=bantam
SIZE_KIB=$((1024 * 1024))
START=2048 # of the partition, in sectors, as every tool for partitions has it
GRUB=/usr/lib/grub/i386-pc

die() {
	echo "mkdebian: $*" >&2
	exit 1
}

[ $# = 1 ] || die "usage: mkdebian.sh OUTDIR"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9>"$out/.lock"
flock 9

image=$out/debian-$(sha256sum "$here/mkdebian.sh" | cut -c 1-12).img
if [ -e "$image" ]; then
	echo "$image"
	exit 0
fi
for tool in mmdebstrap sfdisk mke2fs grub-mkimage; do
	command -v $tool >/dev/null || die "$tool is not installed: run tests/deps.sh disk"
done
[ -e $GRUB/boot.img ] || die "no $GRUB: run tests/deps.sh disk"
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
[ -n "$release" ] || die "this is not a Debian release"

# Root, or the user namespace in which mmdebstrap builds: files belong to who they shall.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		mmdebstrap --unshare-helper "$@"
	fi
}

# The namespace's root is another user outside, who has to get at what is here, and who alone can
# remove what he owns.
work=$(mktemp -d)
# shellcheck disable=SC2317
finish() {
	[ ! -e "$work/tree/root" ] || as_root rm -rf "$work/tree/root"
	rm -rf "$work"
}
trap finish EXIT
umask 022
chmod 755 "$work"
mkdir -m 777 "$work/tree"
root=$work/tree/root
echo "making: a disk with Debian $release, into the cache" >&2

# --- the files ---

"$here/apt-sources.sh" "$release" | sed "s/.*/deb & $release main/" >"$work/sources.list"
[ -s "$work/sources.list" ] || die "apt's sources name no archive for $release"

# What is set before the kernel is installed, so that its initrd is made once.
cat >"$work/early" <<'END'
#!/bin/sh
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf '%s\n' MODULES=list BUSYBOX=n RESUME=none >"$1/etc/initramfs-tools/conf.d/small"
printf '%s\n' ata_piix sd_mod virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/disk"
END

cat >"$work/late" <<END
#!/bin/sh
set -e
echo debian >"\$1/etc/hostname"
echo '127.0.0.1 localhost debian' >"\$1/etc/hosts"
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >"\$1/etc/fstab"
echo root:$PASSWORD | chroot "\$1" chpasswd
# Without an identity it would be a first boot, which asks questions.
sha256sum "\$1/etc/fstab" | cut -c 1-32 >"\$1/etc/machine-id"
: >"\$1/etc/apt/sources.list"
# A network card that is there gets an address, and nothing waits for one.
printf '%s\n' '[Match]' Type=ether '[Network]' DHCP=yes >"\$1/etc/systemd/network/wired.network"
chroot "\$1" systemctl enable systemd-networkd.service
# No archive can be reached, and there is no second terminal.
chroot "\$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer getty-static.service \
	systemd-networkd-wait-online.service
END
chmod +x "$work/early" "$work/late"

bootstrap() {
	mmdebstrap --quiet --mode="$1" --variant=minbase --architectures=amd64 \
		--include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,login \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--essential-hook="$work/early" --customize-hook="$work/late" \
		"$release" "$work/root.tar" "$work/sources.list" >"$work/log" 2>&1
}
# Where users may make no namespaces, root can still do without.
if ! bootstrap unshare; then
	mv "$work/log" "$work/log.unshare"
	if [ "$(id -u)" != 0 ] || ! bootstrap root; then
		cat "$work"/log* >&2
		die "mmdebstrap failed"
	fi
fi
as_root mkdir "$root"
as_root tar -x -f "$work/root.tar" -C "$root" --exclude='./dev/*'
rm "$work/root.tar"

# --- GRUB ---

mkdir -p "$work/grub/i386-pc"
cp $GRUB/*.mod $GRUB/*.lst "$work/grub/i386-pc/"
cat >"$work/grub/grub.cfg" <<'END'
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=2
menuentry "Debian GNU/Linux" {
	linux /vmlinuz root=LABEL=root ro console=ttyS0 quiet
	initrd /initrd.img
}
END
as_root cp -R "$work/grub" "$root/boot/"
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2
[ "$(wc -c <"$work/core.img")" -le $(((START - 1) * 512)) ] || die "GRUB is too large"

# --- the disk ---

truncate -s ${SIZE_KIB}K "$work/image"
chmod 666 "$work/image"
echo "start=$START,type=83,bootable" | sfdisk --quiet --label dos "$work/image"
# GRUB 2.06 does not read file systems with a seed for their checksums.
as_root mke2fs -q -F -t ext4 -L root -O ^metadata_csum_seed -E lazy_itable_init=0,offset=$((START * 512)) \
	-d "$root" "$work/image" $((SIZE_KIB - START / 2))K >/dev/null
# The MBR's code ends where the partition table begins.
dd if=$GRUB/boot.img of="$work/image" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$work/image" bs=512 seek=1 conv=notrunc status=none

rm -f "$out"/debian-*.img*
cp --sparse=always "$work/image" "$image.tmp"
mv "$image.tmp" "$image"
echo "$image"
