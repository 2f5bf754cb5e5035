# shellcheck shell=bash disable=SC2154 # root, tmp, limit are set by ./dev
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by ./dev: the packages that each command needs, and how they get here.

# use:   B build, R run, T test, L lint, N bench
# probe: how to see without a package manager that it is there
#        (a command or one of several, pc:pkg-config module, py:module of the system's python3, rt:clang's sanitizers)
# libclang-rt-dev carries clang's version in its name; debian_name() completes it. llvm is here for
# llvm-symbolizer: the sanitizers print bare addresses without it.
packages='
# use Debian          probe            Fedora                Arch                 openSUSE
  B   clang           clang            clang                 clang                clang
  B   bpftool         bpftool          bpftool               bpf                  bpftool
  B   libbpf-dev      pc:libbpf        libbpf-devel          libbpf               libbpf-devel
  B   libelf-dev      pc:libelf        elfutils-libelf-devel libelf               libelf-devel
  B   zlib1g-dev      pc:zlib          zlib-devel            zlib                 zlib-devel
  B   libjansson-dev  pc:jansson       jansson-devel         jansson              libjansson-devel
  B   libmicrohttpd-dev pc:libmicrohttpd libmicrohttpd-devel libmicrohttpd         libmicrohttpd-devel
  B   libcap-ng-dev   pc:libcap-ng     libcap-ng-devel       libcap-ng            libcap-ng-devel
  B   libseccomp-dev  pc:libseccomp    libseccomp-devel      libseccomp           libseccomp-devel
  B   gcc             gcc              gcc                   gcc                  gcc
  B   libc6-dev       /usr/include/stdio.h glibc-devel       glibc                glibc-devel
  B   pkg-config      pkg-config       pkgconf-pkg-config    pkgconf              pkgconf-pkg-config
  B   meson           meson            meson                 meson                meson
  B   ninja-build     ninja            ninja-build           ninja                ninja
  RTL python3         /usr/bin/python3 python3               python               python3
  RT  iproute2        ip               iproute               iproute2             iproute2
  T   llvm            llvm-symbolizer  llvm                  llvm                 llvm
  T   libclang-rt-dev rt:              compiler-rt           compiler-rt          clang
  T   libcmocka-dev   pc:cmocka        libcmocka-devel       cmocka               libcmocka-devel
  T   python3-pytest  py:pytest        python3-pytest        python-pytest        python3-pytest
  T   tshark          tshark           wireshark-cli         wireshark-cli        wireshark
  T   iperf3          iperf3           iperf3                iperf3               iperf
  T   wrk             wrk              wrk                   wrk                  wrk
  T   nginx-light     nginx            nginx                 nginx                nginx
  T   curl            curl             curl                  curl                 curl
  T   nftables        nft              nftables              nftables             nftables
  T   ethtool         ethtool          ethtool               ethtool              ethtool
  T   strace          strace           strace                strace               strace
  T   openssl         openssl          openssl               openssl              openssl
  TN  qemu-system-x86 qemu-system-x86_64 qemu-system-x86-core qemu-system-x86     qemu-x86
  TN  cpio            cpio             cpio                  cpio                 cpio
  TN  kmod            depmod           kmod                  kmod                 kmod
  TN  e2fsprogs       mke2fs           e2fsprogs             e2fsprogs            e2fsprogs
  T   prometheus      promtool         golang-github-prometheus prometheus        golang-github-prometheus-prometheus
  T   lintian         lintian          lintian               lintian              lintian
  T   debhelper       dh               debhelper             debhelper            debhelper
  T   dpkg-dev        dpkg-buildpackage dpkg-dev             dpkg                 dpkg
  T   python3-yaml    py:yaml          python3-pyyaml        python-yaml          python3-PyYAML
  T   systemd         systemd-analyze  systemd               systemd              systemd
  T   binutils        readelf          binutils              binutils             binutils
  T   man-db          man              man-db                man-db               man
  T   groff-base      groff            groff-base            groff                groff
  T   zsh             zsh              zsh                   zsh                  zsh
  T   fish            fish             fish                  fish                 fish
  L   clang-format    clang-format     clang-tools-extra     clang                clang-tools
  L   clang-tidy      clang-tidy       clang-tools-extra     clang                clang-tools
  L   cppcheck        cppcheck         cppcheck              cppcheck             cppcheck
  L   shellcheck      shellcheck       ShellCheck            shellcheck           ShellCheck
  N   libbpf-tools    /usr/sbin/tcpconnlat,bpf-tcpconnlat libbpf-tools libbpf-tools libbpf-tools
'

clang_major() {
	local version
	version=$(dpkg-query -W -f='${Version}' clang 2>/dev/null)
	[[ -n $version ]] || version=$(apt-cache show --no-all-versions clang 2>/dev/null |
		sed -n 's/^Version: //p')
	version=${version#*:}
	version=${version%%.*}
	printf '%s' "${version:-14}"
}

debian_name() {
	[[ $1 == libclang-rt-dev ]] && set -- "libclang-rt-$(clang_major)-dev"
	printf '%s\n' "$1"
}

probe() {
	local dir
	case $1 in
	pc:*) pkg-config --exists "${1#pc:}" ;;
	py:*) /usr/bin/python3 -c "import ${1#py:}" ;;
	rt:*)
		dir=$(clang -print-resource-dir) && compgen -G "$dir/lib/*/libclang_rt.fuzzer*.a"
		;;
	*,*) probe "${1%%,*}" || probe "${1#*,}" ;;
	/*) [[ -e $1 ]] ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

rows() { # USES
	local use rest
	while read -r use rest; do
		[[ $use == [A-Z]* && $use == *[$1]* ]] && printf '%s\n' "$rest"
	done <<<"$packages"
}

# Sets missing to what is not here, by the first column of the table.
look() { # USES
	local table row name test real listed='' major=''
	missing=()
	mapfile -t table < <(rows "$1")
	if command -v dpkg-query >/dev/null; then
		# One call for all: this is on the path of every ./dev run.
		# shellcheck disable=SC2016 # dpkg-query's variables, not the shell's
		listed=$(dpkg-query -W -f='${Package} ${db:Status-Status} ${Version}\n' \
			"${table[@]%% *}" 'libclang-rt-*-dev' 2>/dev/null)
		[[ $listed =~ (^|$'\n')'clang installed '([0-9]+:)?([0-9]+) ]] && major=${BASH_REMATCH[3]}
	fi
	for row in "${table[@]}"; do
		read -r name test _ <<<"$row"
		real=${name/#libclang-rt-dev/libclang-rt-$major-dev}
		[[ $'\n'$listed == *$'\n'"$real installed "* ]] && continue
		# Built by hand, or from a package of another name (bpftool on Ubuntu).
		probe "$test" || missing+=("$name")
	done
}

# Debian starts a daemon as soon as its package is installed, and nobody asked for nginx on port
# 80. Maintainer scripts ask policy-rc.d first. The file answers "no" only while this very process
# lives, so that even after a SIGKILL it changes nothing for anybody.
policy=/usr/sbin/policy-rc.d
policy_blocked=''

unblock_services() {
	[[ -n $policy_blocked ]] || return 0
	policy_blocked=''
	rm -f -- "$policy"
	[[ ! -e $policy.before-tcplat ]] || mv -- "$policy.before-tcplat" "$policy"
}

block_services() {
	local stat fields
	stat=$(<"/proc/$$/stat") || return 1
	read -ra fields <<<"${stat##*) }"
	if [[ -e $policy.before-tcplat ]]; then # an earlier run was killed
		mv -- "$policy.before-tcplat" "$policy"
	elif [[ -e $policy ]] && grep -qs 'tcplat ./dev' "$policy"; then
		rm -f -- "$policy"
	fi
	policy_blocked=yes
	[[ ! -e $policy && ! -L $policy ]] || mv -- "$policy" "$policy.before-tcplat" || return 1
	cat >"$policy" <<-END || return 1
		#!/bin/sh
		# Written by tcplat ./dev while it installs packages; without effect once it has ended.
		started=\$(sed 's/.*) //' /proc/$$/stat 2>/dev/null | cut -d' ' -f20)
		[ "\$started" = "${fields[19]}" ] && exit 101
		[ -x $policy.before-tcplat ] && exec $policy.before-tcplat "\$@"
		exit 0
	END
	chmod 755 "$policy"
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8 \
		"${limit[@]}" 900 apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		"$@" >>"$tmp/apt" 2>&1 </dev/null
}

install_missing() { # USES
	local names name
	# Two of us at once would fight over policy-rc.d; the second finds nothing left to do.
	exec 9>/run/tcplat-dev.lock
	if ! flock -n 9; then
		say 'waiting for another ./dev that installs packages'
		flock -w 900 9 || die 'it is still at it'
	fi
	look "$1"
	if ((${#missing[@]})); then
		: >"$tmp/apt"
		apt_get update || say 'apt-get update failed; trying with the package lists that are here'
		mapfile -t names < <(for name in "${missing[@]}"; do debian_name "$name"; done)
		say "installing: ${names[*]}"
		block_services || die "cannot write $policy"
		if ! apt_get install --no-install-recommends "${names[@]}"; then
			tail -n 20 "$tmp/apt" >&2
			die 'apt-get could not install them'
		fi
		# Nor shall it start at the next boot.
		[[ " ${names[*]} " != *' nginx-light '* ]] || update-rc.d nginx disable >/dev/null 2>&1
		[[ " ${names[*]} " != *' prometheus '* ]] ||
			update-rc.d prometheus disable >/dev/null 2>&1
		unblock_services
		look "$1"
		((${#missing[@]} == 0)) || die "still missing after the installation: ${missing[*]}"
	fi
	exec 9>&-
}

hints() { # missing names…
	local want=" $* " row name fedora arch suse names=() columns=('' '' '')
	while read -r row; do
		read -r name _ fedora arch suse <<<"$row"
		[[ $want == *" $name "* ]] || continue
		names+=("$name")
		[[ " ${columns[0]} " == *" $fedora "* ]] || columns[0]+=" $fedora"
		[[ " ${columns[1]} " == *" $arch "* ]] || columns[1]+=" $arch"
		[[ " ${columns[2]} " == *" $suse "* ]] || columns[2]+=" $suse"
	done < <(rows BRTLN)
	say "missing (as Debian calls them): ${names[*]}"
	say "  Fedora:   sudo dnf install${columns[0]}"
	say "  Arch:     sudo pacman -S --needed${columns[1]}"
	say "  openSUSE: sudo zypper install${columns[2]}"
}

need() { # COMMAND
	local uses names
	case $1 in
	build) uses=B ;;
	run) uses=BR ;;
	lint) uses=BL ;;
	test) uses=BRTL ;;
	bench) uses=BRTN ;;
	esac
	look "$uses"
	((${#missing[@]})) || return 0
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		hints "${missing[@]}"
		die 'install them, then try again'
	fi
	if [[ $EUID != 0 ]]; then
		mapfile -t names < <(for name in "${missing[@]}"; do debian_name "$name"; done)
		die "packages are missing; run: sudo apt-get install --no-install-recommends ${names[*]}"
	fi
	install_missing "$uses"
}
