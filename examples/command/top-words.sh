#!/bin/sh
# The most frequent words of a text, as a program of the kind `command`: standard input to standard output, one process
# per invocation. The pipeline is McIlroy's (Communications of the ACM 29:6, 1986). ?top= says how many words; 20 if not said.
set -eu
export LC_ALL=C
top=$(printf '%s' "${QUERY_STRING:-}" | tr '&' '\n' | sed -n 's/^top=\([0-9]\{1,9\}\)$/\1/p' | tail -n 1)
tr -cs "A-Za-z0-9'" '\n' | tr 'A-Z' 'a-z' | sed "s/^'*//; s/'*\$//; /^\$/d" | sort | uniq -c | sort -k1,1nr -k2 | sed -n "1,${top:-20}p"
