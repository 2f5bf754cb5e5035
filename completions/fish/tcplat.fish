# SPDX-License-Identifier: GPL-2.0-or-later
#
# Completion of tcplat and of the original tools' names that it answers to.

# Is the word at the cursor one of COMMAND's, behind --?
function __tcplat_in_command
    contains -- -- (commandline -opc)
end

function __tcplat_needs_view
    test (count (commandline -opc)) -eq 1
end

function __tcplat_in_view
    set -l words (commandline -opc)
    test (count $words) -ge 2
    and contains -- $words[2] $argv
    and not __tcplat_in_command
end

# Without a view, which is where one would stand.
function __tcplat_in_summary
    set -l words (commandline -opc)
    not __tcplat_in_command
    and begin
        test (count $words) -eq 1
        or string match -q -- '-*' $words[2]
    end
end

# As if COMMAND stood on a line of its own.
function __tcplat_command
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    set -l line (string escape -- $words[(math $at + 1)..-1]) (commandline -ct)
    complete -C (string join ' ' -- $line)
end

# The last element of a comma-separated list, without those that are in it already.
function __tcplat_list
    set -l token (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    set -l before (string match -r '^.*,' -- $token)
    for entry in $argv
        string match -q -- "*,$entry,*" ",$before"
        or echo "$before$entry"
    end
end

function __tcplat_netns
    set -l word (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    if string match -q '*/*' -- $word
        __fish_complete_path $word
    else
        ip netns list 2>/dev/null | string replace -r ' .*' ''
    end
end

# Groups by their path below the root of cgroup v2, or by their full path.
function __tcplat_cgroup
    set -l word (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    if string match -q '/*' -- $word
        __fish_complete_directories $word
        return
    end
    set -l root (string match -r '^\S+ (\S+) cgroup2 ' </proc/self/mounts)[2]
    test -n "$root"
    and pushd (string unescape -- $root) 2>/dev/null
    and begin
        __fish_complete_directories $word
        popd
    end
end

for name in tcplat tcpconnlat tcppktlat tcprtt
    complete -c $name -f
    complete -c $name -n __tcplat_in_command -a '(__tcplat_command)'
end

complete -c tcplat -n __tcplat_needs_view -a connect -d 'Latency and outcome of the connections this host opens'
complete -c tcplat -n __tcplat_needs_view -a pickup -d 'How long received data waits for the program'
complete -c tcplat -n __tcplat_needs_view -a rtt -d 'Round-trip times by peer, port or program'
complete -c tcplat -n __tcplat_needs_view -a serve -d 'An agent for Prometheus: all measurements over HTTP'

set -l view '__tcplat_in_view connect pickup rtt'
set -l shared "$view; or __tcplat_in_summary"
set -l common "$shared; or __tcplat_in_view serve"
complete -c tcplat -n $common -s p -l pid -xa '(__fish_complete_pids)' -d 'Only this process'
complete -c tcplat -n $common -l tid -x -d 'Only this thread'
complete -c tcplat -n $common -l uid -xa '(__fish_complete_users)' -d 'Only processes of this user'
complete -c tcplat -n $common -l comm -x -d 'Only processes of this name'
complete -c tcplat -n $common -s l -l lport -x -d 'Only these local ports'
complete -c tcplat -n $common -s r -l rport -x -d 'Only these remote ports'
complete -c tcplat -n $common -s L -l laddr -x -d 'Only this local address or subnet'
complete -c tcplat -n $common -s R -l raddr -x -d 'Only this remote address or subnet'
complete -c tcplat -n $common -s 4 -l ipv4 -d 'Only IPv4'
complete -c tcplat -n $common -s 6 -l ipv6 -d 'Only IPv6'
complete -c tcplat -n $common -l netns -xa '(__tcplat_netns)' -d 'Only this network namespace'
complete -c tcplat -n $common -l cgroup -xa '(__tcplat_cgroup)' -d 'Only processes in this group or below'
complete -c tcplat -n $view -l min -x -d 'Only latencies of at least this'
complete -c tcplat -n $shared -l json -d 'JSON Lines'
complete -c tcplat -n $view -l hist -d 'Histograms'
complete -c tcplat -n $view -l stats -d 'Of each histogram one line'
complete -c tcplat -n $view -l heatmap -d 'Time across, latency down'
complete -c tcplat -n $view -l sort -xa 'count p99 max' -d 'Which histograms come first'
complete -c tcplat -n $shared -l top -x -d 'Only so many'
complete -c tcplat -n $shared -s i -l interval -x -d 'Print this often'
complete -c tcplat -n $shared -s d -l duration -x -d 'End after this time'
complete -c tcplat -n $view -s t -l timestamp -d 'Begin rows with the time of day'
complete -c tcplat -n $view -s w -l wide -d 'Room for IPv6 addresses from the start'
complete -c tcplat -n $shared -s o -l output -rF -d 'Write to this file'
complete -c tcplat -n $view -l max-events -x -d 'End after this many rows'
complete -c tcplat -n $shared -s a -l all -d 'Trace everything while the command runs'
complete -c tcplat -n $shared -s u -l user -xa '(__fish_complete_users)' -d 'Run the command as this user'
complete -c tcplat -n $common -l features -d 'Print what this kernel lets us see'
complete -c tcplat -n $view -l replay -rF -d 'Read recorded JSON Lines'
complete -c tcplat -n $view -l buffer -xa '64k 256k 1m 4m 16m 64m 256m 1g' -d 'Size of the ring buffer'
complete -c tcplat -n $shared -l max-keys -x -d 'Most keys that are counted'
complete -c tcplat -n $common -s v -l verbose -d 'Say what is attached'
complete -c tcplat -n $common -s h -l help -d 'Print the options'
complete -c tcplat -n $common -s V -l version -d 'Print the version'

set -l connect '__tcplat_in_view connect'
complete -c tcplat -n $connect -l failed -d 'Only attempts that did not succeed'
complete -c tcplat -n $connect -l by -xa '(__tcplat_list laddr raddr lport rport pid comm cgroup netns outcome)' -d 'One histogram for each'
complete -c tcplat -n $connect -l columns -xa '(__tcplat_list time clock elapsed pid tid comm ip laddr lport raddr rport outcome error syns rtt netns cgroup lat)' -d 'Choose the columns'

set -l pickup '__tcplat_in_view pickup'
complete -c tcplat -n $pickup -l split -d 'Where the wait went'
complete -c tcplat -n $pickup -l by -xa '(__tcplat_list laddr raddr lport rport pid comm cgroup netns)' -d 'One histogram for each'
complete -c tcplat -n $pickup -l columns -xa '(__tcplat_list time clock elapsed pid tid comm ip laddr lport raddr rport wake runq app bytes segments netns cgroup lat)' -d 'Choose the columns'

set -l rtt '__tcplat_in_view rtt'
complete -c tcplat -n $rtt -l rows -d 'A row for each sample'
complete -c tcplat -n $rtt -l srtt -d 'The smoothed round-trip time'
complete -c tcplat -n $rtt -l min-rtt -d 'The windowed minimum'
complete -c tcplat -n $rtt -l jitter -d 'The difference to the sample before'
complete -c tcplat -n $rtt -l receiver -d 'The estimate of the receiving side'
complete -c tcplat -n $rtt -l by -xa '(__tcplat_list laddr raddr lport rport pid comm cgroup netns none)' -d 'A line for each'
complete -c tcplat -n $rtt -l columns -xa '(__tcplat_list time clock elapsed pid tid comm ip laddr lport raddr rport srtt min_rtt netns cgroup rtt)' -d 'Choose the columns'

set -l serve '__tcplat_in_view serve'
complete -c tcplat -n $serve -l listen -x -d 'Answer at this address and port'
complete -c tcplat -n $serve -l by -xa '(__tcplat_list laddr raddr lport rport pid comm cgroup netns unit container pod)' -d 'Labels'
complete -c tcplat -n $serve -l split -d 'Where the wait of pickups went'
complete -c tcplat -n $serve -l edges -xa 'octave fine' -d 'Edges of buckets'
complete -c tcplat -n $serve -l max-series -x -d 'Most lines of a page'
complete -c tcplat -n $serve -l all-ports -d 'Ephemeral ports too'
complete -c tcplat -n $serve -l bpf-stats -d 'Time every BPF program of the host'
complete -c tcplat -n $serve -s u -l user -xa '(__fish_complete_users)' -d 'Run as this user'

set -l options 'not __tcplat_in_command'
complete -c tcpconnlat -n $options -s h -l help -d 'Print the options'
complete -c tcpconnlat -n $options -s t -l timestamp -d 'Begin rows with the seconds since the first'
complete -c tcpconnlat -n $options -s p -l pid -xa '(__fish_complete_pids)' -d 'Only this process'
complete -c tcpconnlat -n $options -s L -l lport -d 'Add the local port'
complete -c tcpconnlat -n $options -s 4 -l ipv4 -d 'Only IPv4'
complete -c tcpconnlat -n $options -s 6 -l ipv6 -d 'Only IPv6'
complete -c tcpconnlat -n $options -s v -l verbose -d 'Say what is attached'
complete -c tcpconnlat -n $options -l all-outcomes -d 'Also attempts without an answer'
complete -c tcpconnlat -n $options -l json -d 'JSON Lines'
complete -c tcpconnlat -n $options -l all -d 'Trace everything while the command runs'
complete -c tcpconnlat -n $options -l replay -rF -d 'Read recorded JSON Lines'
complete -c tcpconnlat -n $options -l usage -d 'Print a short usage message'
complete -c tcpconnlat -n $options -s V -l version -d 'Print the version'

complete -c tcppktlat -n $options -s l -l lport -x -d 'Only these local ports'
complete -c tcppktlat -n $options -s p -l pid -xa '(__fish_complete_pids)' -d 'Only this process'
complete -c tcppktlat -n $options -s r -l rport -x -d 'Only these remote ports'
complete -c tcppktlat -n $options -s t -l tid -x -d 'Only this thread'
complete -c tcppktlat -n $options -s T -l timestamp -d 'Begin rows with the time of day'
complete -c tcppktlat -n $options -s v -l verbose -d 'Say what is attached'
complete -c tcppktlat -n $options -s w -l wide -d 'Room for IPv6 addresses'
complete -c tcppktlat -n $options -s '?' -l help -d 'Print the options'
complete -c tcppktlat -n $options -l usage -d 'Print a short usage message'
complete -c tcppktlat -n $options -s V -l version -d 'Print the version'
complete -c tcppktlat -n $options -l json -d 'JSON Lines'
complete -c tcppktlat -n $options -l all -d 'Trace everything while the command runs'
complete -c tcppktlat -n $options -l replay -rF -d 'Read recorded JSON Lines'

complete -c tcprtt -n $options -s h -l help -d 'Print the options'
complete -c tcprtt -n $options -s i -l interval -x -d 'Print this often'
complete -c tcprtt -n $options -s d -l duration -x -d 'End after this time'
complete -c tcprtt -n $options -s T -l timestamp -d 'Print the time of day'
complete -c tcprtt -n $options -s m -l milliseconds -d 'Count in milliseconds'
complete -c tcprtt -n $options -s p -l lport -x -d 'Only this local port'
complete -c tcprtt -n $options -s P -l rport -x -d 'Only this remote port'
complete -c tcprtt -n $options -s a -l laddr -x -d 'Only this local address'
complete -c tcprtt -n $options -s A -l raddr -x -d 'Only this remote address'
complete -c tcprtt -n $options -s b -l byladdr -d 'One for each local address'
complete -c tcprtt -n $options -s B -l byraddr -d 'One for each remote address'
complete -c tcprtt -n $options -s e -l extension -d 'Print the average, too'
complete -c tcprtt -n $options -s D -l debug -d 'Say what is attached'
complete -c tcprtt -n $options -s 4 -l ipv4 -d 'Only IPv4'
complete -c tcprtt -n $options -s 6 -l ipv6 -d 'Only IPv6'
complete -c tcprtt -n $options -l json -d 'JSON Lines'
complete -c tcprtt -n $options -l all -d 'Trace everything while the command runs'
complete -c tcprtt -n $options -l replay -rF -d 'Read recorded JSON Lines'
complete -c tcprtt -n $options -s v -l verbose -d 'Say what is attached'
complete -c tcprtt -n $options -l usage -d 'Print a short usage message'
complete -c tcprtt -n $options -s V -l version -d 'Print the version'
