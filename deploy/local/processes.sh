# Sourced by up.sh, down.sh and status.sh: the processes of the local Kubernetes outlive the shell that starts them, are
# known again by more than their number, and all can be ended, with the containers they started.
# shellcheck shell=bash

PROCESSES=$PGO_LOCAL_DIR/processes
LOGS=$PGO_LOCAL_DIR/logs

# identity PID: what no other process has had: the machine's boot and the process's start in clock ticks since then.
# A number alone may belong to a stranger by now. False if there is no such process.
identity() {
  local stat boot fields
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
  read -r boot </proc/sys/kernel/random/boot_id
  # The second field is the program's name in brackets and may hold blanks; the third to the last do not.
  read -r -a fields <<<"${stat##*) }"
  # A zombie has ended; nobody has asked for its exit code yet. While it has other threads they end still, and hold its ports.
  [[ ${fields[0]} != Z ]] || ((fields[17] > 1)) || return 1
  echo "$1 ${fields[19]} $boot"
}

# start NAME COMMAND...: in a session and cgroup of its own, with its output in $LOGS/NAME.log.
start() {
  local name=$1
  shift
  mkdir -p "$PROCESSES" "$LOGS"
  # A lock or a pipe that the caller holds must not live on in a process that does not end.
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      ((fd <= 2)) || exec {fd}>&-
    done
    for file in $(cgroup_dirs system); do
      echo "$BASHPID" >"$file/cgroup.procs"
    done
    ulimit -n "$(ulimit -Hn)"
    exec setsid "$@"
  ) </dev/null >"$LOGS/$name.log" 2>&1 &
  identity $! >"$PROCESSES/$name"
}

# alive NAME: the process that was started as NAME still runs.
alive() {
  local recorded
  recorded=$(cat "$PROCESSES/$1" 2>/dev/null) || return 1
  [[ -n $recorded && $(identity "${recorded%% *}") == "$recorded" ]]
}

# all_alive: every recorded process runs, and there is one.
all_alive() { compgen -G "$PROCESSES/*" >/dev/null && [[ -z $(dead_processes) ]]; }

# await NAME SECONDS WHAT COMMAND...: polls COMMAND, which is process NAME's to make true. When it does not, or any of our
# processes ends meanwhile, shows the log of who is to blame, and fails.
await() {
  local name=$1 seconds=$2 what=$3 why dead
  shift 3
  holds() { [[ -z $(dead_processes) ]] || return 9; "$@"; }
  poll "$seconds" "$what" holds "$@" && return
  why="not there after $seconds s"
  dead=$(dead_processes)
  if [[ -n $dead ]]; then
    name=${dead%%$'\n'*}
    why="process $name ended"
  fi
  say "the end of $LOGS/$name.log:"
  tail -n 30 "$LOGS/$name.log" | sed "s/^/$MARK| /"
  fail "waited for $what: $why"
}

# dead_processes: the names of those that were started and have ended.
dead_processes() {
  local record
  for record in "$PROCESSES"/*; do
    [[ ! -e $record ]] || alive "${record##*/}" || echo "${record##*/}"
  done
}

# cgroup_dirs NAME: the directory of our cgroup NAME in each hierarchy: one with cgroup v2, one per controller with v1.
cgroup_dirs() {
  local root
  for root in $(cgroup_roots); do
    echo "$root/$CGROUP/$1"
  done
}

cgroup_roots() {
  local root
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
    return
  fi
  for root in /sys/fs/cgroup/*; do
    # Two controllers may share one hierarchy (cpu,cpuacct); the links to it do not count.
    if [[ -e $root/cgroup.procs && ! -L $root ]]; then echo "$root"; fi
  done
}

# make_cgroup NAME: in each hierarchy, fit for processes and, where it is a node's, for the kubelet's cgroups below.
make_cgroup() {
  local dir file parent
  for dir in $(cgroup_dirs "$1"); do
    mkdir -p "$dir"
    for parent in "${dir%/*}" "$dir"; do
      # A cpuset without processors and memory takes no process (v1 only).
      for file in cpuset.cpus cpuset.mems; do
        [[ ! -e $parent/$file || -n $(<"$parent/$file") || -e /sys/fs/cgroup/cgroup.controllers ]] || cat "${parent%/*}/$file" >"$parent/$file"
      done
    done
    # With v2 a controller is there only where the parent hands it on; not to "system": its processes need none.
    if [[ -e /sys/fs/cgroup/cgroup.controllers && $1 != system ]]; then
      for parent in /sys/fs/cgroup "${dir%/*}" "$dir"; do
        for file in $(<"$parent/cgroup.controllers"); do
          echo "+$file" >"$parent/cgroup.subtree_control" || true
        done
      done
    fi
  done
}

# cgroup_processes: the numbers of all processes in our cgroups: what we started, and all containers.
cgroup_processes() {
  local root
  for root in $(cgroup_roots); do
    [[ ! -d $root/$CGROUP ]] || find "$root/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}

# end_processes: ends them all, at once: what they would save on a friendly end is removed next.
end_processes() {
  local record recorded
  for record in "$PROCESSES"/*; do
    [[ -e $record ]] || break
    recorded=$(<"$record")
    if alive "${record##*/}"; then kill -KILL "${recorded%% *}" 2>/dev/null || true; fi
  done
  nothing_left() {
    local left
    left=$(cgroup_processes)
    [[ -n $left ]] || return 0
    # The list was read a moment ago and processes fork: again until there is none. In a frozen cgroup of v1 a signal
    # waits for the thaw.
    thaw
    xargs -r kill -KILL <<<"$left" 2>/dev/null
    return 1
  }
  poll 30 "the end of the processes" nothing_left || fail "these processes do not end: $(cgroup_processes | tr '\n' ' ')"
}

thaw() {
  local freezer=/sys/fs/cgroup/freezer/$CGROUP
  [[ ! -d $freezer ]] || find "$freezer" -depth -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; 2>/dev/null
  return 0
}

# remove_cgroups: all of ours; they are empty of processes. The kernel may take a moment to see that.
remove_cgroups() {
  gone() {
    local root left=0
    for root in $(cgroup_roots); do
      [[ ! -d $root/$CGROUP ]] || find "$root/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null
      [[ ! -d $root/$CGROUP ]] || left=1
    done
    return $left
  }
  poll 10 "the removal of cgroups" gone || fail "cgroup $CGROUP cannot be removed: processes in it: $(cgroup_processes | tr '\n' ' ')"
}
