#!/bin/bash
# SPDX-License-Identifier: MIT
# The lab's own parts, as TAP.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/lab/messages.sh
. "$top/tests/lab/messages.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkfifo "$work/messages"
exec 3<>"$work/messages"
printf 'boot\nexit 7' >&3
got=''
next_message 3 1 && got+="$line;"
next_message 3 0.1 || got+="none;"
next_message 3 0.1 || got+="none;"
printf '5\ndone\n' >&3
next_message 3 1 && got+="$line;"
next_message 3 1 && got+="$line;"
want='boot;none;none;exit 75;done;'
if [ "$got" = "$want" ]; then
	echo "ok 1 - a message that comes in pieces is one"
else
	echo "not ok 1 - a message that comes in pieces is one: $got"
fi
echo 1..1
