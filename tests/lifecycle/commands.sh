#!/usr/bin/env bash
# commands.sh alone|run|push|compose|stop: holds the commands to what the README says of them. "alone" needs no
# Kubernetes; "run" ends with PGO installed and no cluster there; "push" needs what was built for that; "compose" runs the
# services in containers beside it; "stop" ends with nothing of it left on the machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../../deploy/local/settings.sh"
source "$here/../../deploy/local/progress.sh"
passed=0

# holds WHAT COMMAND...
holds() {
  local what=$1
  shift
  "$@" || fail "does not hold: $what"
  echo "ok: $what"
  passed=$((passed + 1))
}

SCRATCH=$(mktemp -d)
# Each is a command that undoes something; the last one first.
UNDO=("rm -rf '$SCRATCH'")
undo() {
  local i
  for ((i = ${#UNDO[@]} - 1; i >= 0; i--)); do eval "${UNDO[i]}" || true; done
}
trap undo EXIT

make_target() { make --no-print-directory -C "$@"; }

# fails_and_says TEXT COMMAND...: on standard output or error.
fails_and_says() {
  local text=$1
  shift
  if "$@" >"$SCRATCH/output" 2>&1; then
    echo "it succeeds, and says:"
    cat "$SCRATCH/output"
    return 1
  fi
  grep -qF -- "$text" "$SCRATCH/output" || {
    echo "\"$text\" is not in what it says:"
    cat "$SCRATCH/output"
    return 1
  }
}

# scratch_clone FOLDER: what the commands consist of, in another place.
scratch_clone() {
  mkdir "$1"
  cp -r "$PGO_ROOT/Makefile" "$PGO_ROOT/Cargo.toml" "$PGO_ROOT/deploy" "$1/"
}

help_lists_every_target() {
  diff <(sed -n 's/^\.PHONY: //p' "$PGO_ROOT/Makefile" | tr ' ' '\n' | sort) \
    <(make_target "$PGO_ROOT" help | awk 'NF < 2 {exit 1} {print $1}' | sort)
}

# missing_packages PATH: packages.sh as it speaks to a user that may not install anything, with no package there.
missing_packages() {
  setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH="$1" bash "$SCRATCH/packages/packages.sh"
}

# install_with SETTING...: the check of the settings alone, as install.sh calls it.
install_with() {
  # shellcheck disable=SC2016 # for the other shell
  env -i HOME=/root PATH="$PATH" "$@" bash -euc 'source "$1/progress.sh"; source "$1/settings.sh"; check_settings' \
    bash "$PGO_ROOT/deploy/install"
}

wrong_settings_are_refused() {
  local wrong
  install_with DISABLE_TLS=true LOG_FORMAT=text PGO_SERVICES=false PGO_EVENT_RETENTION_DAYS=7 PGO_EVENT_VOLUME_SIZE=4Gi || return 1
  for wrong in PGO_SERVICES=xfalse DISABLE_TLS=true1 DISABLE_EVENTING=yes LOG_FORMAT=json5 EVENT_REPLICAS=3 NAMESPACE=a,B \
    PGO_EVENT_RETENTION_DAYS=0 PGO_EVENT_RETENTION_BYTES=1Gi PGO_EVENT_VOLUME_SIZE=1G; do
    fails_and_says "; it must be " install_with "$wrong" || return 1
  done
}

wrong_numbers_of_nodes_are_refused() {
  local wrong
  for wrong in abc 0 10 -1; do
    fails_and_says "NODES is \"$wrong\"; 1 to 9 are possible" env NODES="$wrong" make --no-print-directory -C "$SCRATCH/clone" run || return 1
    ! grep -q '^1/7' "$SCRATCH/output" || return 1
  done
}

# Debian's list of packages, which knows of none.
prepare_missing_packages() {
  local program
  chmod 0755 "$SCRATCH"
  mkdir -p "$SCRATCH"/packages/{bin,without-apt}
  cp "$PGO_ROOT"/deploy/local/{packages,progress}.sh "$SCRATCH/packages/"
  printf '#!/bin/sh\nexit 1\n' >"$SCRATCH/packages/bin/dpkg-query"
  chmod 0755 "$SCRATCH/packages/bin/dpkg-query"
  for program in bash dirname sed grep; do ln -s "$(command -v "$program")" "$SCRATCH/packages/without-apt/"; done
}

a_failed_step_shows_its_log() {
  local path=$SCRATCH/broken
  mkdir "$path"
  # shellcheck disable=SC2016 # for that script
  printf '#!/bin/sh\nfor word; do [ "$word" = version ] && exec "%s" version; done\necho "this go builds nothing" >&2\necho "it keeps $GOCACHE and $GOMODCACHE" >&2\nexit 1\n' \
    "$(command -v go)" >"$path/go"
  chmod 0755 "$path/go"
  fails_and_says "    | this go builds nothing" \
    env PATH="$path:$PATH" PGO_CACHE="$SCRATCH/empty-cache" make --no-print-directory -C "$SCRATCH/clone" run || return 1
  grep -qF "it keeps $SCRATCH/empty-cache/gobuild and $SCRATCH/empty-cache/gomod" "$SCRATCH/output" || return 1
  grep -qF "failed after" "$SCRATCH/output" && grep -qF "$SCRATCH/clone/.local/logs/2-7-programs" "$SCRATCH/output" &&
    ! grep -q '^3/7' "$SCRATCH/output"
}

# with_old PROGRAM SAYS: the first step of make run, with a PROGRAM that says that of its version.
with_old() {
  local path=$SCRATCH/old-$1
  mkdir -p "$path"
  printf '#!/bin/sh\necho "%s"\n' "$2" >"$path/$1"
  chmod 0755 "$path/$1"
  PATH="$path:$PATH" "$SCRATCH/clone/deploy/local/packages.sh"
}

# A step of a quarter of a minute and more, which says itself nothing to the user.
slow_step() {
  STEP_LOGS=$SCRATCH/logs run_step "a slow step" bash -c 'echo "   Compiling something large"; sleep 17'
}

what_a_slow_step_does_is_shown() {
  wait "$1" && grep -qx "    … Compiling something large" "$SCRATCH/slow" || { cat "$SCRATCH/slow"; return 1; }
}

# Debian's programs as they are on a machine with none of the packages. The one that installs notes what it is asked for, and
# whether Debian is kept from starting what it installs.
prepare_installation() {
  local path=$SCRATCH/debian
  mkdir "$path"
  printf '#!/bin/sh\nexit 1\n' | tee "$path/dpkg-query" >"$path/systemctl"
  cat >"$path/apt-get" <<EOT
#!/bin/sh
[ "\$1" != install ] || { /usr/sbin/policy-rc.d; echo "policy \$?"; grep -h main_cluster /etc/postgresql-common/createcluster.conf; } >>"$SCRATCH/installed"
echo "\$@" >>"$SCRATCH/installed"
EOT
  chmod 0755 "$path"/*
}

# Where Debian's own configuration is, a folder that is gone afterwards.
missing_packages_are_installed() {
  local policy=/usr/sbin/policy-rc.d before
  before=$(ls "$policy" 2>/dev/null || true)
  prepare_installation
  # shellcheck disable=SC2016 # for the other shell
  PATH="$SCRATCH/debian:$PATH" unshare --mount bash -euc '
    mkdir -p /etc/postgresql-common
    mount -t tmpfs none /etc/postgresql-common
    "$1"
  ' bash "$SCRATCH/clone/deploy/local/packages.sh" >"$SCRATCH/output" || { cat "$SCRATCH/output"; return 1; }
  [[ $(ls "$policy" 2>/dev/null || true) == "$before" ]] || return 1
  grep -qF "installing etcd-server containerd" "$SCRATCH/output" && grep -qE "installed now: [1-9]" "$SCRATCH/output" || return 1
  diff <(printf '%s\n' "update -q" "policy 101" "create_main_cluster = false" "install -y -q --no-install-recommends etcd-server") \
    <(sed 's/ containerd .*//' "$SCRATCH/installed")
}

# What checks and tests call, with all of it in order but the tests, which end with $TESTS_END_WITH.
prepare_checks() {
  local program
  mkdir -p "$SCRATCH"/checks "$SCRATCH"/checks-cache
  ln -s "$PGO_CACHE/built" "$SCRATCH/checks-cache/built"
  for program in gofmt git shellcheck; do printf '#!/bin/sh\n' >"$SCRATCH/checks/$program"; done
  cat >"$SCRATCH/checks/cargo" <<'EOT'
#!/bin/sh
case $1 in
--version) echo "cargo 1.999.0" ;;
test) echo "test it::works ... FAILED"; exit "$TESTS_END_WITH" ;;
esac
EOT
  chmod 0755 "$SCRATCH"/checks/*
  mkdir -p "$SCRATCH"/clone/{pgo,proto,services,shared,tests}
  cp -r "$PGO_ROOT/tests/s3" "$SCRATCH/clone/tests/"
}

# checked STATUS VARIABLE=VALUE...: make test-fast, its output in $SCRATCH/output; not as a part of the make that runs
# this, which would be named in the output.
checked() {
  local expected=$1 status=0
  shift
  env -u MAKELEVEL -u MAKEFLAGS -u MFLAGS PATH="$SCRATCH/checks:$PATH" PGO_CACHE="$SCRATCH/checks-cache" TESTS_END_WITH="$expected" "$@" \
    make --no-print-directory -C "$SCRATCH/clone" test-fast >"$SCRATCH/output" 2>&1 || status=$?
  # make's own status is 2 whenever a command fails.
  ((status == (expected == 0 ? 0 : 2))) || { cat "$SCRATCH/output"; return 1; }
}

what_failed_is_said_last() {
  checked 7 || return 1
  grep -qE "^=== what failed, once more test it::works \.\.\. FAILED === unit, .* tests: failed after [^ ]+ s make: " \
    <<<"$(tail -n 4 "$SCRATCH/output" | tr '\n' ' ')" || { cat "$SCRATCH/output"; return 1; }
}

# By a clock that goes a minute further at each look: some ten looks, so more than two minutes and less than 45.
a_fast_run_has_two_minutes() {
  local progress=deploy/local/progress.sh
  # shellcheck disable=SC2016 # for that script
  echo 'clock_ms() { local now; now=$(<"$FAST_CLOCK"); echo $((now + 60000)) | tee "$FAST_CLOCK"; }' >>"$SCRATCH/clone/$progress"
  echo 0 >"$SCRATCH/fast-clock"
  checked 0 MINUTES= FAST_CLOCK="$SCRATCH/fast-clock" || return 1
  cp "$PGO_ROOT/$progress" "$SCRATCH/clone/$progress"
  grep -qx "=== warning: that is more than the 2 minutes that all of it may take" "$SCRATCH/output" || { cat "$SCRATCH/output"; return 1; }
}

too_long_a_run_is_told() {
  checked 0 MINUTES=45 && ! grep -q warning "$SCRATCH/output" || return 1
  checked 0 MINUTES=-1 && grep -qx "=== warning: that is more than the -1 minutes that all of it may take" "$SCRATCH/output"
}

alone() {
  local install="install them as root: apt-get install --no-install-recommends etcd-server" slow
  slow_step >"$SCRATCH/slow" &
  slow=$!
  holds "make help lists every target with what it does" help_lists_every_target
  prepare_missing_packages
  holds "which packages are missing, and how to get them, is said to a user who may not install them" \
    fails_and_says "this user may not install them; $install" missing_packages "$SCRATCH/packages/bin:$PATH"
  holds "and where there is no apt-get" \
    fails_and_says "there is no apt-get here; $install" missing_packages "$SCRATCH/packages/bin:$SCRATCH/packages/without-apt"
  holds "make install refuses settings that mean nothing" wrong_settings_are_refused
  scratch_clone "$SCRATCH/clone"
  holds "a number of nodes that cannot be is told before anything is done" wrong_numbers_of_nodes_are_refused
  holds "a Rust that is too old is told before anything is built" \
    fails_and_says 'Rust is too old: "cargo --version" says 1.70.0, and' with_old cargo "cargo 1.70.0 (7fe40dc8c 2023-04-27)"
  holds "and so is a Go" fails_and_says "says 1.19.8, and 1.24" with_old go "go version go1.19.8 linux/amd64"
  holds "Debian packages that are missing are installed, and nothing of them started" missing_packages_are_installed
  holds "the log of a failed step is shown, and nothing is done after it" a_failed_step_shows_its_log
  prepare_checks
  holds "what failed is the last thing that make test-fast says" what_failed_is_said_last
  holds "a run that takes too long is told, and only that" too_long_a_run_is_told
  holds "make test-fast may take two minutes" a_fast_run_has_two_minutes
  holds "what a step does that takes long is shown" what_a_slow_step_does_is_shown "$slow"
}

# Every variable that .local/env promises, in a shell that has none of them before, but some of another installation.
env_is_complete() {
  local variables=(KUBECONFIG PGO_APISERVER_URL PGO_CA_CERT PGO_CLIENT_CERT PGO_CLIENT_KEY PGOUSER PGO_NAMESPACE)
  # shellcheck disable=SC2016 # for the other shell
  env -i HOME="${HOME:-/root}" PATH="$PATH" DISABLE_TLS=true PGOUSERNAME=somebody PGOUSERPASS=else bash -euc '
    . "$1"
    shift
    for name in "$@"; do [[ -n ${!name:-} ]] || { echo "$name is not set"; exit 1; }; done
    pgo version && kubectl get pgcluster hippo
  ' bash "$PGO_ROOT/.local/env" "${variables[@]}"
}

# packed PROGRAM...: readelf(1) names the section that holds them.
packed() {
  local program sections
  for program in "$@"; do
    sections=$(readelf --wide --section-headers "$program")
    [[ $sections == *" .relr.dyn "* ]] || { echo "$program has none: $sections"; return 1; }
  done
}

within_a_minute() { (($(clock_ms) - $1 < 60000)); }

# shown FILE COMMAND...: shows what COMMAND says and keeps it in FILE.
shown() {
  local file=$1
  shift
  "$@" 2>&1 | tee "$file"
}

# A cluster that is there already tells nothing of its creation.
without_hippo() (
  [[ -e $PGO_ROOT/.local/env ]] || return 0
  source "$PGO_ROOT/.local/env"
  ! kubectl get pgcluster hippo --request-timeout=5s >/dev/null 2>&1 || pgo delete cluster hippo --delete-data --no-prompt --wait
)

# Each node's kubelet is in a network namespace of its own.
nodes_are_namespaces() {
  local default node programs
  # shellcheck disable=SC2016 # for the other shell
  default=$(env -u NODES bash -c 'source "$1"; echo "$NODES"' bash "$PGO_ROOT/deploy/local/settings.sh")
  [[ $default == 2 && $(ip netns list | grep -c '^pgo-node') == "$NODES" ]] || { ip netns list; return 1; }
  for node in $(seq "$NODES"); do
    programs=$(ip netns pids "$(node_netns "$node")" | xargs -r ps -o args= -p)
    [[ $programs == *kubelet* ]] || { echo "none in node $node: $programs"; return 1; }
  done
}

# Every row that needs Kubernetes, of what is counted a few: too few for the aims.
bench_prints_figures() {
  local figure
  PROFILE=dev BENCH_COUNT=2 ROW="client create latency memory many" make_target "$PGO_ROOT" bench >"$SCRATCH/bench" ||
    { cat "$SCRATCH/bench"; return 1; }
  for figure in \
    '`pgo version`.* \| under 50 ms \| median [0-9]+ ms, longest [0-9]+ ms \| (yes|no)' \
    '`pgo create cluster` to the first committed write, .* 2 runs \| median under 3 s \| median [0-9.]+ s, shortest [0-9.]+ s, longest [0-9.]+ s \| too few' \
    'event latency, .* [0-9]+ events \| p99 under .* ms \| p50 [0-9.]+ ms, p99 [0-9.]+ ms, longest [0-9.]+ ms \| too few' \
    'resident memory of apiserver, idle \|  \| [0-9.]+ MiB \| ' \
    'resident memory of all services together, .* \| under 60 MiB \| [0-9.]+ MiB \(.*\) \| (yes|no)' \
    '2 clusters created at once, to all Ready \| no failure \| [0-9]+ s to the last, median [0-9]+ s, 0 failures \| too few'; do
    grep -qE "^\\| $figure \\|\$" "$SCRATCH/bench" || { echo "no row is as: $figure"; cat "$SCRATCH/bench"; return 1; }
  done
}

# How the machine was before make run; nothing where a local Kubernetes was there already.
BEFORE=$PGO_ROOT/.local/machine-before

# machine_state: what the programs of the local Kubernetes change outside its own folder.
machine_state() {
  local place
  echo "ip_forward $(</proc/sys/net/ipv4/ip_forward)"
  {
    for place in /var/lib/kubelet /var/log/containers /run/containerd; do
      [[ ! -e $place ]] || find "$place" -printf '%y %p\n'
    done
    if [[ -e /var/lib/cni ]]; then
      # Podman keeps its networks there, too.
      find /var/lib/cni -mindepth 1 -path /var/lib/cni/networks -prune -o -printf '%y %p\n'
      find /var/lib/cni -maxdepth 0 -empty -printf '%y %p\n'
    fi
  } | sort
}

note_machine() {
  local status=0
  rm -f "$BEFORE"
  "$here/../../deploy/local/status.sh" >"$SCRATCH/status" || status=$?
  ((status == 3)) || return 0
  mkdir -p "${BEFORE%/*}"
  machine_state >"$BEFORE"
}

the_machine_is_as_before() { diff "$BEFORE" <(machine_state); }

run() {
  local output=$PGO_ROOT/.local/run.log begun
  note_machine
  without_hippo
  holds "make run runs" shown "$SCRATCH/first" make --no-print-directory -C "$PGO_ROOT" run
  holds "it shows the events of hippo while that is made" grep -Eq "event: .*/hippo +CreateCluster +completed" "$SCRATCH/first"
  holds "it makes two nodes where nobody says how many, each a network namespace" nodes_are_namespaces
  holds "another number of nodes is not forced upon a cluster that is there" \
    fails_and_says "it has 2 nodes (as NODES=2 makes) and not 3, and there are PostgreSQL clusters on it; make stop removes them" \
    env NODES=3 make --no-print-directory -C "$PGO_ROOT" run
  holds "and what was there can be used as before" env_is_complete
  begun=$(clock_ms)
  DISABLE_TLS=true make --no-print-directory -C "$PGO_ROOT" run | tee "$output"
  holds "where nothing changed, make run takes under 60 s ($(since "$begun"))" within_a_minute "$begun"
  holds "it asks PostgreSQL one thing through the Service" grep -q "PostgreSQL 15" "$output"
  holds "it says what to try next" grep -q "pgo show cluster hippo" "$output"
  holds ".local/env has all that pgo and kubectl need" env_is_complete
  holds "the programs have packed relocations" packed "$PGO_CACHE"/target/*/release/pgo-{apiserver,reconciler,scheduler,event,agent}
  holds "make bench measures, and prints figures beside their aims" bench_prints_figures
  source "$PGO_ROOT/.local/env"
  holds "hippo can be deleted" pgo delete cluster hippo --delete-data --no-prompt --wait
}

# Without TLS, on the loopback address; $REGISTRY is host:port.
start_registry() {
  (cd "$here/registry" && CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false' go build -o "$SCRATCH/registry" .)
  "$SCRATCH/registry" >"$SCRATCH/address" &
  UNDO+=("kill $!")
  poll 10 "the registry" test -s "$SCRATCH/address" || fail "the registry does not say its address"
  REGISTRY=$(<"$SCRATCH/address")
}

# What an installation asks for, in its manifests and for the pods of clusters: names with tags.
asked_for() {
  sed -n 's/^.*image: "@PGO_IMAGE_PREFIX@\/\(.*\):@PGO_IMAGE_TAG@"$/\1:4.1.0/p' "$PGO_ROOT"/deploy/install/manifests/*.yaml
  echo pgo-agent:4.1.0
  echo crunchy-postgres:debian12-15
}

# Each with its manifest and its configuration, which names the program that is run.
registry_has_what_is_asked_for() {
  local image name manifest digest accept='application/vnd.oci.image.manifest.v1+json'
  asked_for | sort -u >"$SCRATCH/asked"
  (($(wc -l <"$SCRATCH/asked") >= 8)) || return 1
  while IFS=: read -r name tag; do
    image=http://$REGISTRY/v2/mirror/$name
    manifest=$(curl --silent --fail --max-time 10 --header "Accept: $accept" "$image/manifests/$tag") &&
      digest=$(jq -er .config.digest <<<"$manifest") &&
      curl --silent --fail --max-time 10 "$image/blobs/$digest" | jq -e .config >/dev/null || {
      echo "there is no $name:$tag"
      return 1
    }
  done <"$SCRATCH/asked"
}

push() {
  local arguments=(PGO_IMAGE_PREFIX= CCP_IMAGE_PREFIX= PGO_IMAGE_TAG= CCP_IMAGE_TAG=)
  start_registry
  holds "make push asks for a registry" fails_and_says "which no registry has" \
    env "${arguments[@]}" "$PGO_ROOT/deploy/images/push.sh"
  arguments=(PGO_IMAGE_PREFIX="$REGISTRY/mirror" CCP_IMAGE_PREFIX="$REGISTRY/mirror" "${arguments[@]:2}")
  holds "a registry that is not spoken with as it wants is told with the image" fails_and_says \
    "$REGISTRY/mirror/pgo-scheduler:4.1.0 could not be pushed" \
    env "${arguments[@]}" "$PGO_ROOT/deploy/images/push.sh" pgo-scheduler
  holds "make push pushes" env "${arguments[@]}" PUSH_ARGS="--tls-verify=false --compression-level=1" make --no-print-directory -C "$PGO_ROOT" push
  holds "the registry has what an installation asks for" registry_has_what_is_asked_for
}

# in_compose COMMAND...: with what up.sh says that one needs.
in_compose() (
  source "$PGO_COMPOSE_DIR/env"
  "$@"
)

# our_containers: what of compose is there, running or not.
our_containers() { podman ps --all --quiet --filter label=io.podman.compose.project=pgo; }

# None at all is no failure.
our_images() { podman images --format '{{.Repository}}:{{.Tag}}' | { grep '^localhost/pgo/' || true; } | sort; }

nothing_of_compose_is_left() {
  local ports
  [[ -z $(our_containers) && -z $(podman network ls --quiet --filter name=pgo_) ]] || return 1
  ports=$(ss --no-header --tcp --listening --numeric '( sport = :8443 or sport = :8444 or sport = :4150 or sport = :4161 or sport = :4171 or sport = :9092 )')
  [[ -z $ports ]] || { echo "$ports"; return 1; }
}

stop_of_compose_is_stored() {
  "$PGO_ROOT/compose/down.sh" >"$SCRATCH/down"
  grep -q "its last event is stored" "$SCRATCH/down"
}

nsqadmin_shows() {
  curl --silent --fail --max-time 10 http://127.0.0.1:4171/api/topics | tee "$SCRATCH/topics" |
    jq -e --arg topic "$1" '.topics | index($topic)' >/dev/null || { cat "$SCRATCH/topics"; return 1; }
}

uninstall_compose() { "$PGO_ROOT/deploy/install/uninstall.sh" --delete-namespaces; }

compose() {
  source "$PGO_ROOT/.local/env"
  export PGO_COMPOSE_DIR=$SCRATCH/compose PGO_OPERATOR_NAMESPACE=pgo-compose PGO_INSTALLATION_NAME=compose NAMESPACE=compose1
  our_images >"$SCRATCH/images"
  UNDO+=('our_images | comm -13 "$SCRATCH/images" - | xargs -r podman image rm >/dev/null')
  UNDO+=(uninstall_compose "\"$PGO_ROOT/compose/down.sh\"")
  holds "compose/up.sh runs the services in containers" "$PGO_ROOT/compose/up.sh"
  holds "their start is told as completed" in_compose pgo watch pgotopic --since 5m --for PGOStartCompleted --timeout 20s
  holds "nsqadmin shows topics" curl --silent --fail --max-time 10 --output /dev/null http://127.0.0.1:4171/api/topics
  holds "a cluster is created through them" in_compose pgo create cluster boxed --wait
  holds "nsqadmin shows the topic of all events" nsqadmin_shows alltopic
  holds "its events are told" in_compose pgo watch clustertopic boxed --since 5m --for CreateClusterCompleted --timeout 20s
  holds "and it is deleted" in_compose pgo delete cluster boxed --delete-data --no-prompt --wait
  holds "compose/down.sh ends them, and that they stop is stored" stop_of_compose_is_stored
  holds "nothing of them is left" nothing_of_compose_is_left
  holds "what was installed can be removed" uninstall_compose
}

nothing_of_it_is_left() {
  local status=0
  "$here/../../deploy/local/status.sh" || status=$?
  ((status == 3)) || { echo "status.sh exits $status"; return 1; }
  ! ip -o link show | grep -E "$BRIDGE|pgo-node" || return 1
  ! compgen -G '/run/netns/pgo-node*' || return 1
  ! grep -F "$PGO_LOCAL_DIR/" /proc/self/mountinfo || return 1
  ! find /sys/fs/cgroup -maxdepth 2 -name "$CGROUP" | grep . || return 1
  ! nft list tables | grep kube-proxy || return 1
  [[ ! -e $PGO_LOCAL_DIR && ! -e $PGO_LOCAL_NOTE && ! -e $PGO_ROOT/.local/env ]]
}

another_number_of_nodes() {
  source "$PGO_ROOT/.local/env"
  kubectl delete pgclusters --all --all-namespaces --timeout=120s
  NODES=1 make_target "$PGO_ROOT" local-up
  [[ $(kubectl --kubeconfig "$PGO_KUBECONFIG" get nodes --no-headers | awk '$2 == "Ready"' | wc -l) == 1 ]] || return 1
  # It would lead to what was there before.
  [[ ! -e $PGO_ROOT/.local/env ]]
}

# The folders of $PGO_CACHE that scripts and tests name.
kept_folders() {
  grep -rhoE '[$]PGO_CACHE/[a-z]+' "$PGO_ROOT"/{compose,deploy,tests} | sed 's/.*\///'
  grep -rlF '"PGO_CACHE"' --include='*.rs' "$PGO_ROOT"/{pgo,services,shared,tests} |
    xargs grep -hoE '(cache|^ *)[.]join[(]"[a-z]+' | sed 's/.*"//'
}

clean_removes_what_was_made() {
  local clone=$SCRATCH/clean cache=$SCRATCH/cache folder
  scratch_clone "$clone"
  kept_folders | sort -u >"$SCRATCH/kept"
  (($(wc -l <"$SCRATCH/kept") >= 5)) || { cat "$SCRATCH/kept"; return 1; }
  mkdir -p "$clone"/{.local/bin,target/debug}
  while read -r folder; do mkdir -p "$cache/$folder/x"; done <"$SCRATCH/kept"
  touch "$cache/of-others"
  # As go leaves them.
  chmod 0555 "$cache/gomod/x"
  tar --create --files-from=/dev/null | podman import --quiet - localhost/pgo/of-clean:1 >/dev/null
  PGO_CACHE=$cache make_target "$clone" clean
  [[ -z $(our_images) ]] || { our_images; return 1; }
  [[ ! -e $clone/.local && ! -e $clone/target && $(ls "$cache") == of-others ]] || return 1
  rm "$cache/of-others"
  PGO_CACHE=$cache make_target "$clone" clean
  [[ ! -e $cache && -e $clone/Makefile ]]
}

stop() {
  holds "where no cluster is in the way, the local Kubernetes gets the number of nodes that is asked for" another_number_of_nodes
  # A process of somebody else, which has a name like ours.
  (exec -a kubelet sleep 300) &
  local stranger=$!
  UNDO+=("kill $stranger 2>/dev/null")
  # And a file, where the kubelet has links.
  local logs=/var/log/containers
  local log=$logs/of-somebody-else.log
  mkdir -p "$logs"
  UNDO+=("rm -f '$log'")
  echo "not of PGO" >"$log"
  holds "make stop stops" make --no-print-directory -C "$PGO_ROOT" stop
  holds "nothing that it started is left" nothing_of_it_is_left
  holds "what it did not start goes on" kill -0 "$stranger"
  holds "a file of somebody else stays where it is" test -s "$log"
  rm "$log"
  if [[ -e $BEFORE ]]; then
    # It had to stay because of that file.
    grep -qxF "d $logs" "$BEFORE" || rmdir --ignore-fail-on-non-empty "$logs"
    holds "all else on the machine is as it was before make run" the_machine_is_as_before
  else
    echo "not compared with what was before make run: a local Kubernetes was there already"
  fi
  holds "make stop can be said again" make --no-print-directory -C "$PGO_ROOT" stop
  holds "make clean removes what was made, and only that" clean_removes_what_was_made
}

case ${1:-} in
  alone | run | push | compose | stop) "$1" ;;
  *) fail "commands.sh takes \"alone\", \"run\", \"push\", \"compose\" or \"stop\"" ;;
esac
echo "$passed passed, 0 failed"
