# SPDX-License-Identifier: Apache-2.0
# Medians of the rounds as a table, or as JSON. Input: SYSTEM full|paced KEY=VALUE...
# Variables: json, rate, rounds, seconds, cores.

function median(key,    n, i, j, t, v) {
	n = count[key]
	for (i = 1; i <= n; i++) v[i] = value[key, i] + 0
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
			t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
		}
	return n % 2 ? v[(n + 1) / 2] : n ? (v[n / 2] + v[n / 2 + 1]) / 2 : 0
}

# 1234567 -> 1,234,567
function grouped(n,    text, out) {
	text = sprintf("%.0f", n)
	for (; length(text) > 3; text = substr(text, 1, length(text) - 3))
		out = "," substr(text, length(text) - 2) out
	return text out
}

function ms(us) {
	return sprintf("%.2f ms", us / 1000)
}

function ratio(a, b) {
	return b > 0 ? sprintf("%.2f", a / b) : "-"
}

function row(title, key, form,    i, s, text) {
	printf "%-34s", title
	for (i = 1; i <= systems; i++) {
		s = median(name[i] SUBSEP key)
		text = form == "n" ? grouped(s) : form == "ms" ? ms(s) : sprintf(form, s)
		printf "%14s", text
	}
	for (i = 1; i <= systems; i++)
		if (name[i] != "hedgerow" && known["hedgerow"])
			printf "%14s", ratio(median("hedgerow" SUBSEP key), median(name[i] SUBSEP key))
	printf "\n"
}

{
	if (!known[$1]++) name[++systems] = $1
	for (i = 3; i <= NF; i++) {
		if ($i ~ /^complaint=/) break
		at = index($i, "=")
		key = $1 SUBSEP $2 "." substr($i, 1, at - 1)
		value[key, ++count[key]] = substr($i, at + 1)
		if ($i ~ /^(lost|duplicates|disordered|strays|wrong|errors)=/)
			bad[$1] += substr($i, at + 1)
	}
}

END {
	if (json) {
		printf "{"
		for (i = 1; i <= systems; i++) {
			s = name[i] SUBSEP
			printf "%s\"%s\":{\"messages_per_s\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f," \
			       "\"cpu_us_per_message\":%.2f,\"wire_bytes_per_message\":%.1f," \
			       "\"cpu_us_per_message_paced\":%.2f,\"full_p50_us\":%.0f,\"window\":%d,\"faults\":%d}",
			       (i > 1 ? "," : ""), name[i], median(s "full.messages_per_s"),
			       median(s "paced.p50_us"), median(s "paced.p99_us"),
			       median(s "full.cpu_us_per_message"), median(s "full.wire_bytes_per_message"),
			       median(s "paced.cpu_us_per_message"), median(s "full.p50_us"),
			       median(s "full.window"), bad[name[i]]
		}
		printf "}\n"
		exit
	}
	printf "\n%-34s", "median of " rounds " rounds of " seconds " s"
	for (i = 1; i <= systems; i++) printf "%14s", name[i]
	for (i = 1; i <= systems; i++)
		if (name[i] != "hedgerow" && known["hedgerow"]) printf "%14s", "ours/" name[i]
	printf "\n"
	row("messages/s, full rate", "full.messages_per_s", "n")
	row("p50 at " grouped(rate) "/s", "paced.p50_us", "ms")
	row("p99 at " grouped(rate) "/s", "paced.p99_us", "ms")
	row("CPU per 1,000 messages, full rate", "full.cpu_us_per_message", "%.1f ms")
	row("CPU per 1,000 messages at " grouped(rate) "/s", "paced.cpu_us_per_message", "%.1f ms")
	row("bytes on the wire per message", "full.wire_bytes_per_message", "%.0f")
	row("the same at " grouped(rate) "/s", "paced.wire_bytes_per_message", "%.0f")
	row("messages under way at full rate", "full.window", "n")
	row("their median latency", "full.p50_us", "ms")
	row("load generator, CPU per 1,000", "full.load_us_per_message", "%.1f ms")
	row("processors busy with other things", "full.elsewhere", "%.2f")
	printf "\n"
	for (i = 1; i <= systems; i++) {
		s = name[i] SUBSEP
		rate_full = median(s "full.messages_per_s")
		cpu = rate_full * median(s "full.cpu_us_per_message") / 1e6
		load = rate_full * median(s "full.load_us_per_message") / 1e6
		other = median(s "full.elsewhere")
		printf "%s at full rate: %.2f processors of %d, the load generator %.2f, others %.2f: %s. %s.\n",
		       name[i], cpu, cores, load, other,
		       (cpu + load + other > 0.93 * cores ? "the processors are the limit" : \
			"something waits (for one busy thread, or the disk)"),
		       (bad[name[i]] ? bad[name[i]] " FAULTS (lost, twice, out of order or wrong)" : \
			"Every message arrived once, whole and in order")
	}
	s = "hedgerow" SUBSEP "full.cpu_us_"
	if (known["hedgerow"])
		printf "Of hedgerow's CPU per 1,000 messages the gateways take %.1f + %.1f ms, PostgreSQL %.1f + %.1f ms (journal, and replication reading past it).\n",
		       median(s 1), median(s 2), median(s 3), median(s 4)
	printf "Wire bytes are TCP payload both ways between the two sites, as the kernel counts it.\n"
	printf "Hedgerow is durable at both sites (fsync on); the others keep nothing.\n"
}
