# SPDX-License-Identifier: MIT
# shellcheck shell=dash disable=SC2154
# Disks that SeaBIOS boots. run.sh sources it, with seabios set to the folder of the images.

# make_boot_disk FILE [LETTER]: what guests/baremetal/bootsect.S is on, with its letter
make_boot_disk() {
	cp "$guests/bootsect.bin" "$1"
	truncate -s 1M "$1"
	printf '%s' "${2:-a}" | dd of="$1" bs=512 seek=7 conv=notrunc 2>/dev/null
}

# firmware NAME IMAGE [OPTION ...]: a disk that the BIOS boots, whose own console is COM1
firmware() {
	firmware_name=$1 firmware_image=$2
	shift 2
	timeout -k 2 120 "$bantam" run --firmware "$firmware_image" \
		--serial "file=$firmware_name.bios" --serial stdio "$@" <stdin \
		>"$firmware_name.out" 2>"$firmware_name.err" 9>&-
	status=$?
	verdicts "$firmware_name"
	is "$firmware_name: exit status" "$status" 0 "$firmware_name.err"
	is "$firmware_name: the BIOS prints on the serial port, before and after a restart" \
		"$(grep -c 'INT 10h says' "$firmware_name.bios")" 2 "$firmware_name.bios"
}

# The parts of a KiB that the BIOS keeps of RAM for itself: not more than 2 MiB.
has_ram() {
	check "$1: RAM of $2 MiB in the memory map" sh -c \
		'[ "$1" -le $(($2 * 1024)) ] && [ "$1" -gt $((($2 - 2) * 1024)) ]' sh \
		"$(sed -n 's/^# ram //p' "$1.tap")" "$2"
}

# unwritten IMAGE: how much is left of what was in the sector that the guest writes
unwritten() {
	dd if="$1" bs=512 skip=8 count=1 2>/dev/null | tr -d W | wc -c
}

test_firmware() {
	if ! [ -r "$seabios/bios-256k.bin" ]; then
		skip "firmware" "the package seabios is not installed"
		return
	fi
	make_boot_disk boot.img
	firmware firmware "$seabios/bios-256k.bin" --disk path=boot.img --exits=firmware.json \
		--firmware-log firmware.log
	has_ram firmware 256
	is "firmware: the size of the disk" "$(sed -n 's/^# sectors //p' firmware.tap)" 2048
	is "firmware: the sector that was written" "$(unwritten boot.img)" 0
	check "firmware: its log" grep -q 'Running on QEMU (i440fx)' firmware.log
	check "firmware: it finds the ACPI tables" grep -q 'ACPI: parse DSDT' firmware.log
	check "firmware: and the SMBIOS tables" grep -q 'Copying SMBIOS' firmware.log
	check "firmware: and does not complain" sh -c '! grep -i -e internal -e "unable to" firmware.log'
	check "firmware: fw_cfg in the exit report" \
		[ "$(json firmware.json total.ports.register=dma-address-low.device)" = fw-cfg ]
	check "firmware: and the write to the protected BIOS" \
		[ "$(json firmware.json total.mmio.device=shadow,register=f0000,direction=write.count)" = 1 ]

	make_boot_disk b.img b
	head -c 1048576 /dev/zero >empty.img
	firmware firmware-boot "$seabios/bios.bin" --disk path=empty.img --disk path=boot.img,boot=2 \
		--disk path=b.img,boot=1 --cpus 2 --memory 5G
	is "firmware-boot: the disk with boot=1" "$(sed -n 's/^# disk //p' firmware-boot.tap)" b
	has_ram firmware-boot 5120

	# The same disk behind the other front-end, and larger than CHS without translation is.
	make_boot_disk b.img b
	truncate -s 3G b.img
	firmware firmware-ide "$seabios/bios-256k.bin" --disk path=b.img,if=ide
	is "firmware-ide: the size of the disk" "$(sed -n 's/^# sectors //p' firmware-ide.tap)" 6291456
	is "firmware-ide: the sector that was written" "$(unwritten b.img)" 0
	rm -f -- boot.img b.img empty.img
}
