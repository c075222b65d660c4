#!/bin/sh
# SPDX-License-Identifier: MIT
# Medians and spread of a bench's lines "NAME FIGURE...", whose columns are named by a first line
# "# what COLUMN..."; and each column's ratio to the first NAME.
# Usage: summary.sh FILE
exec awk '
function sort(a, n,   i, k, v) {
	for (i = 2; i <= n; i++) {
		v = a[i]
		for (k = i - 1; k > 0 && a[k] > v; k--)
			a[k + 1] = a[k]
		a[k + 1] = v
	}
}
$1 == "#" && !columns { columns = NF - 2; for (c = 1; c <= columns; c++) title[c] = $(c + 2); next }
$1 == "#" || NF < columns + 1 { next }
!($1 in runs) { order[++names] = $1 }
{ r = ++runs[$1]; for (c = 1; c <= columns; c++) value[$1, c, r] = $(c + 1) + 0 }
END {
	printf "%-16s %4s", "", "runs"
	for (c = 1; c <= columns; c++)
		printf " %26s", title[c]
	printf "\n"
	for (i = 1; i <= names; i++) {
		name = order[i]
		printf "%-16s %4d", name, runs[name]
		for (c = 1; c <= columns; c++) {
			n = runs[name]
			for (r = 1; r <= n; r++)
				a[r] = value[name, c, r]
			sort(a, n)
			m = n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
			if (i == 1)
				base[c] = m
			printf " %26s", sprintf("%g [%g..%g] %.2fx", m, a[1], a[n], base[c] ? m / base[c] : 0)
		}
		printf "\n"
	}
	print "median [smallest..largest], and the ratio to " order[1]
}' "$1"
