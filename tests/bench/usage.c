/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/usage.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROCESSES_MAX = 16384, TCP_IS_ESTABLISHED = 1 };

struct process {
	pid_t pid, parent;
	int64_t ticks;
	size_t root; /* index of its root, + 1; 0: of none */
};

static int64_t tick_us(void)
{
	return 1000000 / sysconf(_SC_CLK_TCK);
}

/* /proc/PID/stat: pid (name) state ppid ... with utime, stime, cutime, cstime as fields 14 to 17.
 */
static bool read_process(const char *pid, struct process *out)
{
	char path[64], text[1024];
	int parent;
	unsigned long own[2];
	long waited[2];

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false; /* it has just ended */
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	const char *rest = strrchr(text, ')'); /* the name may hold anything */
	if (!rest || sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld",
			    &parent, &own[0], &own[1], &waited[0], &waited[1]) != 5)
		return false;
	*out = (struct process){ .pid = (pid_t)strtol(pid, NULL, 10),
				 .parent = parent,
				 .ticks = (int64_t)(own[0] + own[1]) + waited[0] + waited[1] };
	return true;
}

static size_t read_processes(struct process *out)
{
	size_t count = 0;
	DIR *dir = opendir("/proc");

	if (!dir)
		return 0;
	for (struct dirent *entry = readdir(dir); entry && count < PROCESSES_MAX;
	     entry = readdir(dir))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    read_process(entry->d_name, &out[count]))
			count++;
	closedir(dir);
	return count;
}

static size_t root_of(pid_t pid, const struct process *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].pid == pid)
			return all[i].root;
	return 0;
}

/* Gives each process the root of its parent, until nothing changes: a list of processes is in no
 * order that would put parents first. */
static void spread_roots(struct process *all, size_t count)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			if (all[i].root)
				continue;
			all[i].root = root_of(all[i].parent, all, count);
			more = more || all[i].root;
		}
	}
}

enum hr_status usage_cpu(const pid_t *roots, size_t count, int64_t us[USAGE_ROOTS_MAX],
			 struct hr_err *err)
{
	struct process *all = mem_array(struct process, PROCESSES_MAX);
	size_t total = read_processes(all), found = 0;
	int64_t sum[USAGE_ROOTS_MAX + 1] = { 0 };

	for (size_t i = 0; i < total; i++)
		for (size_t root = 0; root < count; root++)
			if (all[i].pid == roots[root]) {
				all[i].root = root + 1;
				found++;
			}
	spread_roots(all, total);
	for (size_t i = 0; i < total; i++)
		sum[all[i].root] += all[i].ticks * tick_us();
	free(all);
	if (found != count)
		return err_set(err, HR_FAIL, "a process under test is gone");
	memcpy(us, sum + 1, count * sizeof *us);
	return HR_OK;
}

/* The first line of /proc/stat: cpu user nice system idle iowait irq softirq steal ... */
enum hr_status usage_machine(int64_t *us, struct hr_err *err)
{
	unsigned long long t[8];
	FILE *file = fopen("/proc/stat", "re");

	if (!file)
		return err_set(err, HR_FAIL, "/proc/stat: %s", strerror(errno));
	int got = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2],
			 &t[3], &t[4], &t[5], &t[6], &t[7]);
	fclose(file);
	if (got != countof(t))
		return err_set(err, HR_FAIL, "/proc/stat has changed its form");
	*us = (int64_t)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) * tick_us();
	return HR_OK;
}

/* Is this end, an IPv4 address in a socket of either family, one of the listeners? */
static bool is_listener(const struct sockaddr_in *listeners, size_t count, uint8_t family,
			const uint32_t address[4], uint16_t port)
{
	if (family == AF_INET6 && (address[0] || address[1] || address[2] != htonl(0xffff)))
		return false;
	for (size_t i = 0; i < count; i++)
		if (listeners[i].sin_addr.s_addr == address[family == AF_INET6 ? 3 : 0] &&
		    listeners[i].sin_port == port)
			return true;
	return false;
}

static void add_socket(const struct nlmsghdr *header, const struct sockaddr_in *listeners,
		       size_t count, struct usage_wire *out)
{
	const struct inet_diag_msg *msg = NLMSG_DATA(header);
	const struct inet_diag_sockid *id = &msg->id;
	size_t len = header->nlmsg_len - NLMSG_LENGTH(sizeof(*msg));

	if (!is_listener(listeners, count, msg->idiag_family, id->idiag_src, id->idiag_sport) &&
	    !is_listener(listeners, count, msg->idiag_family, id->idiag_dst, id->idiag_dport))
		return;
	for (const struct rtattr *a = (const struct rtattr *)(msg + 1); RTA_OK(a, len);
	     a = RTA_NEXT(a, len)) {
		struct tcp_info info = { 0 };

		if (a->rta_type != INET_DIAG_INFO)
			continue;
		memcpy(&info, RTA_DATA(a),
		       RTA_PAYLOAD(a) < sizeof(info) ? RTA_PAYLOAD(a) : sizeof(info));
		out->bytes += info.tcpi_bytes_sent;
		out->sockets++;
	}
}

static enum hr_status ask(int fd, uint8_t family, struct hr_err *err)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = { .header = { .nlmsg_len = sizeof(request),
				  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
				  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		      .body = { .sdiag_family = family,
				.sdiag_protocol = IPPROTO_TCP,
				.idiag_ext = 1 << (INET_DIAG_INFO - 1),
				.idiag_states = 1 << TCP_IS_ESTABLISHED } };

	if (send(fd, &request, sizeof(request), 0) < 0)
		return err_set(err, HR_FAIL, "ask for sockets: %s", strerror(errno));
	return HR_OK;
}

/* Reads one datagram of the answer; HR_NONE after the last. */
static enum hr_status answer(int fd, const struct sockaddr_in *listeners, size_t count,
			     struct usage_wire *out, struct hr_err *err)
{
	static _Alignas(struct nlmsghdr) char bytes[64 * 1024];
	ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

	if (got <= 0)
		return err_set(err, HR_FAIL, "read sockets: %s", strerror(errno));
	size_t len = (size_t)got;
	for (const struct nlmsghdr *h = (const struct nlmsghdr *)bytes; NLMSG_OK(h, len);
	     h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return HR_NONE;
		if (h->nlmsg_type == NLMSG_ERROR)
			return err_set(err, HR_FAIL, "the kernel has no sock_diag for TCP");
		add_socket(h, listeners, count, out);
	}
	return HR_OK;
}

/* An IPv4 connection may belong to an IPv6 socket (ZeroMQ's do): both families are asked. */
static enum hr_status add_family(int fd, uint8_t family, const struct sockaddr_in *listeners,
				 size_t count, struct usage_wire *sum, struct hr_err *err)
{
	enum hr_status status = ask(fd, family, err);

	while (status == HR_OK)
		status = answer(fd, listeners, count, sum, err);
	return status == HR_NONE ? HR_OK : status;
}

enum hr_status usage_wire(const struct sockaddr_in *listeners, size_t count, struct usage_wire *out,
			  struct hr_err *err)
{
	struct usage_wire sum = { 0 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return err_set(err, HR_FAIL, "open sock_diag: %s", strerror(errno));
	enum hr_status status = add_family(fd, AF_INET, listeners, count, &sum, err);
	if (status == HR_OK)
		status = add_family(fd, AF_INET6, listeners, count, &sum, err);
	close(fd);
	if (status != HR_OK)
		return status;
	if (sum.sockets == 0 && count > 0)
		return err_set(err, HR_FAIL, "no connection between the sites is to be seen");
	*out = sum;
	return HR_OK;
}
