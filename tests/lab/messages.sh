# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What L1 says, line by line; for tests/lab/lab.

part=''

# next_message FD SECONDS: the next whole line in $line; false where there is none in that time. What has come
# of a line by then is kept for the next call: its writer may be in the middle of it.
next_message() {
	if ! IFS= read -r -t "$2" -u "$1" line; then
		part+=$line
		return 1
	fi
	line=$part$line part=''
}
