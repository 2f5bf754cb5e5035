// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs that do nothing: what remains is the cost of being measured. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("tp_btf/inet_sock_set_state")
int empty_state(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tp_btf/tcp_probe")
int empty_probe(void *ctx)
{
	(void)ctx;
	return 0;
}

/*
 * Fetches the line of the socket that TCP reads first itself, right after this
 * hook; where another CPU has written it, whoever comes first waits for it.
 */
struct tcp_sock {
	__u32 rcv_nxt;
} __attribute__((preserve_access_index));

SEC("tp_btf/tcp_probe")
int fetch(__u64 *ctx)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)ctx[0]);

	return tp ? (int)*(volatile __u32 *)&tp->rcv_nxt : 0;
}

SEC("tp_btf/sk_data_ready")
int empty_ready(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int empty_taken(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_connect")
int empty_enter(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_connect")
int empty_exit(void *ctx)
{
	(void)ctx;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
