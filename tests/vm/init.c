/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first process of a guest: loads the modules that its disks need, changes to the root file
 * system on the first of them, runs tests/vm/rc from the second, and ends the machine.
 *
 * A static program of its own, because it is all there is in the initramfs: no shell, no libraries.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* from linux/module.h: 5.17 and later; the kernel unpacks the module itself */
#define COMPRESSED 4

static void stop(const char *what)
{
	printf("init: %s: %s\n", what, strerror(errno));
	fflush(NULL);
	sync();
	/* qemu -no-reboot ends here */
	reboot(RB_AUTOBOOT);
	_exit(1);
}

/* /modules holds their names, each after those that it needs. */
static void load_modules(void)
{
	FILE *list = fopen("/modules", "re");
	char path[256];

	if (!list)
		stop("/modules");
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = 0;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		int flags = strstr(path, ".ko.") ? COMPRESSED : 0;
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", flags) && errno != EEXIST))
			stop(path);
		close(fd);
	}
	fclose(list);
}

/* The driver finds its disks a moment after it was loaded. */
static void mount_disk(const char *disk, const char *where)
{
	for (int i = 0; i < 1000; i++) {
		if (!mount(disk, where, "ext4", 0, NULL))
			return;
		usleep(10000);
	}
	stop(disk);
}

int main(void)
{
	pid_t rc, any;
	int status;

	mkdir("/dev", 0755);
	mkdir("/root", 0755);
	/* Unpacking an initramfs that has no /dev/console leaves us without a standard output. */
	if (mount("dev", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		stop("/dev");
	int console = open("/dev/console", O_RDWR);
	for (int fd = 0; console >= 0 && fd < 3; fd++)
		dup2(console, fd);
	load_modules();
	mount_disk("/dev/vda", "/root");
	mount_disk("/dev/vdb", "/root/tcplat");
	if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) || chdir("/root") ||
	    mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		stop("/root");
	rc = fork();
	if (!rc) {
		setsid();
		execl("/bin/bash", "bash", "/tcplat/tests/vm/rc", NULL);
		stop("/bin/bash");
	}
	do /* whatever loses its parent becomes our child */
		any = wait(&status);
	while (any != rc);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}
