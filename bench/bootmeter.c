/* SPDX-License-Identifier: MIT */
/*
 * Starts a VMM and measures its guest's boot: bootmeter MEMORY-MIB LINE COMMAND...
 *
 * From exec to the moment LINE is on the VMM's standard output: wall time, VM exits
 * (KVM's own count, from debugfs), and the VMM's resident memory less the guest's
 * RAM, which is told by its size: every mapping of MEMORY-MIB or more. Prints one
 * line "ms exits io_exits pf_taken own_kib", waits for the VMM to end, and exits
 * 0; 1 where the line never came.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KVM_DEBUGFS "/sys/kernel/debug/kvm"
#define LIMIT_S 60

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* A counter of the VM of process pid; KVM names its folder PID-FD. -1: not there. */
static long long kvm_counter(pid_t pid, const char *name)
{
	char prefix[32], path[512];
	long long value = -1;
	struct dirent *d;
	DIR *dir = opendir(KVM_DEBUGFS);

	snprintf(prefix, sizeof(prefix), "%d-", (int)pid);
	while (dir && (d = readdir(dir))) {
		FILE *f;

		if (strncmp(d->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), KVM_DEBUGFS "/%s/%s", d->d_name, name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%lld", &value) != 1)
			value = -1;
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return value;
}

static long own_rss_kib(pid_t pid, long ram_kib)
{
	char path[64], line[512];
	long size = 0, rss, own = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %ld kB", &size) == 1)
			continue;
		if (sscanf(line, "Rss: %ld kB", &rss) == 1 && size < ram_kib)
			own += rss;
	}
	fclose(f);
	return own;
}

/* Its standard input is a pipe that stays open and silent; the parent keeps the end. */
static pid_t start(char **argv, int *out, int *keep)
{
	int in_pipe[2], out_pipe[2];
	pid_t pid;

	if (pipe(in_pipe) || pipe(out_pipe))
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in_pipe[0], STDIN_FILENO);
		dup2(out_pipe[1], STDOUT_FILENO);
		close(in_pipe[0]);
		close(in_pipe[1]);
		close(out_pipe[0]);
		close(out_pipe[1]);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(in_pipe[0]);
	close(out_pipe[1]);
	*out = out_pipe[0];
	*keep = in_pipe[1];
	return pid;
}

int main(int argc, char **argv)
{
	static char seen[1 << 16];
	size_t len = 0;
	bool found = false;
	double begun;
	int out, keep, status;
	long ram_kib;
	pid_t pid;

	if (argc < 4) {
		fprintf(stderr, "usage: bootmeter MEMORY-MIB LINE COMMAND...\n");
		return 2;
	}
	ram_kib = atol(argv[1]) * 1024;
	begun = now_ms();
	pid = start(argv + 3, &out, &keep);
	if (pid < 0)
		return 1;
	alarm(LIMIT_S); /* ends us, and by PDEATHSIG the VMM */
	for (;;) {
		ssize_t n;

		if (len == sizeof(seen) - 1)
			len = 0; /* a guest that floods its console: the line is short */
		n = read(out, seen + len, sizeof(seen) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		seen[len] = '\0';
		if (found || !strstr(seen, argv[2]))
			continue;
		found = true;

		double ms = now_ms() - begun;

		printf("%.1f %lld %lld %lld %ld\n", ms, kvm_counter(pid, "exits"),
		       kvm_counter(pid, "io_exits"), kvm_counter(pid, "pf_taken"),
		       own_rss_kib(pid, ram_kib));
		fflush(stdout);
	}
	waitpid(pid, &status, 0);
	close(keep);
	return found ? 0 : 1;
}
