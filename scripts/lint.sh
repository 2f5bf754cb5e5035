# shellcheck shell=bash disable=SC2154 # root, user, limit are set by ./dev
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced by scripts/test.sh: the checkers. Each counts as one test.

# Sets sources to what git tracks or could track; a tarball has no git and no rubbish either.
list_sources() {
	local file
	sources=()
	while IFS= read -r -d '' file; do
		case $file in
		reference/* | tests/fuzz/corpus/*) continue ;;
		esac
		[[ -f $file && ! -L $file ]] && sources+=("${file#./}")
	done < <(git "${git_config[@]}" ls-files -z -co --exclude-standard 2>/dev/null ||
		find . -path './build*' -prune -o -path ./.git -prune -o -type f -print0)
}

# Sets chosen to the sources that match one of the patterns.
choose() { # EXTENDED-REGEX
	local file
	chosen=()
	for file in "${sources[@]}"; do
		[[ $file =~ $1 ]] && chosen+=("$file")
	done
	((${#chosen[@]}))
}

# One checker: its output is shown only when it complains.
check() { # NAME COMMAND…
	local name=$1
	shift
	begin
	if quietly "$@"; then
		account "$name" '1 0 0'
	else
		account "$name" $'0 1 0\nfailed its complaints are above'
	fi
}

lint_format() { "${limit[@]}" 120 clang-format --dry-run -Werror --style=file "${chosen[@]}"; }

# Headers of the build directory (the generated skeleton) are not ours to tidy. The fuzz targets
# are built elsewhere; clang-tidy guesses their commands, and is told where our headers are.
lint_tidy() {
	local here
	# shellcheck disable=SC2001 # a group of characters, each kept
	here=$(sed 's/[][\.*^$+?(){}|]/\\&/g' <<<"$root")
	printf '%s\0' "${chosen[@]}" | "${user[@]}" "${limit[@]}" 400 xargs -0 -n 1 -P "$cpus" \
		clang-tidy -p "$root/build" --quiet --extra-arg=-Wno-unknown-warning-option \
		"--extra-arg=-I$root/include" "--extra-arg=-I$root/src" \
		"--header-filter=^($here/(build/\.\./)?|\.\./)(src|include|tests)/" 2>&1 |
		grep -vE '^[0-9]+ warnings? (and [0-9]+ errors? )?generated|^Suppressed |^Use -header-filter'
	return "${PIPESTATUS[1]}"
}

lint_cppcheck() {
	local id suppress=()
	# It does not look into system headers, so it cannot know every macro; it does not know
	# __attribute__((cleanup)); and we have one thread.
	for id in missingInclude missingIncludeSystem unknownMacro unmatchedSuppression memleak \
		resourceLeak getpwnamCalled getpwuidCalled getgrnamCalled getgrgidCalled \
		localtimeCalled gmtimeCalled readdirCalled strtokCalled; do
		suppress+=("--suppress=$id")
	done
	"${limit[@]}" 300 cppcheck --quiet --error-exitcode=1 -j "$cpus" --std=c11 --inline-suppr \
		--enable=warning,performance,portability --library=posix --library=gnu \
		--template='{file}:{line}: {severity}: {message} [{id}]' "${suppress[@]}" \
		-I include -I src "${chosen[@]}"
}

lint_shell() {
	local file status=0
	for file in "${chosen[@]}"; do
		case $file in
		completions/*) set -- --shell=bash ;;
		*) set -- ;;
		esac
		shellcheck --external-sources "$@" -- "$file" || status=1
	done
	return "$status"
}

lint_python() {
	/usr/bin/python3 -c '
import sys
bad = 0
for path in sys.argv[1:]:
    try:
        compile(open(path, "rb").read(), path, "exec")
    except (SyntaxError, ValueError) as error:
        print(f"{path}: {error}")
        bad = 1
sys.exit(bad)
' "${chosen[@]}"
}

lint_spdx() {
	local file status=0
	for file in "${chosen[@]}"; do
		head -n 5 -- "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' && continue
		printf '%s: no SPDX line in the first five\n' "$file"
		status=1
	done
	return "$status"
}

# A hint, not an error: some tables are long.
mention_long_files() {
	local file lines
	for file in "${chosen[@]}"; do
		lines=$(wc -l <"$file")
		((lines <= 500)) || printf 'warning: %s has %d lines; could it be two files?\n' "$file" "$lines"
	done
}

suite_lint() {
	local shell='^dev$|^\.ci/run$|\.sh$|^completions/(bash/)?[^_/][^/.]*(\.bash)?$'
	list_sources
	choose '\.[ch]$' && check clang-format lint_format
	if choose '^(src|tests)/.*\.c$' && [[ -f $root/build/compile_commands.json ]]; then
		check clang-tidy lint_tidy
	fi
	choose '^(src|include|tests)/.*\.[ch]$' && check cppcheck lint_cppcheck
	choose "$shell" && check shellcheck lint_shell
	choose '\.py$' && check python lint_python
	choose "\.([ch1-8]|py|ya?ml|toml|cfg|ini|fish|zsh|service|spec)\$|(^|/)(meson\.build|meson[_.]options(\.txt)?|Makefile|Dockerfile|_tcp[a-z]+|\.(clang-format|clang-tidy|gitignore|editorconfig))\$|$shell" &&
		check spdx lint_spdx
	choose '\.([ch]|py|sh)$|^dev$' && mention_long_files
}
