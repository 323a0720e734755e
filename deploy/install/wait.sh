# Sourced by install.sh: waits until everything runs as applied, and tells what is wrong with what does not.
# shellcheck shell=bash

WORKLOADS=(statefulset/nsqd statefulset/event deployment/apiserver deployment/reconciler deployment/scheduler)

# states: "kind/name ready-of-wanted" of each workload; ready are only pods of the newest template.
states() {
  k get statefulsets,deployments --namespace "$PGO_OPERATOR_NAMESPACE" -o 'go-template={{range .items}}{{.kind}}/{{.metadata.name}} {{.metadata.generation}} {{with .status.observedGeneration}}{{.}}{{else}}0{{end}} {{.spec.replicas}} {{with .status.replicas}}{{.}}{{else}}0{{end}} {{with .status.updatedReplicas}}{{.}}{{else}}0{{end}} {{with .status.readyReplicas}}{{.}}{{else}}0{{end}}{{"\n"}}{{end}}' |
    awk '{print tolower($1), ($2 == $3 && $4 == $5 && $4 == $6 && $4 == $7) ? "ready" : "waiting", $7 "/" $4}'
}

# wait_for_the_one_that_stays: from two replicas of the event service to one only once event-0, which stays, has every event
# that was confirmed; while event-1 leads, it may lack some.
wait_for_the_one_that_stays() {
  local replicas in_sync deadline=$((SECONDS + PGO_WAIT_SECONDS))
  ((EVENT_REPLICAS == 1)) || return 0
  replicas=$(k get statefulset event --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found -o 'jsonpath={.spec.replicas}')
  ((${replicas:-0} > 1)) || return 0
  until
    in_sync=$(k get configmap pgo-event-log --namespace "$PGO_OPERATOR_NAMESPACE" --ignore-not-found -o 'go-template={{index .data "in-sync"}}')
    [[ -z $in_sync || ,$in_sync, == *,event-0,* ]]
  do
    ((SECONDS < deadline)) ||
      fail "event-0 has not every event (ConfigMap pgo-event-log: in sync is $in_sync), so it cannot be the only one; leave EVENT_REPLICAS=2 until it has; see: kubectl logs -n $PGO_OPERATOR_NAMESPACE event-0"
    sleep 0.5
  done
}

installation_is_ready() {
  [[ $(k get pginstallation pgo --namespace "$PGO_OPERATOR_NAMESPACE" \
    -o 'jsonpath={.metadata.generation}={.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}') =~ ^([0-9]+)=([0-9]+)\ True$ ]] &&
    [[ ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]
}

wait_until_ready() {
  local deadline=$((SECONDS + PGO_WAIT_SECONDS)) waiting=("${WORKLOADS[@]}") left workload state told=$((SECONDS + 10))
  while ((${#waiting[@]} > 0)); do
    states >"$WORK/states"
    left=()
    for workload in "${waiting[@]}"; do
      state=$(awk -v name="$workload" '$1 == name {print $2, $3}' "$WORK/states")
      if [[ $state == ready* ]]; then
        say "${workload#*/} is ready (${state#* })"
      else
        left+=("$workload")
      fi
    done
    waiting=("${left[@]}")
    ((${#waiting[@]} == 0)) && break
    ((SECONDS < deadline)) || give_up "${waiting[@]}"
    if ((SECONDS >= told)); then
      say "waiting for ${waiting[*]#*/} ($(seconds_left "$deadline") s left)"
      told=$((SECONDS + 10))
    fi
    sleep 0.5
  done
  until installation_is_ready; do
    ((SECONDS < deadline)) ||
      fail "every pod is ready, but PgInstallation pgo is not: $(k get pginstallation pgo --namespace "$PGO_OPERATOR_NAMESPACE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}'); see: kubectl logs -n $PGO_OPERATOR_NAMESPACE -l pgo-process=reconciler --prefix --tail=-1"
    sleep 0.3
  done
}

# give_up WORKLOAD...: what Kubernetes and the pods say, then the end.
give_up() {
  local workload pod
  for workload in "$@"; do
    say "${workload#*/} is not ready after $PGO_WAIT_SECONDS s:"
    # The newest: older ones are on their way out.
    pod=$(k get pods --namespace "$PGO_OPERATOR_NAMESPACE" --selector "pgo-process=${workload#*/}" \
      --sort-by=.metadata.creationTimestamp -o name | tail -n 1)
    if [[ -n $pod ]]; then
      {
        k get "$pod" --namespace "$PGO_OPERATOR_NAMESPACE" -o wide --no-headers
        k events --namespace "$PGO_OPERATOR_NAMESPACE" --for "$pod" --no-headers | tail -n 6
        k logs "$pod" --namespace "$PGO_OPERATOR_NAMESPACE" --all-containers --tail=15
        k logs "$pod" --namespace "$PGO_OPERATOR_NAMESPACE" --all-containers --tail=15 --previous 2>/dev/null
      } 2>&1 | sed 's/^/    | /' || true
    fi
    k describe "$workload" --namespace "$PGO_OPERATOR_NAMESPACE" 2>&1 | sed -n '/^Events:/,$p' | tail -n 4 | sed 's/^/    | /' || true
  done
  fail "PGO is not ready within $PGO_WAIT_SECONDS s (PGO_WAIT_SECONDS)"
}
