// SPDX-License-Identifier: GPL-2.0-or-later
/* Unit, container and pod from paths as hosts have them, and from others. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "serve/identity.h"

#define DOCKER "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
#define INNER "99f3a16ea25b7724cb56a4f0c0df1113ad9474fbf5545bead97fd5c7f61c13f4"
#define POD "eab5a334-93fe-48a8-b139-9e8079c1f163"
#define POD_ "eab5a334_93fe_48a8_b139_9e8079c1f163"
#define STATIC_POD "87a960e902bbb19289771a77e4b07353"
#define TASK "5a0d5ceddf6c44c1928d367a815d890f"
#define QOS "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
#define USER_1000 "/user.slice/user-1000.slice/user@1000.service"

struct sample {
	const char *path, *unit, *container, *pod;
};

static void check(const struct sample *samples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct sample *s = &samples[i];
		struct identity id;

		memset(&id, 'x', sizeof(id));
		identity_of(&id, s->path);
		if (strcmp(id.unit, s->unit) || strcmp(id.container, s->container) ||
		    strcmp(id.pod, s->pod))
			fail_msg("%s: unit \"%s\", container \"%s\", pod \"%s\"", s->path, id.unit,
				 id.container, id.pod);
	}
}

static void test_systemd(void **state)
{
	static const struct sample samples[] = {
		{ "/system.slice/sshd.service", "sshd.service", "", "" },
		{ "/init.scope", "init.scope", "", "" },
		/* Instances, escapes. */
		{ "/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "",
		  "" },
		{ "/system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyS0.service",
		  "serial-getty@ttyS0.service", "", "" },
		{ "/system.slice/run-r8f14e45fceea167a5a36dedd4bea2543.scope",
		  "run-r8f14e45fceea167a5a36dedd4bea2543.scope", "", "" },
		/* mount.nfs connects from there, and what a socket unit starts. */
		{ "/system.slice/mnt-data.mount", "mnt-data.mount", "", "" },
		{ "/system.slice/dev-sdb1.swap", "dev-sdb1.swap", "", "" },
		{ "/system.slice/docker.socket", "docker.socket", "", "" },
		/* Delegated: groups of its own below a service. */
		{ "/system.slice/systemd-udevd.service/udev", "systemd-udevd.service", "", "" },
		{ "/system.slice/squid.service/worker", "squid.service", "", "" },
		/* The unit is cpu.service, and cpu.* are files. */
		{ "/system.slice/_cpu.service", "cpu.service", "", "" },
		/* Sessions. */
		{ "/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "", "" },
		{ USER_1000 "/init.scope", "user@1000.service", "", "" },
		{ USER_1000 "/app.slice/foo.service", "foo.service", "", "" },
		{ USER_1000 "/app.slice/athanor-bar.service/sub", "athanor-bar.service", "", "" },
		{ USER_1000 "/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
		  "vte-spawn-1.scope", "", "" },
		{ USER_1000 "/app.slice/app-org.kde.konsole@edc27db08dc24bbab66e0b79d60c4373"
			    ".service",
		  "app-org.kde.konsole@edc27db08dc24bbab66e0b79d60c4373.service", "", "" },
		/* v1, where not every controller has every group. */
		{ "/system.slice", "system.slice", "", "" },
		{ "/user.slice/user-1000.slice", "user-1000.slice", "", "" },
		{ USER_1000, "user@1000.service", "", "" },
		/* machined: containers of systemd-nspawn, libvirt's guests, an OS inside. */
		{ "/machine.slice/machine-web.scope/payload", "machine-web.scope", "", "" },
		{ "/machine.slice/systemd-nspawn@web.service/supervisor",
		  "systemd-nspawn@web.service", "", "" },
		{ "/machine.slice/machine-qemu\\x2d18\\x2dtest10.scope/libvirt/emulator",
		  "machine-qemu\\x2d18\\x2dtest10.scope", "", "" },
		{ "/machine.slice/machine-web.scope/payload/system.slice/nginx.service",
		  "nginx.service", "", "" },
		{ "/machine.slice/machine-web.scope/payload/init.scope", "machine-web.scope", "",
		  "" },
		/* LXC and LXD have names, no ids. */
		{ "/lxc.payload.web/system.slice/nginx.service", "nginx.service", "", "" },
		{ "/lxc/101/ns/init.scope", "init.scope", "", "" },
	};

	(void)state;
	check(samples, ARRAY_SIZE(samples));
}

static void test_docker(void **state)
{
	static const struct sample samples[] = {
		/* cgroupfs driver, systemd driver, before scopes, below another group. */
		{ "/docker/" DOCKER, "", DOCKER, "" },
		{ "/system.slice/docker-" DOCKER ".scope", "", DOCKER, "" },
		{ "/system.slice/docker-" DOCKER ".scope/init", "", DOCKER, "" },
		{ "/" DOCKER, "", DOCKER, "" },
		{ "/actions_job/" DOCKER, "", DOCKER, "" },
		{ "/system.slice/docker.service/docker/" DOCKER, "docker.service", DOCKER, "" },
		/* Rootless, and with --cgroup-parent. */
		{ USER_1000 "/user.slice/docker-" DOCKER ".scope", "user@1000.service", DOCKER,
		  "" },
		{ "/user.slice/user-a.slice/user-a-b.slice/docker-" DOCKER ".scope", "", DOCKER,
		  "" },
		/* systemd in it; Docker in it. */
		{ "/docker/" DOCKER "/system.slice/nginx.service", "nginx.service", DOCKER, "" },
		{ "/system.slice/docker-" DOCKER ".scope/init.scope", "init.scope", DOCKER, "" },
		{ "/docker/" DOCKER "/docker/" INNER, "", INNER, "" },
		{ "/lxc/ct0/docker/" DOCKER, "", DOCKER, "" },
		/* What is not a container's: a build, a mount of one's files. */
		{ "/docker/buildkit/2c3ed1pzqrxwm1avvkq2oi8bv", "", "", "" },
		{ "/system.slice/var-lib-docker-containers-" DOCKER "-shm.mount",
		  "var-lib-docker-containers-" DOCKER "-shm.mount", "", "" },
		{ "/system.slice/run-docker-" DOCKER ".mount", "run-docker-" DOCKER ".mount", "",
		  "" },
		/* nerdctl, with either driver. */
		{ "/default/" DOCKER, "", DOCKER, "" },
		{ "/system.slice/nerdctl-" DOCKER ".scope", "", DOCKER, "" },
		/* ECS: Docker's on a machine of one's own, and Fargate's. */
		{ "/ecs/classic/" TASK "/" DOCKER, "", DOCKER, "" },
		{ "/ecs/55091c13-b8cf-4801-b527-f4601742204d/" DOCKER, "", DOCKER, "" },
		{ "/ecs/" TASK "/" TASK "-2531612879", "", TASK "-2531612879", "" },
		{ "/other/" TASK "/" TASK "-2531612879", "", "", "" },
		{ "/ecs/" TASK "/" TASK "-", "", "", "" },
		{ "/ecstasks.slice/ecstasks-" TASK ".slice/docker-" DOCKER ".scope", "", DOCKER,
		  "" },
	};

	(void)state;
	check(samples, ARRAY_SIZE(samples));
}

static void test_podman(void **state)
{
	static const struct sample samples[] = {
		{ "/machine.slice/libpod-" DOCKER ".scope", "", DOCKER, "" },
		{ "/machine.slice/libpod-" DOCKER ".scope/container", "", DOCKER, "" },
		{ "/libpod_parent/libpod-" DOCKER, "", DOCKER, "" },
		{ USER_1000 "/user.slice/libpod-" DOCKER ".scope/container", "user@1000.service",
		  DOCKER, "" },
		/* In a pod of Podman's, which is none of Kubernetes'. */
		{ "/machine.slice/machine-libpod_pod_" INNER ".slice/libpod-" DOCKER ".scope", "",
		  DOCKER, "" },
		/* From a unit of its own (Quadlet). */
		{ "/system.slice/web.service/libpod-payload-" DOCKER, "web.service", DOCKER, "" },
		{ USER_1000 "/app.slice/woow-tailscale.service/libpod-payload-" DOCKER,
		  "woow-tailscale.service", DOCKER, "" },
		/* The monitor. */
		{ "/machine.slice/libpod-conmon-" DOCKER ".scope", "libpod-conmon-" DOCKER ".scope",
		  "", "" },
		{ USER_1000 "/user.slice/podman-6696.scope", "podman-6696.scope", "", "" },
	};

	(void)state;
	check(samples, ARRAY_SIZE(samples));
}

static void test_kubelet(void **state)
{
	static const struct sample samples[] = {
		/* cgroupfs driver; guaranteed pods have no class in between. */
		{ "/kubepods/besteffort/pod" POD "/" INNER, "", INNER, POD },
		{ "/kubepods/pod" POD "/" INNER, "", INNER, POD },
		{ "/kubepods/burstable/pod" STATIC_POD "/" INNER, "", INNER, STATIC_POD },
		{ "/kubepods/burstable/pod" POD "/crio-" INNER, "", INNER, POD },
		{ "/kubepods/burstable/pod" POD "/crio-conmon-" INNER, "", "", POD },
		{ "/kubepods/burstable/pod" POD, "", "", POD },
		/* systemd driver: containerd, CRI-O, Docker. */
		{ QOS POD_ ".slice/cri-containerd-" INNER ".scope", "", INNER, POD },
		{ QOS POD_ ".slice/crio-" INNER ".scope", "", INNER, POD },
		{ QOS POD_ ".slice/crio-" INNER ".scope/container", "", INNER, POD },
		{ QOS POD_ ".slice/docker-" INNER ".scope", "", INNER, POD },
		{ QOS STATIC_POD ".slice/cri-containerd-" INNER ".scope", "", INNER, STATIC_POD },
		{ "/kubepods.slice/kubepods-pod" POD_ ".slice/crio-" INNER ".scope", "", INNER,
		  POD },
		{ QOS POD_ ".slice", "", "", POD },
		{ QOS POD_ ".slice/crio-conmon-" INNER ".scope", "crio-conmon-" INNER ".scope", "",
		  POD },
		{ "/system.slice/crio-conmon-" INNER ".scope", "crio-conmon-" INNER ".scope", "",
		  "" },
		/* The kubelet with the systemd driver, the runtime without. */
		{ "/system.slice/containerd.service/kubepods-burstable-pod" POD_
		  ".slice:cri-containerd:" INNER,
		  "containerd.service", INNER, POD },
		{ "/kubepods-burstable-pod" POD_ ".slice:cri-containerd:" INNER, "", INNER, POD },
		{ "/system.slice/docker.service/BestEffort.slice/BestEffort-pod" POD_
		  ".slice/" INNER,
		  "docker.service", INNER, POD },
		/* Nodes that are containers: kind, minikube, k3s. */
		{ "/system.slice/docker-" DOCKER ".scope/kubelet.slice/kubelet-kubepods.slice/"
		  "kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" POD_
		  ".slice/cri-containerd-" INNER ".scope",
		  "", INNER, POD },
		{ "/docker/" DOCKER "/kubelet/kubepods/burstable/pod" POD "/" INNER, "", INNER,
		  POD },
		{ "/actions_job/" DOCKER "/kubepods/burstable/pod" STATIC_POD "/" INNER, "", INNER,
		  STATIC_POD },
		{ "/docker/" DOCKER QOS POD_ ".slice/crio-conmon-" INNER ".scope",
		  "crio-conmon-" INNER ".scope", "", POD },
		{ "/docker/" DOCKER "/kubelet/kubepods/burstable/pod" POD, "", "", POD },
		{ "/docker/" DOCKER "/system.slice/kubelet.service", "kubelet.service", DOCKER,
		  "" },
		/* Docker in a pod. */
		{ "/kubepods/besteffort/pod" POD "/" DOCKER "/docker/" INNER, "", INNER, POD },
		/* As a cgroup namespace beside it shows them. */
		{ "/../../../kubepods-burstable.slice/kubepods-burstable-pod" POD_
		  ".slice/cri-containerd-" INNER ".scope",
		  "", INNER, POD },
		{ "/../../pod" POD "/" INNER, "", INNER, POD },
		/* Of the node, not of a pod. */
		{ "/kubepods", "", "", "" },
		{ "/kubepods.slice/kubepods-burstable.slice", "kubepods-burstable.slice", "", "" },
		{ "/kubelet", "", "", "" },
	};

	(void)state;
	check(samples, ARRAY_SIZE(samples));
}

static void test_nothing(void **state)
{
	static const struct sample samples[] = {
		{ "", "", "", "" },
		{ "/", "", "", "" },
		{ "//..//./", "", "", "" },
		{ "#4711", "", "", "" },
		{ "sshd.service", "sshd.service", "", "" },
		{ "docker/" DOCKER "/", "", DOCKER, "" },
		{ "/.service", "", "", "" },
		{ "/_.service", "", "", "" },
		{ "/_", "", "", "" },
		{ "/x.services", "", "", "" },
		/* Almost ids: a digit more, a digit less, capitals, none. */
		{ "/docker/a" DOCKER, "", "", "" },
		{ "/docker/726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860", "", "",
		  "" },
		{ "/docker/ABCD184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860", "",
		  "", "" },
		{ "/docker/" DOCKER ".slice", DOCKER ".slice", "", "" },
		{ "/docker/x" DOCKER ".scope", "x" DOCKER ".scope", "", "" },
		{ "/pod", "", "", "" },
		{ "/podeab5a334-93fe-48a8-b139-9e8079c1f16", "", "", "" },
		{ "/pod" POD_, "", "", "" },
		{ "/pod" POD "0", "", "", "" },
		{ "/podgab5a334-93fe-48a8-b139-9e8079c1f163", "", "", "" },
		{ "/tripod" POD, "", "", "" },
		{ "/tripod" POD_ ".slice", "tripod" POD_ ".slice", "", "" },
		{ "/a-pod" POD ".slice", "a-pod" POD ".slice", "", "" },
		{ "/pod:" POD, "", "", "" },
		{ "/:", "", "", "" },
		/* No unit is called so, whoever made the group. */
		{ "/a\nb.service", "", "", "" },
		{ "/a\"b.service", "", "", "" },
		{ "/\xff\xfe.service", "", "", "" },
		{ "/a b.scope/\xc3\x28/c.slice", "c.slice", "", "" },
		{ "/docker/\xff" DOCKER, "", "", "" },
		{ "/docker/\xff-" DOCKER, "", DOCKER, "" },
	};

	(void)state;
	check(samples, ARRAY_SIZE(samples));
}

/* What fits to the last byte is there, one byte more and there is nothing. */
static void test_long(void **state)
{
	static char path[70000], number[64];
	struct identity id;

	(void)state;
	for (int len = 255; len <= 256; len++) {
		snprintf(path, sizeof(path), "/a.slice/%0*d.service", len - 8, 0);
		identity_of(&id, path);
		assert_string_equal(id.unit, len == 255 ? path + 9 : "");
	}
	for (int len = 38; len <= 39; len++) {
		snprintf(number, sizeof(number), "%0*d", len, 7);
		snprintf(path, sizeof(path), "/ecs/" TASK "-%s", number);
		identity_of(&id, path);
		assert_string_equal(id.container, len == 38 ? path + 5 : "");
	}
	/* Long, of one component and of very many. */
	memset(path, 'a', sizeof(path) - 1);
	identity_of(&id, path);
	assert_string_equal(id.container, "");
	for (size_t i = 0; i < sizeof(path) - 1; i += 2)
		path[i] = '/';
	identity_of(&id, path);
	assert_string_equal(id.unit, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_systemd), cmocka_unit_test(test_docker),
		cmocka_unit_test(test_podman),	cmocka_unit_test(test_kubelet),
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
