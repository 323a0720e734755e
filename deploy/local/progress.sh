# Sourced by every script: how they speak, fail and wait.
# shellcheck shell=bash

# Lines of this form are shown by run_step while everything else goes to its log.
MARK='  · '

say() { printf '%s%s\n' "$MARK" "$*"; }

fail() {
  printf '%serror: %s\n' "$MARK" "$*" >&2
  exit 1
}

# The milliseconds since the machine's start; never goes back.
clock_ms() {
  local uptime rest
  read -r uptime rest </proc/uptime
  echo "${uptime/./}0"
}

# since MS: the time that passed, for people: "0.4 s", "12 s", "3 min 5 s".
since() {
  local ms=$(($(clock_ms) - $1))
  if ((ms < 10000)); then
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
  elif ((ms < 120000)); then
    printf '%d s' $((ms / 1000))
  else
    printf '%d min %d s' $((ms / 60000)) $((ms / 1000 % 60))
  fi
}

# poll SECONDS WHAT COMMAND...: runs COMMAND until it succeeds. Says every 5 s what it waits for; false when the time is
# over, or at once when COMMAND returns 9: it will never succeed.
poll() {
  local begun seconds=$1 what=$2 said=5000 passed status
  begun=$(clock_ms)
  shift 2
  while true; do
    status=0
    "$@" >/dev/null 2>&1 || status=$?
    ((status == 0)) && return 0
    ((status == 9)) && return 1
    passed=$(($(clock_ms) - begun))
    ((passed >= seconds * 1000)) && return 1
    if ((passed >= said)); then
      say "waiting for $what ($((passed / 1000)) of at most $seconds s)"
      said=$((said + 5000))
    fi
    sleep 0.1
  done
}

# run_step TITLE COMMAND...: one step of a long run. Shows the marked lines of COMMAND and, every 15 s without one, the
# newest line of its log, so that a long build is seen to move; shows the end of the log if it fails.
# The log is $STEP_LOGS/TITLE.log.
run_step() {
  local title=$1 log begun watcher status
  shift
  begun=$(clock_ms)
  mkdir -p "$STEP_LOGS"
  log=$STEP_LOGS/$(tr -cs '[:alnum:].\n' - <<<"$title").log
  echo "$title"
  : >"$log"
  show_newest_line "$log" &
  watcher=$!
  # Not with "||" behind it: bash would then go on after a failure inside COMMAND.
  set +e
  (
    set -e
    "$@" </dev/null
  ) 2>&1 | tee -a "$log" | grep --line-buffered "^$MARK"
  status=${PIPESTATUS[0]}
  set -e
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  if ((status != 0)); then
    echo "    failed after $(since "$begun"); the end of its log ($log):"
    tail -n 60 "$log" | sed 's/^/    | /'
    return "$status"
  fi
  echo "    done in $(since "$begun")"
}

# show_newest_line LOG: prints the last line of LOG every 15 s, where it is not one that is shown anyway. Ends with the
# process that started it.
show_newest_line() {
  local silence newest
  # Nothing is ever written to it: to wait for its next line is a sleep that ends with this process.
  exec {silence}<> <(:)
  while ! read -r -t 15 -u "$silence" && kill -0 $$ 2>/dev/null; do
    newest=$(tail -n 1 "$1" | sed 's/^ *//' | cut -c 1-100)
    [[ -z $newest || $newest == ·* ]] || echo "    … $newest"
  done
}
