# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Medians, tables and bars out of $csv, whose lines are "CASE NAME FIGURE..." under a first line
# "# case NAME COLUMN...", or "count NAME REQUESTS" and a row of bantam's table of registers. Sourced by
# what draws them, with $top and $work set.

# median CASE NAME COLUMN: of one part's figures; csv is its file
median() {
	awk -v kind="$1" -v name="$2" -v column="$3" '$1 == kind && $2 == name { print $column }' "$csv" | sort -g |
		awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# tables: every case's medians and spread
tables() {
	local case
	while read -r case; do
		{
			grep '^# case' "$csv" | sed 's/case //'
			awk -v kind="$case" '$1 == kind' "$csv" | cut -d ' ' -f 2-
		} >"$work/case"
		echo
		echo "$case:"
		"$top/bench/summary.sh" "$work/case" | sed '$d'
	done < <(awk '!/^#|^count/ && !seen[$1]++ { print $1 }' "$csv")
	echo "median [smallest..largest], and the ratio to the first"
	echo
}

# added NAME REGISTER [all]: exits to registers that match, for each of the requests that the longer run
# has more than the shorter one. What has fewer exits than requests belongs to the boot, unless all are asked for:
# where accesses are merged, a request may have none.
added() {
	awk -v name="$1" -v register="$2" -v all="${3:-}" '$1 == "count" && $2 == name && $4 ~ register &&
		(all || $8 >= $3) {
			if (!first)
				first = $3
			last = $3
			n[$3] += $8
		}
		END {
			if (last > first)
				print (n[last] - n[first]) / (last - first)
			else
				print "none"
		}' "$csv"
}

# bar WHAT VALUE at-least|at-most|less-than|exactly LIMIT
bar() {
	awk -v what="$1" -v value="$2" -v how="$3" -v limit="$4" 'BEGIN {
		v = value + 0
		l = limit + 0
		met = how == "at-least" ? v >= l : how == "at-most" ? v <= l : how == "less-than" ? v < l : v == l
		unknown = value == "none" || v < 0 || limit == "" || limit == "none"
		printf "%-60s %8.2f, %s %g: %s\n", what, value, how, limit, unknown ? "NOT MEASURED" : met ? "met" : "MISSED"
	}'
}

ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { print (b > 0 ? a / b : 0) }'
}
