/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command of "-- COMMAND": made early, started only when we are ready. */
#ifndef TCPLAT_CORE_COMMAND_H
#define TCPLAT_CORE_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

struct command {
	pid_t pid; /* 0: none */
	int pidfd;
	int go;	   /* write end: released by a byte, given up by closing */
	int fault; /* read end: the errno of a failed start */
	bool ended;
	int status; /* as from waitpid(), once ended */
};

#define COMMAND_INIT ((struct command){ .pidfd = -1, .go = -1, .fault = -1 })

/* Exit status of a shell for a command that could not be started. */
#define EXIT_NOT_STARTED 127

/*
 * Forks a child that waits. user: login name to run as, NULL for our own
 * (initgroups, setgid, setuid in the child). Returns 0 or a negative errno.
 */
int command_prepare(struct command *c, char *const argv[], const char *user);

/* Lets it go. Negative errno of the failed exec or change of user. */
int command_release(struct command *c);

/* Takes the status if it has ended (block: waits for that). True once ended. */
bool command_ended(struct command *c, bool block);

/* 0..255 as a shell would say it: 128 + N after signal N. */
int command_exit_status(const struct command *c);

/* Ends a child that was never released; closes descriptors. */
void command_close(struct command *c);

#endif /* TCPLAT_CORE_COMMAND_H */
