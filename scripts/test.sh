# shellcheck shell=bash disable=SC2154 # root, user, limit are set by ./dev
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by ./dev: the test suites. Every suite runs, whatever became of the one before; one that
# has no files is passed over. The last line of all is "N passed, N failed, N skipped".

# shellcheck source=scripts/lint.sh
. "$root/scripts/lint.sh" || exit 1

passed=0 failed=0 skipped=0
failures=() # "suite: case"
started=0   # of the running suite, in microseconds
results=$root/build/results

# Without symbols and a clear stop, a sanitizer's report is of no use in a CI log.
sanitizers=(
	ASAN_OPTIONS=abort_on_error=0:detect_leaks=1:strict_string_checks=1
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
)
# Kernels with 32 bits of mmap randomness kill the sanitizers of clang 14 and gcc 12 at random.
if (($(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 32) > 28)) && setarch -R true 2>/dev/null; then
	sanitizers+=(setarch -R)
fi

now() { printf '%s' "${EPOCHREALTIME//[!0-9]/}"; }
begin() { started=$(now); }

# Takes "P F S" and one line for each case that did not pass.
account() { # SUITE REPORT
	local suite=$1 p f s line took
	{
		read -r p f s
		while read -r line; do
			case $line in
			failed\ *)
				failures+=("$suite: ${line#failed }")
				printf '  %s\n' "$line"
				;;
			skipped\ *) printf '  %s\n' "$line" ;;
			esac
		done
	} <<<"$2"
	((passed += p, failed += f, skipped += s))
	took=$((($(now) - started) / 100000))
	((f == 0)) && line=ok || line=FAILED
	printf '%-12s %-6s %4d passed, %d failed, %d skipped  %5d.%d s\n' \
		"$suite" "$line" "$p" "$f" "$s" $((took / 10)) $((took % 10))
}

testlog() { /usr/bin/python3 "$root/scripts/testlog.py" "$@"; }

have() { compgen -G "$root/$1" >/dev/null; }

# --- unit, and the same under ASan and UBSan ------------------------------------------------------

unit_in() { # SUITE DIR [meson option]…
	local suite=$1 dir=$2 report log=$root/$2/meson-logs/testlog.json status
	shift 2
	have 'tests/unit/*.c' || return 0
	begin
	if ! check_writable "$dir" || ! configure "$dir" "$@"; then
		account "$suite" $'0 1 0\nfailed it could not be set up'
		return
	fi
	rm -f -- "$log"
	# Meson takes cmocka's "not ok 1 # SKIP" for a failure; the report below knows better.
	logged "${user[@]}" env "${sanitizers[@]}" "${limit[@]}" 180 \
		meson test -C "$root/$dir" --suite unit --print-errorlogs
	status=$?
	if [[ -s $log ]]; then
		report=$(testlog meson "$root/$dir")
		# Killed half-way: what ran passed, the rest never ran.
		((status < 124)) || report=$(add_failure "$report" "out of time")
		! grep -q '^failed ' <<<"$report" || show_log
		account "$suite" "$report"
	elif ((status)); then
		show_log
		account "$suite" $'0 1 0\nfailed it could not be built'
	fi
}

add_failure() { # REPORT TEXT
	local p f s
	read -r p f s <<<"$1"
	printf '%d %d %d\n%s\nfailed %s\n' "$p" $((f + 1)) "$s" "$(tail -n +2 <<<"$1")" "$2"
}

suite_unit() { unit_in unit build; }

suite_asan() { unit_in asan build-asan -Db_sanitize=address,undefined -Db_lundef=false; }

# --- pytest: golden (no root) and live (root) ----------------------------------------------------

pytest_in() { # SUITE SECONDS
	local suite=$1 seconds=$2 as=() xml=$results/$1.xml report status paths=() path p rest
	have "tests/$suite/test_*.py" || return 0
	[[ $suite == live ]] || as=("${user[@]}")
	for path in "${pytest_paths[@]}"; do
		[[ $path != tests/$suite/* ]] || paths+=("$path")
	done
	((${#paths[@]})) || paths=("tests/$suite")
	begin
	"${user[@]}" mkdir -p -- "$results"
	rm -f -- "$xml"
	if [[ $suite == live && $EUID != 0 ]]; then
		skip_live "${paths[@]}"
		return
	fi
	printf '%s:\n' "$suite"
	# INT lets pytest clean up its namespaces and write its report; a second one would break that
	# off. So only timeout passes it on, once, and the terminal and the group do not reach pytest.
	"${as[@]}" env TCPLAT="$root/build/tcplat" TCPLAT_BUILD="$root/build" \
		PYTHONDONTWRITEBYTECODE=1 timeout --foreground -k 20 -s INT "$seconds" \
		setsid /usr/bin/python3 -m pytest -p no:cacheprovider -q --no-header --tb=short -rsfE \
		--junitxml="$xml" "${pytest_args[@]}" "${paths[@]}"
	status=$?
	# 5: nothing was selected.
	((status == 5)) && return
	report='0 0 0'
	[[ -s $xml ]] && report=$(testlog junit "$xml")
	case $status in
	0 | 1) ;;
	2 | 124 | 137)
		# The report holds the test that was interrupted as one that has not failed.
		read -r p rest <<<"$report"
		report="$((p > 0 ? p - 1 : 0)) $rest"$'\n'$(tail -n +2 <<<"$report")
		report=$(add_failure "$report" 'out of time or interrupted')
		;;
	*) report=$(add_failure "$report" "pytest ended with status $status") ;;
	esac
	# Skips were listed by pytest, with their reasons.
	account "$suite" "$(grep -v '^skipped ' <<<"$report")"
}

skip_live() { # PATHS
	local count
	count=$(PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -p no:cacheprovider -q \
		--collect-only "${pytest_args[@]}" "$@" 2>/dev/null | grep -c ::)
	account live "0 0 $count"$'\n'"skipped all of them: tracing needs root (sudo ./dev test)"
}

suite_golden() { pytest_in golden 120; }

# What is shipped beside the program: units, manifests, dashboard, rules, Debian package.
suite_packaging() { pytest_in packaging 300; }

suite_live() { pytest_in live "${LIVE_SECONDS:-900}"; }

# --- vm: live tests in guests with other kernels ---------------------------------------------------

# What runs them has to say so when one hangs or dies.
vm_runner() {
	local xml=$results/vm-runner.xml report
	rm -f -- "$xml"
	TCPLAT_BUILD=$root/build PYTHONDONTWRITEBYTECODE=1 timeout --foreground -k 20 -s INT 600 \
		/usr/bin/python3 -m pytest -p no:cacheprovider -q --no-header --tb=short \
		--junitxml="$xml" "$root/tests/vm/test_guest.py"
	[[ -s $xml ]] && report=$(testlog junit "$xml") || report=$'0 1 0\nfailed it did not run'
	account 'vm runner' "$report"
	begin
}

# No root is needed for a guest, but what it ran would be in the way of a later run without.
suite_vm() {
	local name report status limit=1200
	have tests/vm/kernels.txt || return 0
	begin
	"${user[@]}" mkdir -p -- "$results"
	if ! command -v apt-get >/dev/null; then
		account vm $'0 0 1\nskipped all of them: the kernels and programs of the guests are Debian\'s'
		return
	fi
	vm_runner
	[[ " ${vm_args[*]} " == *' --all '* ]] && limit=5400
	PYTHONDONTWRITEBYTECODE=1 timeout --foreground -k 20 -s INT "$((${VM_SECONDS:-$limit} + 120))" \
		/usr/bin/python3 "$root/tests/vm/run.py" --build "$root/build" \
		--seconds "${VM_SECONDS:-$limit}" "${vm_args[@]}"
	status=$?
	# They run side by side: each line has the time that all of them took.
	while read -r name _; do
		[[ $name == [0-9]* ]] || continue
		report='0 0 0'
		if [[ -s $results/vm-$name.xml ]]; then
			report=$(testlog junit "$results/vm-$name.xml")
		elif [[ ! -e $results/vm-$name.why ]]; then
			((status == 0)) && continue # not asked for
			echo "no word of it: status $status" >"$results/vm-$name.why"
		fi
		[[ ! -e $results/vm-$name.why ]] ||
			report=$(add_failure "$report" "guest: $(<"$results/vm-$name.why")")
		account "vm $name" "$report"
	done <"$root/tests/vm/kernels.txt"
}

# --- fuzz ----------------------------------------------------------------------------------------

# Runs one fuzzer on a scratch corpus, so that the tree keeps only the seeds that were chosen.
fuzz_one() { # PROGRAM SECONDS
	local name seeds dir=$root/build-fuzz/run limits child
	name=$(basename -- "$1")
	seeds=$root/tests/fuzz/corpus/${name#fuzz_}
	limits=("-max_total_time=$2")
	(($2 > 0)) || limits=(-runs=0) # 0 would mean for ever
	"${user[@]}" mkdir -p -- "$dir/$name"
	[[ -d $seeds ]] || seeds=''
	"${user[@]}" env "${sanitizers[@]}" "${limit[@]}" $(($2 + 60)) "$1" "${limits[@]}" \
		-timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		"-artifact_prefix=$dir/$name-" "$dir/$name" ${seeds:+"$seeds"} >"$tmp/$name.log" 2>&1 &
	child=$!
	trap 'kill "$child"; exit 143' TERM
	wait "$child"
	echo $? >"$tmp/$name.status"
}

suite_fuzz() {
	local targets=() program name p=0 f=0 lines=''
	local options=(CC=clang -Dfuzz=true '-Db_sanitize=address,undefined' -Db_lundef=false)
	have 'tests/fuzz/*.c' && grep -qsE "option\('fuzz'" meson_options.txt meson.options || return 0
	begin
	if check_writable build-fuzz && configure build-fuzz "${options[@]}"; then
		mapfile -t targets < <(testlog fuzzers "$root/build-fuzz")
	fi
	if ((${#targets[@]} == 0)) || ! compile build-fuzz "${targets[@]}" -- "${options[@]}"; then
		account fuzz $'0 1 0\nfailed the fuzzers could not be built'
		return
	fi
	rm -rf -- "$root/build-fuzz/run"
	"${user[@]}" mkdir -- "$root/build-fuzz/run"
	for program in "${targets[@]}"; do
		while (($(jobs -pr | wc -l) >= cpus)); do wait -n; done
		fuzz_one "$root/build-fuzz/$program" "${FUZZ_SECONDS:-12}" &
	done
	wait
	for program in "${targets[@]}"; do
		name=$(basename -- "$program")
		if [[ $(cat "$tmp/$name.status") == 0 ]]; then
			((p += 1))
			continue
		fi
		((f += 1))
		lines+=$'\n'"failed $name (its input: build-fuzz/run/$name-*)"
		tail -n 40 "$tmp/$name.log"
	done
	account fuzz "$p $f 0$lines"
}

# --- All of them ---------------------------------------------------------------------------------

test_main() {
	local suites=() word suite needs='lint'
	pytest_args=() pytest_paths=() vm_args=()
	while (($#)); do
		word=$1
		shift
		case $word in
		unit) suites+=(unit asan) ;;
		asan | golden | packaging | live | vm | fuzz | lint) suites+=("$word") ;;
		tests/golden/* | tests/packaging/* | tests/live/*)
			pytest_paths+=("$word")
			word=${word#tests/}
			suites+=("${word%%/*}")
			;;
		-k | -m)
			(($#)) || die "$word needs an expression"
			pytest_args+=("$word" "$1")
			shift
			((${#suites[@]})) || suites=(golden live)
			;;
		--all | --kernel=*) vm_args+=("$word") ;;
		-*) pytest_args+=("$word") ;;
		*)
			say "unknown suite \"$word\": unit asan golden packaging live vm fuzz lint"
			exit 2
			;;
		esac
	done
	((${#suites[@]})) || suites=(unit asan golden packaging live vm fuzz lint)
	mapfile -t suites < <(printf '%s\n' "${suites[@]}" | awk '!seen[$0]++')

	[[ ${suites[*]} == lint ]] || needs='test'
	need "$needs"
	# CI systems differ in whether there is a home.
	export HOME=${HOME:-$tmp}
	exec </dev/null 2>&1

	built=yes
	begin
	if ! build; then
		built=''
		account build $'0 1 0\nfailed it does not build'
	fi
	for suite in "${suites[@]}"; do
		# Five times the same error of a compiler helps nobody.
		if [[ -z $built && $suite != lint ]]; then
			printf '%-12s not run\n' "$suite"
			continue
		fi
		"suite_$suite"
	done

	((${#failures[@]} == 0)) || printf 'failed: %s\n' "${failures[@]}"
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	((failed == 0 && passed > 0))
}
