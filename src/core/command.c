// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(const struct passwd *pw)
{
	if (initgroups(pw->pw_name, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return;
	setenv("HOME", pw->pw_dir, 1);
	setenv("USER", pw->pw_name, 1);
	setenv("LOGNAME", pw->pw_name, 1);
	errno = 0;
}

__attribute__((noreturn)) static void child(char *const argv[], const struct passwd *pw, int go,
					    int fault)
{
	sigset_t none;
	char byte;
	int err;

	/* Our end of file means that the parent gave up or died. */
	if (read(go, &byte, 1) != 1)
		_exit(EXIT_NOT_STARTED);
	errno = 0;
	if (pw)
		become(pw);
	if (!errno) {
		signal(SIGPIPE, SIG_DFL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execvp(argv[0], argv);
	}
	err = errno;
	if (write(fault, &err, sizeof(err)) != sizeof(err))
		_exit(EXIT_NOT_STARTED);
	_exit(EXIT_NOT_STARTED);
}

int command_prepare(struct command *c, char *const argv[], const char *user)
{
	const struct passwd *pw = NULL;
	int go[2], fault[2], err;
	pid_t pid;

	if (user) {
		pw = getpwnam(user);
		if (!pw)
			return -ENOENT;
	}
	if (pipe2(go, O_CLOEXEC))
		return -errno;
	if (pipe2(fault, O_CLOEXEC)) {
		err = -errno;
		close(go[0]);
		close(go[1]);
		return err;
	}
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		close(fault[0]);
		child(argv, pw, go[0], fault[1]);
	}
	err = -errno;
	close(go[0]);
	close(fault[1]);
	c->go = go[1];
	c->fault = fault[0];
	if (pid < 0)
		return err;
	c->pid = pid;
	c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return c->pidfd < 0 ? -errno : 0;
}

int command_release(struct command *c)
{
	int err = 0;
	ssize_t n;

	if (write(c->go, "", 1) != 1)
		return -errno;
	close(c->go);
	c->go = -1;
	/* The pipe closes by itself when the command begins to run. */
	do
		n = read(c->fault, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(c->fault);
	c->fault = -1;
	return n == sizeof(err) ? -err : 0;
}

bool command_ended(struct command *c, bool block)
{
	pid_t r;

	if (c->ended || !c->pid)
		return c->ended;
	do
		r = waitpid(c->pid, &c->status, block ? 0 : WNOHANG);
	while (r < 0 && errno == EINTR);
	c->ended = r == c->pid;
	return c->ended;
}

int command_exit_status(const struct command *c)
{
	return WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status) : WEXITSTATUS(c->status);
}

void command_close(struct command *c)
{
	bool waiting = c->go >= 0;

	if (c->go >= 0)
		close(c->go);
	if (c->fault >= 0)
		close(c->fault);
	if (waiting && c->pid)
		command_ended(c, true);
	if (c->pidfd >= 0)
		close(c->pidfd);
	*c = COMMAND_INIT;
}
